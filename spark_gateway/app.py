"""The Spark gateway over HTTP."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from contracts.errors import LabError, UsageError
from governance.client import PROBLEM_JSON
from governance.governor.auth import (
    ForbiddenError,
    IdentityUnavailableError,
    TokenVerifier,
    UnauthenticatedError,
)
from spark_gateway.admission import UnavailableError
from spark_gateway.client import Job, LogPart, Program, ServerConnection, ServerStatus
from spark_gateway.executors import Executors
from spark_gateway.gateway import Gateway, NoSuchRunError
from spark_gateway.launcher import FullError
from spark_gateway.master import PREFIXES, create_master

_FORM_LIMIT_BYTES = 1 << 16
_STATUSES: Sequence[tuple[type[LabError], HTTPStatus]] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (NoSuchRunError, HTTPStatus.NOT_FOUND),
    (FullError, HTTPStatus.TOO_MANY_REQUESTS),
    (IdentityUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


class SubmitJob(BaseModel):
    """A program to run; file contents are base64."""

    model_config = ConfigDict(extra="forbid")

    file_name: str
    content: Base64Bytes
    arguments: list[Annotated[str, Field(max_length=10_000)]] = Field(default_factory=list, max_length=1000)
    python_files: dict[str, Base64Bytes] = Field(default_factory=dict, max_length=100)
    main_class: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.$]*$", max_length=500)] | None = None


class _User:
    """Who calls, and the token they called with."""

    def __init__(self, username: str, token: str) -> None:
        self.username, self.token = username, token


async def _user(request: Request, authorization: Annotated[str | None, Header()] = None) -> _User:
    verifier: TokenVerifier = request.app.state.verifier
    # It may have to fetch the realm's keys.
    caller = await asyncio.to_thread(verifier.caller, authorization)
    if caller.service is not None:
        raise ForbiddenError(
            "Spark runs for people: a service account has no groups that could be asked for",
            value=caller.username,
            permitted="a token exchanged for a user",
        )
    return _User(caller.username, (authorization or "").partition(" ")[2].strip())


Authenticated = Annotated[_User, Depends(_user)]


def create_app(gateway: Gateway, verifier: TokenVerifier, executors: Executors | None = None) -> FastAPI:
    """The application; drivers live no longer than it. With ``executors`` it is their API server, too."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            yield

    app = FastAPI(title="Spark gateway", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.verifier = verifier
    _add_error_handlers(app)
    _add_driver_routes(app, gateway)
    if executors is not None:
        for prefix in PREFIXES:
            app.mount(prefix, create_master(gateway, executors))

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/server")
    async def connect(user: Authenticated) -> ServerConnection:
        return await gateway.connect(user.username, user.token)

    @app.get("/v1/server")
    async def server(user: Authenticated) -> ServerStatus | None:
        return gateway.server(user.username)

    @app.delete("/v1/server")
    async def stop_server(user: Authenticated) -> bool:
        return await gateway.stop_server(user.username)

    @app.get("/v1/server/log")
    async def server_log(user: Authenticated, offset: Annotated[int, Query(ge=0)] = 0) -> LogPart:
        return gateway.server_log(user.username, offset)

    @app.post("/v1/jobs")
    async def submit(body: SubmitJob, user: Authenticated) -> Job:
        program = Program(
            file_name=body.file_name,
            content=body.content,
            arguments=tuple(body.arguments),
            python_files=body.python_files,
            main_class=body.main_class,
        )
        return await gateway.submit(user.username, user.token, program)

    @app.get("/v1/jobs")
    async def jobs(user: Authenticated) -> tuple[Job, ...]:
        return gateway.jobs(user.username)

    @app.get("/v1/jobs/{job_id}")
    async def job(job_id: str, user: Authenticated) -> Job:
        gateway.show(user.username, job_id, user.token)
        return gateway.job(user.username, job_id)

    @app.delete("/v1/jobs/{job_id}")
    async def kill(job_id: str, user: Authenticated) -> Job:
        return await gateway.kill(user.username, job_id)

    @app.get("/v1/jobs/{job_id}/log")
    async def job_log(job_id: str, user: Authenticated, offset: Annotated[int, Query(ge=0)] = 0) -> LogPart:
        return gateway.job_log(user.username, job_id, offset)

    return app


def _add_driver_routes(app: FastAPI, gateway: Gateway) -> None:
    """What drivers ask, with the credentials of their run."""

    @app.post("/v1/token")
    async def token(request: Request) -> JSONResponse:
        """OAuth2 token endpoint (RFC 6749): Iceberg's client asks for its user's catalog token here, by
        client credentials at the start and each time before the token ends."""
        run_id, secret = await _client_credentials(request)
        try:
            given = await gateway.catalog_token(run_id, secret)
        except UnauthenticatedError as error:
            return _oauth_error(HTTPStatus.UNAUTHORIZED, "invalid_client", error.what)
        except ForbiddenError as error:
            return _oauth_error(HTTPStatus.BAD_REQUEST, "invalid_grant", error.what)
        content = {"access_token": given.value, "token_type": "bearer", "expires_in": given.expires_in_s}
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    @app.get("/v1/files/{name}")
    async def program_file(name: str, request: Request) -> FileResponse:
        """A file of the program of the run whose credentials (Basic) these are."""
        run_id, secret = await _client_credentials(request)
        path = gateway.program_file(run_id, secret, name)
        return FileResponse(path, media_type="application/octet-stream")


async def _client_credentials(request: Request) -> tuple[str, str]:
    """Client and secret, from the Basic header or the form (RFC 6749, section 2.3.1)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return client_id, secret
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_LIMIT_BYTES:
            raise UsageError("the token request is too long", permitted=f"{_FORM_LIMIT_BYTES} bytes")
    form = parse_qs(body.decode("utf-8", errors="replace"))
    return form.get("client_id", [""])[0], form.get("client_secret", [""])[0]


def _oauth_error(status: HTTPStatus, code: str, description: str) -> JSONResponse:
    return JSONResponse({"error": code, "error_description": description}, status_code=status)


def _problem(status: int, error: LabError, headers: dict[str, str] | None = None) -> JSONResponse:
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": error.what,
        "status": int(status),
        **error.as_dict(),
    }
    return JSONResponse(content, status_code=int(status), media_type=PROBLEM_JSON, headers=headers)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(LabError)
    async def lab_error(_: Request, error: LabError) -> JSONResponse:
        status = next((s for kind, s in _STATUSES if isinstance(error, kind)), HTTPStatus.BAD_GATEWAY)
        headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
        return _problem(status, error, headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        refused = UsageError(f"{where}: {first['msg']}", permitted="the request as SparkClient sends it")
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, refused)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return _problem(error.status_code, LabError(what), dict(error.headers or {}))
