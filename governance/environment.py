"""Settings of a service from its environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from contracts.errors import UsageError

T = TypeVar("T")


class Environment:
    """Reads variables whose names begin with ``prefix`` and says what is wrong with one; ``see`` names where
    they are described. Every method raises UsageError."""

    def __init__(self, environ: Mapping[str, str], prefix: str, *, see: str) -> None:
        self._environ = environ
        self._prefix = prefix
        self._see = see

    def text(self, name: str, default: str | None = None) -> str:
        """The variable, or the content of the file that ``NAME_FILE`` names; set, if there is no default."""
        value = self._environ.get(self._prefix + name)
        if not value and self._environ.get(f"{self._prefix}{name}_FILE"):
            return self.file(f"{name}_FILE").strip()
        if value:
            return value
        if default is None:
            raise UsageError(f"{self._prefix}{name} is not set", permitted=f"see {self._see}")
        return default

    def file(self, name: str) -> str:
        """The content of the file that the variable names."""
        path = self.text(name)
        try:
            return Path(path).read_text()
        except OSError as error:
            raise UsageError(f"{self._prefix}{name} can't be read: {error.strerror}", value=path) from error

    def url(self, name: str, default: str | None = None) -> str:
        """An HTTP(S) URL, without a slash at its end."""
        value = self.text(name, default)
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc:
            raise UsageError(
                f"{self._prefix}{name} is no URL", value=value, permitted="http(s)://host[:port][/path]"
            )
        return value.rstrip("/")

    def number(self, name: str, default: int | None, low: int) -> int:
        """A whole number from ``low``."""
        value = self.text(name, None if default is None else str(default))
        if not value.isdecimal() or int(value) < low:
            raise UsageError(
                f"{self._prefix}{name} is not valid", value=value, permitted=f"a whole number from {low}"
            )
        return int(value)

    def flag(self, name: str) -> bool:
        """``true`` or ``false``, which it is when it is not set."""
        value = self.text(name, "false")
        if value not in ("true", "false"):
            raise UsageError(f"{self._prefix}{name} is not valid", value=value, permitted="true or false")
        return value == "true"

    def json(self, name: str, check: Callable[[Any], T]) -> T:
        """A JSON value that ``check`` takes and gives; it raises ValueError."""
        value = self.text(name)
        try:
            return check(json.loads(value))
        except ValueError as error:
            raise UsageError(
                f"{self._prefix}{name} is not valid", value=value, permitted="a JSON object"
            ) from error

    def database_url(self, database: str = "DATABASE") -> str:
        """SQLAlchemy's URL of a PostgreSQL database: ``<database>_URL``, or ``<database>_HOST``, ``_PORT``,
        ``_NAME``, ``_ROLE`` and ``_PASSWORD``."""
        url = self.text(f"{database}_URL", "")
        if url:
            scheme, separator, rest = url.partition("://")
            if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
                raise UsageError(
                    f"{self._prefix}{database}_URL is no PostgreSQL URL",
                    permitted="postgresql://role@host/name",
                )
            return f"postgresql+psycopg://{rest}"
        role, password = (quote(self.text(f"{database}_{part}"), safe="") for part in ("ROLE", "PASSWORD"))
        host, port = self.text(f"{database}_HOST"), self.number(f"{database}_PORT", 5432, 1)
        name = quote(self.text(f"{database}_NAME"), safe="")
        return f"postgresql+psycopg://{role}:{password}@{host}:{port}/{name}"
