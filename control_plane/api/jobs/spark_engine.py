"""A job's program in Spark, through the gateway, as its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import httpx
from anyio import to_thread

from contracts.identity import Audience
from control_plane.api.jobs.attempts import ENGINE_PAUSE_S, Ground, LostError, NoRetryError
from control_plane.api.jobs.parameters import arguments
from control_plane.api.problems import AbsentServiceError
from control_plane.api.schemas.jobs import SparkWork
from spark_gateway.client import Job, LogPart, Program, RunState, SparkClient, SparkError

T = TypeVar("T")

_POLL_S = 1.0
_FORBIDDEN, _NOT_FOUND, _REFUSED, _FULL = 403, 404, 422, 429
_TIMEOUT_S = 60.0


class Spark:
    """Makes clients of the gateway.

    Args:
        url: None where the lab has none.
        transport: shared by all of them, and closed by :meth:`close`.
    """

    def __init__(self, url: str | None, transport: httpx.BaseTransport) -> None:
        self._url, self._transport = url, transport

    def require(self) -> str:
        """The gateway's address. Raises AbsentServiceError."""
        if self._url is None:
            raise AbsentServiceError("this lab runs without Spark", next_command="lab up spark")
        return self._url

    async def ask(self, token: str, question: Callable[[SparkClient], T]) -> T:
        """The answer to one question. Raises SparkError, AbsentServiceError."""
        client = SparkClient(
            self.require(), lambda: token, timeout_s=_TIMEOUT_S, transport=_Shared(self._transport)
        )
        return await to_thread.run_sync(question, client)

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()


class _Shared(httpx.BaseTransport):
    """A transport that outlives the client which uses it."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transport.handle_request(request)


class SparkEngine:
    """One attempt. The program's name is the attempt's own, so that one that was handed in and not noted is
    found again."""

    def __init__(self, spark: Spark, work: SparkWork, ground: Ground) -> None:
        self._spark, self._work, self._ground = spark, work, ground
        self._progress = ground.run.progress
        run = ground.run
        self._file_name = f"run-{run.run_id.hex}-{run.attempt}.py"

    async def execute(self) -> None:
        """See :class:`Engine`."""
        given = arguments(self._work, self._ground.run.parameters)
        job_id = self._progress.get("spark_job_id") or await self._submitted(given)
        if self._progress.get("spark_job_id") is None:
            self._progress["spark_job_id"] = job_id
            await self._ground.say(f"Spark job {job_id}")
        await self._ground.note()
        while True:
            job = await self._ask(lambda client: client.job(job_id))
            await self._copy_log(job_id)
            if job.state.ended:
                self._require_success(job)
                return
            await asyncio.sleep(_POLL_S)
            await self._ground.note()

    async def cancel(self) -> None:
        """Ends the program."""
        job_id = self._progress.get("spark_job_id")
        if job_id is not None:
            token = await self._ground.identity.token(Audience.SPARK)
            try:
                await self._spark.ask(token, lambda client: client.kill(job_id))
            except SparkError as error:
                await self._ground.say(f"Spark job {job_id} could not be ended: {error.what}")
            await self._copy_log(job_id)

    async def _submitted(self, given: list[str]) -> str:
        """The Spark job of this attempt: one that was handed in already, else a new one."""
        program = Program(
            file_name=self._file_name,
            content=self._work.source.encode(),
            arguments=tuple(given),
            python_files={name: module.encode() for name, module in self._work.modules.items()},
        )
        said = False
        while True:
            found = [j.id for j in await self._ask(lambda c: c.jobs()) if j.file_name == self._file_name]
            if found:
                return found[0]
            try:
                token = await self._ground.identity.token(Audience.SPARK)
                return (await self._spark.ask(token, lambda client: client.submit(program))).id
            except SparkError as error:
                if error.status not in (_FULL, None, 502, 503, 504):
                    raise _failed(error) from error
                if not said:
                    await self._ground.say(f"{error.what}: waiting")
                said = True
                await asyncio.sleep(ENGINE_PAUSE_S)
                await self._ground.note()

    async def _copy_log(self, job_id: str) -> None:
        while True:
            offset = self._progress.get("log_offset", 0)
            part = await self._ask(partial(_log_part, job_id, offset))
            if part.next_offset <= offset:
                return
            self._progress["log_offset"] = part.next_offset
            await self._ground.say(part.text, "spark")

    async def _ask(self, question: Callable[[SparkClient], T]) -> T:
        """The gateway's answer, once it gives one. Raises LostError, LabError."""
        said = False
        while True:
            token = await self._ground.identity.token(Audience.SPARK)
            try:
                return await self._spark.ask(token, question)
            except SparkError as error:
                if error.status == _NOT_FOUND:
                    raise LostError(
                        f"the Spark gateway does not know the job any more: {error.what}"
                    ) from error
                if error.status not in (None, 502, 503, 504):
                    raise _failed(error) from error
                if not said:
                    await self._ground.say(f"{error.what}: waiting")
                said = True
                await asyncio.sleep(ENGINE_PAUSE_S)
                await self._ground.note()

    def _require_success(self, job: Job) -> None:
        if job.state is RunState.SUCCEEDED:
            return
        reason = job.reason or f"the program ended with {job.exit_code}"
        if job.state is RunState.LOST:
            raise LostError(reason)
        raise SparkError(reason)


def _log_part(job_id: str, offset: int, client: SparkClient) -> LogPart:
    return client.job_log(job_id, offset)


def _failed(error: SparkError) -> SparkError | NoRetryError:
    if error.status in (_FORBIDDEN, _REFUSED):
        return NoRetryError(
            error.what, value=error.value, permitted=error.permitted, next_command=error.next_command
        )
    return error
