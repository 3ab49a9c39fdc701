"""What drivers know as their cluster's API server: a few of its calls, for their own executors.

Spark's scheduler makes, lists, watches and deletes pods
(https://kubernetes.io/docs/reference/using-api/api-concepts/). Answers are the cluster's own; refusals have
the form that its clients read, ``Status``. Whatever else is asked for is forbidden.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from contracts.errors import LabError, UsageError
from governance.governor.auth import UnauthenticatedError
from spark_gateway.cluster_api import ClusterApiError
from spark_gateway.executors import Executors

PREFIXES = ("/api", "/apis")
"""Of the paths that are an API server's."""
_LIMIT_BYTES = 1 << 20
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "AlreadyExists",
    413: "RequestEntityTooLarge",
    503: "ServiceUnavailable",
}


class Runs(Protocol):
    """Whose credential is whose."""

    def run_of(self, run_id: str, secret: str, *, ending: bool = False) -> str:
        """The run whose credential this is, with ``ending`` also one that is being stopped. Raises
        UnauthenticatedError."""
        ...


def create_master(runs: Runs, executors: Executors) -> Starlette:
    """The application below ``/api``. Who calls shows the credential of a run (``run:secret``) as bearer."""
    calls = _Calls(runs, executors)
    pods = f"/v1/namespaces/{executors.namespace}/pods"
    routes = [
        Route(pods, calls.create, methods=["POST"]),
        Route(pods, calls.read_all, methods=["GET"]),
        Route(pods, calls.delete_all, methods=["DELETE"]),
        Route(pods + "/{name}", calls.read, methods=["GET"]),
        Route(pods + "/{name}", calls.delete, methods=["DELETE"]),
    ]
    return Starlette(routes=routes, exception_handlers={LabError: _refused, HTTPException: _not_offered})


class _Calls:
    def __init__(self, runs: Runs, executors: Executors) -> None:
        self._runs, self._executors = runs, executors

    async def create(self, request: Request) -> Response:
        run_id = self._run(request)
        try:
            pod = json.loads(await _body(request))
        except ValueError as error:
            raise UsageError("the pod that is asked for is no JSON") from error
        return JSONResponse(await self._executors.create(run_id, pod), status_code=201)

    async def read_all(self, request: Request) -> Response:
        run_id = self._run(request, ending=True)
        query = dict(request.query_params)
        if query.pop("watch", "") not in ("true", "1"):
            return JSONResponse(await self._executors.page(run_id, query))
        if request.headers.get("upgrade"):
            # Spark's client tries a web socket first; after this answer it takes the same as a stream.
            return Response()
        return StreamingResponse(self._executors.watch(run_id, query), media_type="application/json")

    async def read(self, request: Request) -> Response:
        run_id, name = self._run(request, ending=True), request.path_params["name"]
        pod = await self._executors.one(run_id, name)
        return _unknown(name) if pod is None else JSONResponse(pod)

    async def delete(self, request: Request) -> Response:
        run_id, name = self._run(request, ending=True), request.path_params["name"]
        return _status(200, "") if await self._executors.delete(run_id, name) else _unknown(name)

    async def delete_all(self, request: Request) -> Response:
        run_id = self._run(request, ending=True)
        await self._executors.delete_all(run_id, dict(request.query_params))
        return _status(200, "")

    def _run(self, request: Request, *, ending: bool = False) -> str:
        """The run that calls; with ``ending`` also while it is being stopped. Raises UnauthenticatedError."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        run_id, _, secret = shown.partition(":")
        if scheme.lower() != "bearer":
            run_id = secret = ""
        return self._runs.run_of(run_id, secret, ending=ending)


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LIMIT_BYTES:
            raise ClusterApiError("the pod that is asked for is too large", status=413)
    return body


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, UnauthenticatedError):
        return _status(401, error.what)
    if isinstance(error, UsageError):
        return _status(400, error.render())
    found = error.status if isinstance(error, ClusterApiError) else None
    # Of the cluster's refusals, those that are about what was asked for. The gateway's own troubles pass.
    status = found if found is not None and 400 <= found < 500 and found != 401 else 503
    return _status(status, error.what if isinstance(error, LabError) else str(error))


async def _not_offered(request: Request, _: Exception) -> Response:
    return _status(403, f"{request.method} {request.url.path}: drivers ask for their executors' pods alone")


def _unknown(name: str) -> Response:
    return _status(404, f'pods "{name}" not found')


def _status(code: int, message: str) -> Response:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/"""
    content: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success" if code < 400 else "Failure",
        "code": code,
    }
    if message:
        content |= {"message": message, "reason": _REASONS.get(code, "Unknown")}
    return JSONResponse(content, status_code=code)
