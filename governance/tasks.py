"""The end of background tasks."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 5.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels the tasks and waits until they have ended; what they raise is dropped.

    A task that has not ended after a while is cancelled once more: before Python 3.12
    :func:`asyncio.wait_for` loses a cancellation that comes together with a result
    (https://github.com/python/cpython/issues/86296), and connection pools wait by it.
    """
    for task in tasks:
        task.cancel()
    pending = set(tasks)
    while pending:
        ended, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()
        for task in pending:
            task.cancel()
