"""Namespaces that the governor itself makes in the catalog, told from all others by a property.

https://iceberg.apache.org/rest-catalog-spec/
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import httpx

from contracts.errors import LabError
from governance.reconcile.port import ReconcileError
from governance.reconcile.tables import base_path

_OURS = "lakehouse-lab.workspace"
_PAGE = 1000


class ForeignNamespaceError(LabError):
    """A namespace of that name is somebody else's (409)."""


class Namespaces:
    """Makes and removes namespaces of one level; touches none that it did not make.

    Args:
        http: a client whose base URL is the catalog's URI and that authenticates by itself.
        warehouse: sent to the catalog's ``/v1/config``.

    Raises ReconcileError for an answer that is no success, httpx.TransportError without an answer.
    """

    def __init__(self, http: httpx.Client, warehouse: str) -> None:
        self._http, self._warehouse = http, warehouse
        self._base: str | None = None

    def ensure(self, name: str, owner: str, comment: str) -> bool:
        """Makes the namespace of what ``owner`` names; whether it was missing. Raises
        ForeignNamespaceError."""
        if self._properties(name, owner) is not None:
            return False
        properties = {_OURS: owner, "comment": comment}
        body = {"namespace": [name], "properties": properties}
        response = self._http.post(self._path(), json=body)
        if response.status_code != httpx.codes.CONFLICT:
            _checked(response)
        return self._properties(name, owner) is not None

    def location(self, name: str, owner: str) -> str | None:
        """Root of the namespace's files; None where the catalog does not say it."""
        return (self._properties(name, owner) or {}).get("location")

    def objects(self, name: str) -> tuple[str, ...]:
        """Names of the tables and views in the namespace, sorted."""
        return tuple(sorted([*self._listing(name, "tables"), *self._listing(name, "views")]))

    def drop_objects(self, name: str, owner: str) -> tuple[str, ...]:
        """Drops the namespace's views and tables, files included where the catalog removes them; their
        names. Raises ForeignNamespaceError."""
        if self._properties(name, owner) is None:
            return ()
        dropped = []
        for kind in ("views", "tables"):
            for one in list(self._listing(name, kind)):
                path = f"{self._path(name)}/{kind}/{quote(one, safe='')}"
                parameters = {"purgeRequested": "true"} if kind == "tables" else None
                _gone(self._http.delete(path, params=parameters))
                dropped.append(one)
        return tuple(sorted(dropped))

    def remove(self, name: str, owner: str) -> bool:
        """Removes an empty namespace; whether there was one. Raises ForeignNamespaceError."""
        if self._properties(name, owner) is None:
            return False
        _gone(self._http.delete(self._path(name)))
        return True

    def _properties(self, name: str, owner: str) -> dict[str, str] | None:
        response = self._http.get(self._path(name))
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, str] = _checked(response).json().get("properties") or {}
        if found.get(_OURS) != owner:
            raise ForeignNamespaceError(
                f"the catalog has a namespace {name!r} that is no workspace's",
                value=name,
                permitted="another name for the workspace",
            )
        return found

    def _listing(self, name: str, kind: str) -> Iterator[str]:
        token = ""
        while True:
            response = self._http.get(
                f"{self._path(name)}/{kind}", params={"pageToken": token, "pageSize": str(_PAGE)}
            )
            # A catalog without views does not know the path.
            if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.NOT_IMPLEMENTED):
                return
            page = _checked(response).json()
            for identifier in page.get("identifiers") or ():
                yield str(identifier["name"])
            token = page.get("next-page-token") or ""
            if not token:
                return

    def _path(self, name: str | None = None) -> str:
        if self._base is None:
            self._base = base_path(self._http, self._warehouse)
        path = f"{self._base}/namespaces"
        return path if name is None else f"{path}/{quote(name, safe='')}"


def _gone(response: httpx.Response) -> None:
    if response.status_code != httpx.codes.NOT_FOUND:
        _checked(response)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise ReconcileError(
        f"the catalog answered {response.status_code} to {response.request.method} "
        f"{response.request.url.path}",
        value=response.text[:200] or None,
        permitted="an Iceberg REST catalog in which the governor's service account may write",
        next_command="lab logs catalog",
    )
