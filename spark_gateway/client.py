"""The Spark gateway's API as a typed client, and the values both of its sides speak.

The CLI and the console call it with a token of the user's own, audience ``spark``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from contracts.errors import LabError, UsageError

T = TypeVar("T")


class SparkError(LabError):
    """The gateway refused or could not do what was asked; ``status`` is the HTTP status, None when it did
    not answer."""

    def __init__(self, what: str, *, status: int | None = None, **facts: Any) -> None:
        self.status = status
        super().__init__(what, **facts)


class RefusedInputError(SparkError, UsageError):
    """The gateway found the input wrong; nothing was started (422)."""


class RunState(StrEnum):
    """Where a server or a job stands."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    LOST = "lost"
    """The gateway ended while it ran, and with it the job."""

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self not in (RunState.STARTING, RunState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """A user's Connect server. Times are in seconds since the epoch; ``idle_s`` is how long its clients
    have been silent, ``idle_limit_s`` when it is stopped for that."""

    username: str
    state: RunState
    started_at: float
    idle_s: float
    idle_limit_s: float
    spark_version: str


@dataclass(frozen=True, kw_only=True)
class ServerConnection:
    """How its user reaches the server: ``url`` for ``SPARK_REMOTE``, ``token`` for
    ``SPARK_CONNECT_AUTHENTICATE_TOKEN``."""

    url: str
    token: str = field(repr=False)
    server: ServerStatus

    def environment(self) -> dict[str, str]:
        """What every Connect client reads."""
        return {"SPARK_REMOTE": self.url, "SPARK_CONNECT_AUTHENTICATE_TOKEN": self.token}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A batch job. Times are in seconds since the epoch; ``exit_code`` is the program's, ``reason`` says
    why it did not succeed."""

    id: str
    username: str
    file_name: str
    arguments: tuple[str, ...]
    state: RunState
    submitted_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """A part of a log: ``next_offset`` is where the next one begins; ``ended``: no more will come."""

    text: str
    next_offset: int
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a job runs: ``file_name`` and content of a Python file or a jar, arguments, further Python
    files by name, and a jar's main class."""

    file_name: str
    content: bytes
    arguments: tuple[str, ...] = ()
    python_files: Mapping[str, bytes] = field(default_factory=dict)
    main_class: str | None = None


class SparkClient:
    """Calls the gateway. ``token_provider`` returns a current access token with audience ``spark``.

    Every method raises SparkError (RefusedInputError) with the gateway's own words, or one without a
    status when it can't be reached.
    """

    def __init__(
        self,
        base_url: str,
        token_provider: Callable[[], str],
        *,
        timeout_s: float = 330.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._token_provider = token_provider
        # The gateway is on the loopback or in the same cluster: never through a proxy.
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"), timeout=timeout_s, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def connect(self) -> ServerConnection:
        """The caller's server, started and awaited when there is none."""
        return self._call(ServerConnection, "POST", "/v1/server")

    def server(self) -> ServerStatus | None:
        """The caller's server; None when there is none."""
        return self._call(ServerStatus | None, "GET", "/v1/server")  # type: ignore[arg-type]  # a union is no type[T]

    def stop_server(self) -> bool:
        """Stops the caller's server. Returns whether there was one."""
        return self._call(bool, "DELETE", "/v1/server")

    def server_log(self, offset: int = 0) -> LogPart:
        """A part of the log of the caller's server, the one that runs or the last."""
        return self._call(LogPart, "GET", f"/v1/server/log?offset={offset}")

    def submit(self, program: Program) -> Job:
        """Starts a job."""
        body = {
            "file_name": program.file_name,
            "content": base64.b64encode(program.content).decode(),
            "arguments": list(program.arguments),
            "python_files": {n: base64.b64encode(c).decode() for n, c in program.python_files.items()},
            "main_class": program.main_class,
        }
        return self._call(Job, "POST", "/v1/jobs", body)

    def jobs(self) -> Sequence[Job]:
        """The caller's jobs, newest first."""
        return self._call(tuple[Job, ...], "GET", "/v1/jobs")

    def job(self, job_id: str) -> Job:
        """One of the caller's jobs."""
        return self._call(Job, "GET", f"/v1/jobs/{job_id}")

    def kill(self, job_id: str) -> Job:
        """Ends a job; one that has ended stays as it is."""
        return self._call(Job, "DELETE", f"/v1/jobs/{job_id}")

    def job_log(self, job_id: str, offset: int = 0) -> LogPart:
        """A part of a job's output."""
        return self._call(LogPart, "GET", f"/v1/jobs/{job_id}/log?offset={offset}")

    def _call(self, kind: type[T], method: str, path: str, body: Mapping[str, Any] | None = None) -> T:
        headers = {"Authorization": f"Bearer {self._token_provider()}"}
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise SparkError(
                f"the Spark gateway does not answer: {error}",
                value=str(self._http.base_url),
                next_command="lab status",
            ) from error
        if response.is_error:
            raise _refusal(response)
        try:
            return TypeAdapter(kind).validate_json(response.content)
        except ValidationError as error:
            raise SparkError(
                f"the Spark gateway's answer to {method} {path} is not understood",
                status=response.status_code,
                next_command="lab up, so that gateway and command line are of one version",
            ) from error


def _refusal(response: httpx.Response) -> SparkError:
    """The error a problem document describes (https://www.rfc-editor.org/rfc/rfc9457)."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = RefusedInputError if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY else SparkError
    return kind(
        problem.get("title") or f"the Spark gateway answered {response.status_code}",
        status=response.status_code,
        value=problem.get("value"),
        permitted=problem.get("permitted"),
        next_command=problem.get("next_command"),
    )
