"""What the console reads from its environment.

Service: ``CONSOLE_BIND`` (127.0.0.1), ``CONSOLE_PORT``, ``CONSOLE_PUBLIC_URL`` (where browsers reach it),
``CONSOLE_ALSO_HOSTS`` (optional, separated by commas: further values of ``Host`` that are answered),
``CONSOLE_WEB_DIR`` (optional: the built web app), ``CONSOLE_LAB`` (the lab's name).

Database: ``CONSOLE_DATABASE_URL`` (``postgresql://…``) or ``CONSOLE_DATABASE_HOST``, ``_PORT``, ``_NAME``,
``_ROLE``, ``_PASSWORD``; ``CONSOLE_ENCRYPTION_KEY`` (at least 32 characters) keeps the tokens in it.

Identity: ``CONSOLE_ISSUER_URL`` (the realm as browsers reach it), ``CONSOLE_REALM_URL`` (as the console
does), ``CONSOLE_CLIENT_SECRET`` (client ``control-plane``), ``CONSOLE_CA_FILE`` (optional, PEM).

Services: ``CONSOLE_TRINO_URL``, ``CONSOLE_GOVERNOR_URL``, ``CONSOLE_AGENT_URL``, ``CONSOLE_SPARK_URL`` (empty
where the lab has none), ``CONSOLE_CATALOG`` (``lake``), ``CONSOLE_CATALOG_KIND``, ``CONSOLE_COMPONENTS_FILE``
(optional, JSON: a list of ``control_plane.api.health.Component``).

Operation: ``CONSOLE_LOGS_DIR`` (optional: a folder with the services' logs, ``SERVICE.log``).

Results: ``CONSOLE_SPOOL_DIR``, ``CONSOLE_SPOOL_MIB`` (2048, all of them), ``CONSOLE_RESULT_MIB`` (512, one),
``CONSOLE_RESULT_KEPT_S`` (3600, since it was last read), ``CONSOLE_QUERIES_PER_USER`` (8, running at once).

Workspaces: ``CONSOLE_CATALOG_URI`` (the Iceberg REST catalog for people's own tokens; empty: no ingest),
``CONSOLE_UPLOAD_DIR``, ``CONSOLE_UPLOAD_MIB`` (2048, one file), ``CONSOLE_UPLOADS_MIB`` (4096, all of them),
``CONSOLE_CONNECT_TO`` (optional, separated by commas: destinations of connections that are permitted although
they are this machine's or the lab's), ``CONSOLE_FILE_ROOTS`` (optional, separated by commas: folders that
connections may read), ``CONSOLE_OWN_URLS`` (optional, separated by commas: more of the lab's services).

Use: ``CONSOLE_TELLS_USE`` (``false``; ``true``: the governor is told that somebody works here).

Jobs: ``CONSOLE_RUNS`` (16, runs at once), ``CONSOLE_RUNS_PER_USER`` (8, of one person's jobs).

Every secret may come from a file instead: ``CONSOLE_X_FILE`` in place of ``CONSOLE_X``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from contracts.errors import UsageError
from control_plane.api.health import Component
from governance.environment import Environment

_PREFIX = "CONSOLE_"
_KEY_LENGTH = 32


@dataclass(frozen=True, kw_only=True)
class ConsoleSettings:
    """The console's settings; see the module."""

    lab: str
    bind: str
    port: int
    public_url: str
    hosts: frozenset[str]
    web_dir: Path | None
    database_url: str = field(repr=False)
    encryption_key: str = field(repr=False)
    issuer_url: str
    realm_url: str
    client_secret: str = field(repr=False)
    ca_file: Path | None
    trino_url: str | None
    governor_url: str | None
    agent_url: str | None
    spark_url: str | None
    catalog: str
    catalog_kind: str
    components: tuple[Component, ...]
    logs_dir: Path | None
    spool_dir: Path
    spool_mib: int
    result_mib: int
    result_kept_s: int
    queries_per_user: int
    catalog_uri: str | None
    upload_dir: Path
    upload_mib: int
    uploads_mib: int
    connect_to: tuple[str, ...]
    file_roots: tuple[Path, ...]
    own_urls: tuple[str, ...] = field(repr=False)
    runs: int
    runs_per_user: int
    tells_use: bool


