"""Checkpoints of runs in PostgreSQL, and the graph over them; loaded with the first question.

They lie in the schema ``checkpoints`` and only as long as a run may go on: they hold rows, which nobody needs
twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_POOL_SIZE = 4
_CONNECT_TIMEOUT_S = 5
_WAIT_S = 10.0


class Graphs:
    """The compiled graph, made when it is first asked for. ``conninfo`` is libpq's."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._lock = asyncio.Lock()
        self._pool: Any = None
        self._saver: Any = None
        self._graph: Any = None

    async def graph(self) -> Any:
        """The graph. Raises psycopg.OperationalError while the database can't be reached."""
        async with self._lock:
            if self._graph is None:
                await self._open()
            return self._graph

    async def _open(self) -> None:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import AsyncConnectionPool

        from agent.graph import build_graph

        if self._pool is None:
            self._pool = AsyncConnectionPool(
                self._conninfo,
                min_size=1,
                max_size=_POOL_SIZE,
                timeout=_WAIT_S,
                open=False,
                # A restart of PostgreSQL costs no failed question.
                check=AsyncConnectionPool.check_connection,
                kwargs={
                    "autocommit": True,
                    "prepare_threshold": 0,
                    "row_factory": dict_row,
                    "connect_timeout": _CONNECT_TIMEOUT_S,
                    "application_name": "agent checkpoints",
                    "options": "-c search_path=checkpoints",
                },
            )
            await self._pool.open()
        saver: Any = AsyncPostgresSaver(self._pool)
        await saver.setup()
        self._saver, self._graph = saver, build_graph(saver)

    async def forget(self, run_ids: Iterable[str]) -> None:
        """Removes what was kept of runs that have ended."""
        await self.graph()
        for run_id in run_ids:
            await self._saver.adelete_thread(run_id)

    async def close(self) -> None:
        """Closes the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = self._graph = None
