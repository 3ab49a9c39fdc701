"""Work that takes libraries and memory of its own, each piece in a process that goes with it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from contracts.errors import LabError, UsageError
from control_plane.api.problems import UnavailableError
from ingestion.words import CANCELED_STATUS

Token = Callable[[], Awaitable[str]]

_MODULE = "ingestion.worker"
_LINE_BYTES = 16 << 20
_GRACE_S = 90.0
"""Time to remove files after being told to end: the catalog may have to be asked what became of a commit."""

_ROOT = Path(__file__).parents[3]
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "SSL_CERT_FILE", "TMPDIR")


class CanceledError(LabError):
    """The work was told to end, and nothing came of it."""


async def work(
    request: Mapping[str, Any],
    *,
    token: Token | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """What a worker made of a request. Canceling this ends the worker, which then commits nothing.

    Args:
        token: gives the user's token whenever the worker asks.
        limit_s: how long it may take.

    Raises:
        UsageError, LabError: the worker's own; CanceledError, UnavailableError (it died, or took too long).
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        # None of the console's secrets, which are in its environment.
        env={
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "PYTHONPATH": str(_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "OMP_NUM_THREADS": "1",
            "no_proxy": "*",
        },
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit_s):
            return await _talk(process, request, token, progress)
    except TimeoutError as error:
        raise UnavailableError(
            f"it takes longer than {limit_s:.0f} s", next_command="the same again, when less is going on"
        ) from error
    finally:
        # Also when this is canceled a second time: the worker ends by itself once its input does.
        await asyncio.shield(_end(process))


async def _talk(
    process: asyncio.subprocess.Process,
    request: Mapping[str, Any],
    token: Token | None,
    progress: Callable[[dict[str, Any]], None] | None,
) -> dict[str, Any]:
    given, told = cast(asyncio.StreamWriter, process.stdin), cast(asyncio.StreamReader, process.stdout)
    await _tell(given, request)
    while line := await told.readline():
        said: dict[str, Any] = json.loads(line)
        if "need" in said:
            await _tell(given, await _answer(token))
        elif "progress" in said and progress is not None:
            progress(said["progress"])
        elif "done" in said:
            done: dict[str, Any] = said["done"]
            return done
        elif "failed" in said:
            raise _failure(said["failed"])
    status = await process.wait()
    if status == CANCELED_STATUS:
        raise CanceledError("the ingest was canceled, nothing was committed")
    raise UnavailableError(
        f"the process that reads the file ended with status {status}",
        permitted="memory and disk for it",
        next_command="lab logs control-plane",
    )


async def _answer(token: Token | None) -> dict[str, str]:
    try:
        return {"refused": "no token is given here"} if token is None else {"token": await token()}
    except LabError as error:
        return {"refused": error.what}


async def _tell(stream: asyncio.StreamWriter, document: Mapping[str, Any]) -> None:
    with suppress(ConnectionError):
        stream.write(json.dumps(document).encode() + b"\n")
        await stream.drain()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_GRACE_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _failure(said: Mapping[str, Any]) -> LabError:
    kind = UsageError if said.get("usage") else LabError
    return kind(str(said["title"]), value=said.get("value"), permitted=said.get("permitted"))
