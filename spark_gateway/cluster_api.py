"""A cluster's API as far as the gateway uses it, in one namespace.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from contracts.errors import LabError

Manifest: TypeAlias = dict[str, Any]
"""One object as the API takes and gives it."""

_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
WATCH_S = 240
"""After so long the server ends a watch by itself; silence beyond it is a broken connection."""
_PATHS = {
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
}


class ClusterApiError(LabError):
    """The API refused or does not answer; ``status`` is the HTTP status, None without an answer."""

    def __init__(self, what: str, *, status: int | None = None, **facts: Any) -> None:
        self.status = status
        super().__init__(what, **facts)


class ClusterApi:
    """Asks with the token of a service account, which is read anew each time: the kubelet changes it.

    Args:
        url: ``https://`` with a certificate of ``ca_file``'s authority, or ``http://`` on a loopback.
        token_file: holds the token.
        namespace: of all objects.
    """

    def __init__(self, url: str, *, namespace: str, token_file: Path, ca_file: Path) -> None:
        self._namespace, self._token_file = namespace, token_file
        trusted = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else True
        # Two requests are open for each run as long as it lasts.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        self._http = httpx.AsyncClient(
            base_url=url, verify=trusted, timeout=_TIMEOUT, limits=limits, trust_env=False
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def create(self, resource: str, manifest: Manifest) -> Manifest:
        """The object as it was made. Raises ClusterApiError."""
        return await self._ask("POST", self._path(resource), json=manifest)

    async def pod(self, name: str) -> Manifest | None:
        """A pod; None when there is none. Raises ClusterApiError."""
        try:
            return await self._ask("GET", self._path("pods", name))
        except ClusterApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    async def pods(self, labels: Mapping[str, str]) -> list[Manifest]:
        """All pods with ``labels``. Raises ClusterApiError."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return await self.all_pods({"labelSelector": selector})

    async def page(self, params: Mapping[str, str]) -> Manifest:
        """A ``PodList`` as the API gives it for ``params``. Raises ClusterApiError."""
        return await self._ask("GET", self._path("pods"), params=dict(params))

    async def all_pods(self, selectors: Mapping[str, str]) -> list[Manifest]:
        """All pods for the parameters ``selectors``. Raises ClusterApiError."""
        found: list[Manifest] = []
        params = {**selectors, "limit": "200"}
        while True:
            answer = await self.page(params)
            found += answer["items"]
            token = answer["metadata"].get("continue")
            if not token:
                return found
            params["continue"] = token

    async def delete_pod(self, name: str, *, grace_s: int) -> None:
        """Has a pod ended, and with it what it owns; one that is gone stays so. ``grace_s`` 0 forgets it
        without asking its node. Raises ClusterApiError."""
        try:
            await self._ask("DELETE", self._path("pods", name), params={"gracePeriodSeconds": str(grace_s)})
        except ClusterApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def changes(self, pod: Manifest) -> AsyncIterator[tuple[Manifest, bool]]:
        """What becomes of a pod after it was read, and whether that is its last state before it was deleted.
        Ends when the server ends it, after which the pod has to be read again.

        Raises:
            ClusterApiError: the server does not answer, or no longer knows what was before.
        """
        metadata = pod["metadata"]
        params = {
            "watch": "true",
            "fieldSelector": f"metadata.name={metadata['name']}",
            "resourceVersion": metadata["resourceVersion"],
            "timeoutSeconds": str(WATCH_S),
        }
        async for event in self.events(params):
            if event["type"] != "BOOKMARK":
                yield event["object"], event["type"] == "DELETED"

    async def events(self, params: Mapping[str, str]) -> AsyncIterator[Manifest]:
        """A watch of pods. Raises ClusterApiError as :meth:`changes`."""
        async with self._stream(self._path("pods"), params, read_s=WATCH_S + 30) as response:
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _refusal(event["object"].get("code"), event["object"])
                yield event

    async def log_lines(self, name: str, container: str, since: str) -> AsyncIterator[bytes]:
        """The log of a container as it grows, each line with the time before it (RFC 3339) and its end, from
        the second of ``since`` on (from the start without it). Ends with the container.

        Raises:
            ClusterApiError: the container has not started (400), the pod is gone (404), or no answer.
        """
        params = {"container": container, "follow": "true", "timestamps": "true"}
        if since:
            params["sinceTime"] = since
        async with self._stream(f"{self._path('pods', name)}/log", params, read_s=None) as response:
            rest = b""
            async for chunk in response.aiter_bytes():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line + b"\n"
            if rest:
                yield rest

    @asynccontextmanager
    async def _stream(
        self, path: str, params: Mapping[str, str], *, read_s: float | None
    ) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(_TIMEOUT.read, connect=_TIMEOUT.connect, read=read_s)
        try:
            async with self._http.stream(
                "GET", path, params=dict(params), headers=self._headers(), timeout=timeout
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise _refused(response)
                yield response
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def _ask(self, method: str, path: str, **options: Any) -> Manifest:
        try:
            response = await self._http.request(method, path, headers=self._headers(), **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refused(response)
        answer: Manifest = response.json()
        return answer

    def _headers(self) -> dict[str, str]:
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ClusterApiError(
                f"the gateway's token for the cluster can't be read: {error.strerror}",
                value=str(self._token_file),
                next_command="lab up",
            ) from error
        return {"Authorization": f"Bearer {token}"}

    def _path(self, resource: str, name: str = "") -> str:
        path = f"{_PATHS[resource]}/namespaces/{self._namespace}/{resource}"
        return f"{path}/{name}" if name else path

    def _unreachable(self, error: httpx.HTTPError) -> ClusterApiError:
        return ClusterApiError(
            f"the cluster's API does not answer: {error or type(error).__name__}",
            value=str(self._http.base_url),
            next_command="lab doctor",
        )


def _refused(response: httpx.Response) -> ClusterApiError:
    try:
        status = response.json()
    except ValueError:
        status = {}
    return _refusal(response.status_code, status if isinstance(status, dict) else {})


def _refusal(code: Any, status: Manifest) -> ClusterApiError:
    """The error that a ``Status`` describes, with the API's own words."""
    what = status.get("message") or f"the cluster's API answered {code}"
    return ClusterApiError(what, status=int(code) if code else None, value=status.get("reason"))
