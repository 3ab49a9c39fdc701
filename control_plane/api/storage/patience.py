"""Connections to PostgreSQL that give up on a server which is there and says nothing.

A server whose processes stand still (a machine that is paused, a disk that hangs) takes connections and
statements as long as its kernel does; no timeout of TCP's or of the server's own ends the waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed once the server has said nothing for ``silence_s``, with
    psycopg.OperationalError."""

    silence_s = 5.0

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """See psycopg.Connection.wait."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[T]) -> Generator[Any, Any, T]:
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at >= self.silence_s:
                    # What comes late must not be taken for the answer to another statement.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"PostgreSQL said nothing for {self.silence_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            answer: T = done.value
            return answer


def limit_silence(engine: Engine, *, statement_s: float, check_s: float) -> None:
    """Connections of the engine's pool wait for ``statement_s`` while somebody has them, and for ``check_s``
    when they are opened or checked before that. Both in seconds of silence, before the first is opened."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> PatientConnection:
        opened = PatientConnection.connect(*arguments, **options)
        opened.silence_s = check_s
        return opened

    def patience(limit_s: float) -> Callable[..., None]:
        def set_it(connection: PatientConnection | None, *_: Any) -> None:
            if connection is not None:
                connection.silence_s = limit_s

        return set_it

    event.listen(engine, "checkout", patience(statement_s))
    event.listen(engine, "checkin", patience(check_s))