def read_settings(environ: Mapping[str, str]) -> ConsoleSettings:
    """The settings of an environment.

    Raises:
        UsageError: a variable is missing or not valid; names it and what is permitted.
    """
    env = Environment(environ, _PREFIX, see=__name__)
    public_url = env.url("PUBLIC_URL")
    if urlsplit(public_url).path:
        raise UsageError(
            f"{_PREFIX}PUBLIC_URL has a path", value=public_url, permitted="http(s)://host[:port]"
        )
    port = env.number("PORT", None, 1)
    also = (name.strip() for name in env.text("ALSO_HOSTS", "").split(","))
    key = env.text("ENCRYPTION_KEY")
    if len(key) < _KEY_LENGTH:
        raise UsageError(
            f"{_PREFIX}ENCRYPTION_KEY is too short", permitted=f"at least {_KEY_LENGTH} characters"
        )
    return ConsoleSettings(
        lab=env.text("LAB"),
        bind=env.text("BIND", "127.0.0.1"),
        port=port,
        public_url=public_url,
        hosts=frozenset(filter(None, (urlsplit(public_url).netloc, *also))),
        web_dir=_path(env.text("WEB_DIR", "")),
        database_url=env.database_url(),
        encryption_key=key,
        issuer_url=env.url("ISSUER_URL"),
        realm_url=env.url("REALM_URL"),
        client_secret=env.text("CLIENT_SECRET"),
        ca_file=_path(env.text("CA_FILE", "")),
        trino_url=_url(env, "TRINO_URL"),
        governor_url=_url(env, "GOVERNOR_URL"),
        agent_url=_url(env, "AGENT_URL"),
        spark_url=_url(env, "SPARK_URL"),
        catalog=env.text("CATALOG", "lake"),
        catalog_kind=env.text("CATALOG_KIND"),
        components=_components(env),
        logs_dir=_path(env.text("LOGS_DIR", "")),
        spool_dir=Path(env.text("SPOOL_DIR")),
        spool_mib=env.number("SPOOL_MIB", 2048, 1),
        result_mib=env.number("RESULT_MIB", 512, 1),
        result_kept_s=env.number("RESULT_KEPT_S", 3600, 1),
        queries_per_user=env.number("QUERIES_PER_USER", 8, 1),
        catalog_uri=_url(env, "CATALOG_URI"),
        upload_dir=Path(env.text("UPLOAD_DIR", f"{env.text('SPOOL_DIR')}-uploads")),
        upload_mib=env.number("UPLOAD_MIB", 2048, 1),
        uploads_mib=env.number("UPLOADS_MIB", 4096, 1),
        connect_to=_list(env, "CONNECT_TO"),
        file_roots=tuple(Path(root) for root in _list(env, "FILE_ROOTS")),
        own_urls=(
            public_url,
            env.url("ISSUER_URL"),
            env.url("REALM_URL"),
            env.database_url(),
            *_list(env, "OWN_URLS"),
            *filter(
                None,
                (_url(env, name) for name in ("TRINO_URL", "GOVERNOR_URL", "AGENT_URL", "CATALOG_URI")),
            ),
        ),
        runs=env.number("RUNS", 16, 1),
        runs_per_user=env.number("RUNS_PER_USER", 8, 1),
        tells_use=env.flag("TELLS_USE"),
    )


def _list(env: Environment, name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.text(name, "").split(",") if part.strip())


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _url(env: Environment, name: str) -> str | None:
    return env.url(name) if env.text(name, "") else None


def _components(env: Environment) -> tuple[Component, ...]:
    if not env.text("COMPONENTS_FILE", ""):
        return ()
    try:
        document: Any = json.loads(env.file("COMPONENTS_FILE"))
        return TypeAdapter(tuple[Component, ...]).validate_python(document)
    except (ValueError, ValidationError) as error:
        raise UsageError(
            f"{_PREFIX}COMPONENTS_FILE is not valid", permitted="JSON: a list of components"
        ) from error
