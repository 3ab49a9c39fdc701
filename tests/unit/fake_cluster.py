"""A cluster's API server for one namespace, over real HTTPS: it makes what it is told, and tests tell it what
becomes of the pods."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.unit.spark_fakes import eventually

NAMESPACE = "lakehouse-lab-spark"
TOKEN = "token-of-the-gateways-account"


class FakeCluster:
    """``made`` and ``removed`` tell what was asked, in its order; ``refused`` is status and message by the
    resource that is not made; a ``stubborn`` pod ends when it is forced to, and no sooner."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {
            "pods": {},
            "secrets": {},
            "networkpolicies": {},
        }
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.removed: list[tuple[str, int]] = []
        self.refused: dict[str, tuple[int, str]] = {}
        self.tokens = {TOKEN}
        self.stubborn = False
        self.down = False
        self.url = ""
        self.ca_file = Path()
        self.asked_logs: list[str | None] = []
        self.watches = 0
        self.open_watches = 0
        self.watched_since: list[str | None] = []
        self._ends = 0
        self._versions = itertools.count(1)
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._lines: dict[str, list[tuple[str, bytes]]] = {}
        self._cuts = 0
        self._closed = False
        self._news = asyncio.Event()
        self._clock = itertools.count(1)

    # --- what tests tell it --------------------------------------------------------------------------

    @property
    def pods(self) -> dict[str, dict[str, Any]]:
        return self.objects["pods"]

    def only_pod(self) -> str:
        (name,) = self.pods
        return name

    def becomes(self, name: str, status: Mapping[str, Any]) -> None:
        """A pod has another status."""
        self.pods[name]["status"] = dict(status)
        self._changed("MODIFIED", self.pods[name])

    def runs(self, name: str, address: str = "127.0.0.1") -> None:
        """A pod's container has started."""
        self.becomes(name, {"phase": "Running", "podIP": address})

    def says(self, name: str, *lines: str) -> None:
        """A pod's container writes lines."""
        for line in lines:
            # Two lines a second, so that a second that is asked for again holds one that is known.
            at = next(self._clock)
            stamp = f"2026-01-01T00:{at // 120:02}:{at // 2 % 60:02}.{at % 2 * 5}00000000Z"
            self._lines.setdefault(name, []).append((stamp, f"{line}\n".encode()))
        self._wake()

    def cuts_logs(self) -> None:
        """Every log that is read breaks off."""
        self._cuts += 1
        self._wake()

    def ends(self, name: str, code: int, **terminated: Any) -> None:
        """A pod's container has ended."""
        ended = {"name": "driver", "state": {"terminated": {"exitCode": code, **terminated}}}
        phase = "Failed" if code else "Succeeded"
        self.becomes(name, {**self.pods[name]["status"], "phase": phase, "containerStatuses": [ended]})

    def forgets(self, name: str) -> None:
        """A pod is gone, and what it owned, with what that owned."""
        pod = self.pods.pop(name)
        for resource, kind in self.objects.items():
            owned = [key for key, one in kind.items() if pod["metadata"]["uid"] in owners(one)]
            for key in owned:
                if resource == "pods":
                    self.forgets(key)
                else:
                    del kind[key]
        self._changed("DELETED", pod)

    def closes(self) -> None:
        """Whatever is read ends."""
        self._closed = True
        self._wake()

    def ends_watches(self) -> None:
        """Every watch ends, as a server ends it after some minutes."""
        self._ends += 1
        self._wake()

    def has_forgotten_the_past(self) -> None:
        """Watches end with the error that what was before is not known any more."""
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        self._events.append((next(self._versions), "ERROR", gone))
        self._wake()

    # --- what it answers -----------------------------------------------------------------------------

    def app(self) -> Starlette:
        base = f"/api/v1/namespaces/{NAMESPACE}"
        policies = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
        routes = [
            Route(f"{base}/pods", self._create, methods=["POST"]),
            Route(f"{base}/secrets", self._create, methods=["POST"]),
            Route(policies, self._create, methods=["POST"]),
            Route(f"{base}/pods", self._list, methods=["GET"]),
            Route(f"{base}/pods/{{name}}", self._read, methods=["GET"]),
            Route(f"{base}/pods/{{name}}", self._delete, methods=["DELETE"]),
            Route(f"{base}/pods/{{name}}/log", self._log, methods=["GET"]),
        ]
        return Starlette(routes=routes)

    def _denied(self, request: Request) -> Response | None:
        if self.down:
            return _status(503, "the server is shutting down")
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _status(401, "Unauthorized")
        return None

    async def _create(self, request: Request) -> Response:
        if (denied := self._denied(request)) is not None:
            return denied
        resource = request.url.path.rpartition("/")[2]
        manifest = await request.json()
        if manifest["metadata"]["name"] in self.objects[resource]:
            return _status(409, f'{resource} "{manifest["metadata"]["name"]}" already exists')
        if resource in self.refused:
            return _status(*self.refused[resource])
        assert manifest["metadata"]["namespace"] == NAMESPACE
        version = next(self._versions)
        manifest["metadata"] |= {"uid": f"uid-{version}", "resourceVersion": str(version)}
        if resource == "pods":
            manifest["status"] = {"phase": "Pending"}
        self.objects[resource][manifest["metadata"]["name"]] = manifest
        self.made.append((resource, copy.deepcopy(manifest)))
        return JSONResponse(manifest, status_code=201)

    async def _list(self, request: Request) -> Response:
        if (denied := self._denied(request)) is not None:
            return denied
        if request.query_params.get("watch"):
            self.watches += 1
            since = request.query_params.get("resourceVersion")
            self.watched_since.append(since)
            return StreamingResponse(self._watch(request.query_params, since), media_type="application/json")
        found = [pod for pod in self.pods.values() if _selects(request.query_params, pod)]
        # One a page, as a server does where there are many.
        at = int(request.query_params.get("continue", "0"))
        more = {"continue": str(at + 1)} if at + 1 < len(found) else {}
        return JSONResponse({"kind": "PodList", "metadata": more, "items": found[at : at + 1]})

    async def _watch(self, query: Mapping[str, str], asked: str | None) -> AsyncIterator[bytes]:
        self.open_watches += 1
        try:
            async for line in self._watched(query, asked):
                yield line
        finally:
            self.open_watches -= 1

    async def _watched(self, query: Mapping[str, str], asked: str | None) -> AsyncIterator[bytes]:
        ends = self._ends
        since = int(asked) if asked is not None else next(self._versions)
        if asked is None:
            for pod in [one for one in self.pods.values() if _selects(query, one)]:
                yield json.dumps({"type": "ADDED", "object": pod}).encode() + b"\n"
        while not self._closed and ends == self._ends:
            news = self._news
            for version, kind, one in list(self._events):
                if version > since and (kind == "ERROR" or _selects(query, one)):
                    since = version
                    yield json.dumps({"type": kind, "object": one}).encode() + b"\n"
                    if kind == "ERROR" or (kind == "DELETED" and "fieldSelector" in query):
                        return
            await news.wait()

    async def _read(self, request: Request) -> Response:
        if (denied := self._denied(request)) is not None:
            return denied
        name = request.path_params["name"]
        return (
            JSONResponse(self.pods[name]) if name in self.pods else _status(404, f'pods "{name}" not found')
        )

    async def _delete(self, request: Request) -> Response:
        if (denied := self._denied(request)) is not None:
            return denied
        name = request.path_params["name"]
        if name not in self.pods:
            return _status(404, f'pods "{name}" not found')
        grace_s = int(request.query_params["gracePeriodSeconds"])
        self.removed.append((name, grace_s))
        self.pods[name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        pod = self.pods[name]
        if not self.stubborn or grace_s == 0:
            if pod["status"]["phase"] == "Running":
                self.ends(name, 143)
            self.forgets(name)
        return JSONResponse(pod)

    async def _log(self, request: Request) -> Response:
        if (denied := self._denied(request)) is not None:
            return denied
        name = request.path_params["name"]
        if name not in self.pods:
            return _status(404, f'pods "{name}" not found')
        if self.pods[name]["status"]["phase"] == "Pending":
            return _status(400, "container is waiting to start: ContainerCreating")
        assert request.query_params["container"] == "driver"
        since = request.query_params.get("sinceTime")
        self.asked_logs.append(since)
        return StreamingResponse(self._log_lines(name, since), media_type="text/plain")

    async def _log_lines(self, name: str, since: str | None) -> AsyncIterator[bytes]:
        cuts, at = self._cuts, 0
        while cuts == self._cuts and not self._closed:
            news = self._news
            lines = self._lines.get(name, [])
            for stamp, text in lines[at:]:
                # Whole seconds, as the kubelet is told.
                if since is None or stamp[:19] >= since[:19]:
                    yield stamp.encode() + b" " + text
            at = len(lines)
            pod = self.pods.get(name)
            if pod is None or pod["status"]["phase"] != "Running":
                return
            await news.wait()

    def _changed(self, kind: str, pod: dict[str, Any]) -> None:
        version = next(self._versions)
        pod["metadata"]["resourceVersion"] = str(version)
        self._events.append((version, kind, copy.deepcopy(pod)))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def owners(one: Mapping[str, Any]) -> list[str]:
    """UIDs of what an object goes with."""
    return [owner["uid"] for owner in one["metadata"].get("ownerReferences", ())]


def _selects(query: Mapping[str, str], pod: Mapping[str, Any]) -> bool:
    """Selectors as far as Spark and the gateway use them
    (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)."""
    labels, fields = pod["metadata"]["labels"], query.get("fieldSelector", "")
    known = {"metadata.name": pod["metadata"]["name"], "status.phase": pod["status"]["phase"]}
    conditions = [one for one in re.split(r",(?![^(]*\))", query.get("labelSelector", "")) if one]
    for condition in conditions:
        if (found := re.fullmatch(r"(\S+) in \((.*)\)", condition)) is not None:
            met = labels.get(found[1]) in found[2].split(",")
        elif "!=" in condition:
            met = labels.get(condition.split("!=")[0]) != condition.split("!=")[1]
        else:
            met = labels.get(condition.split("=")[0]) == condition.split("=")[1]
        if not met:
            return False
    return all(known[name] == text for name, text in (one.split("=") for one in fields.split(",") if one))


def _status(code: int, message: str) -> Response:
    return JSONResponse({"kind": "Status", "code": code, "message": message}, status_code=code)


@asynccontextmanager
async def fake_cluster(pki: Path) -> AsyncIterator[FakeCluster]:
    """A server on the loopback, with the certificate of it that ``tests.cluster.certificates`` made."""
    fake = FakeCluster()
    config = uvicorn.Config(
        fake.app(),
        host="127.0.0.1",
        port=0,
        log_level="error",
        ssl_certfile=pki / "server.crt",
        ssl_keyfile=pki / "server.key",
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    await eventually(lambda: server.started, 60.0)
    port = server.servers[0].sockets[0].getsockname()[1]
    fake.url, fake.ca_file = f"https://127.0.0.1:{port}", pki / "ca.crt"
    try:
        yield fake
    finally:
        server.should_exit = True
        fake.closes()
        await serving
