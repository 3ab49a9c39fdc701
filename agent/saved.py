"""Saved queries of the console, asked for with the user's own token: theirs, and those shared with their
groups. They are run here, so that they are held to what every query of the agent's is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.identity import UserTokens
from contracts.errors import LabError, UsageError
from contracts.identity import Audience
from governance.parameters import ParameterType, names, render

T = TypeVar("T")

MAX_LISTED = 200
_PATH = "/api/v1/saved-queries"


class SavedParameter(BaseModel):
    """A parameter that a saved query has."""

    name: str
    type: ParameterType
    label: str = ""
    default: Any = None


class SavedQuery(BaseModel):
    """What of a saved query matters for running it. ``namespace`` is that of tables it names alone."""

    id: str
    title: str
    description: str = ""
    owner: str
    statement: str
    catalog: str | None = None
    namespace: str | None = None
    parameters: tuple[SavedParameter, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Value:
    name: str
    type: ParameterType
    value: Any


class SavedQueries:
    """The console's list, for one user.

    Args:
        http: is not closed.
    """

    def __init__(self, url: str, http: httpx.AsyncClient, tokens: UserTokens) -> None:
        self._url, self._http, self._tokens = url, http, tokens

    async def all(self, text: str) -> Sequence[SavedQuery]:
        """Those that the user may read and that hold ``text``, the last changed first; at most 200.

        Raises:
            LabError: the console does not answer, or refuses.
        """
        found = await self._get(_PATH, {"text": text[:200]})
        return _read(TypeAdapter(list[SavedQuery]), found)[:MAX_LISTED]

    async def get(self, query_id: str) -> SavedQuery:
        """One of them. Raises LabError when there is none of this id that the user may read."""
        if not query_id or not all(char.isalnum() or char == "-" for char in query_id):
            raise UsageError(
                "that is no saved query's id", value=query_id, permitted="an id of list_saved_queries"
            )
        return _read(TypeAdapter(SavedQuery), await self._get(f"{_PATH}/{query_id}", {}))

    async def _get(self, path: str, query: Mapping[str, str]) -> Any:
        token = await self._tokens.token(Audience.CONTROL_PLANE)
        try:
            answer = await self._http.get(
                f"{self._url}{path}", params=dict(query), headers={"Authorization": f"Bearer {token}"}
            )
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise LabError(
                "the console, which keeps saved queries, does not answer",
                next_command="lab logs control-plane",
            ) from error
        if answer.is_error:
            told = found if isinstance(found, dict) else {}
            raise LabError(
                str(told.get("title") or f"the console answered {answer.status_code}"),
                value=told.get("value"),
                permitted=told.get("permitted"),
                next_command=told.get("next_command"),
            )
        return found


def with_values(query: SavedQuery, given: Mapping[str, Any]) -> str:
    """A saved query's statement with its parameters' values as literals: those given, else its own.

    Raises:
        UsageError: a parameter is unknown, has no value, or one of another type.
    """
    specs = {spec.name: spec for spec in query.parameters}
    for name in names(query.statement):
        specs.setdefault(name, SavedParameter(name=name, type=ParameterType.VARCHAR))
    unknown = sorted(set(given) - set(specs))
    if unknown:
        raise UsageError(
            f"the saved query has no parameter :{unknown[0]}", permitted=", ".join(sorted(specs)) or "none"
        )
    values = []
    for spec in specs.values():
        if spec.name not in given and spec.default is None:
            raise UsageError(
                f"parameter :{spec.name} has no value", permitted=f"a value of type {spec.type.value}"
            )
        values.append(_Value(name=spec.name, type=spec.type, value=given.get(spec.name, spec.default)))
    return render(query.statement, values).text


def _read(adapter: TypeAdapter[T], found: Any) -> T:
    try:
        return adapter.validate_python(found)
    except ValidationError as error:
        raise LabError(
            f"the console's answer is not understood: {error.error_count()} fields",
            next_command="lab up, which brings both to one version",
        ) from error
