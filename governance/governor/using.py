"""Whether people use the lab. Their last use is noted as an object in the store, for whoever stops idle labs.

Use is a query of a person on Trino, as the audit hears of it, for as long as it runs; a request here in a
person's name, such as those of the agent and of the command line; and what the console tells, whose
pages ask by themselves, too. Probes are none, nor is what the lab does in its own name.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from fastapi import Depends, FastAPI, Response, status
from sqlalchemy.exc import SQLAlchemyError

from contracts.identity import Audience
from contracts.use import USE_KEY
from governance.governor.auth import Caller, ForbiddenError
from governance.governor.loops import Loop
from governance.governor.service import Governor

log = logging.getLogger(__name__)

NOTED_EVERY_S = 300.0
_LATE = timedelta(minutes=1)
"""Of what the audit recorded just before it was last looked at."""
_FIRST = timedelta(minutes=30)
"""How far back the first look goes: a governor that was restarted did not note what came just before, and one
that is restarted again and again has no second look."""
_PROBES = ("/v1/status", "/v1/fingerprint")
"""What people's checks of the lab's health ask."""


class Queries(Protocol):
    """What the audit knows of people's queries."""

    def people_queried(self, within: timedelta) -> bool:
        """Whether a person's query was recorded ``within`` that long, or still runs."""
        ...


class Uses:
    """What was seen since the last note. Safe for threads.

    Args:
        put: replaces the object of a key in one step; raises LabError.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        queries: Queries,
        put: Callable[[str, bytes], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries, self._put, self._clock = queries, put, clock
        self._lock = threading.Lock()
        self._seen = ""
        self._looked_s = clock() - _FIRST.total_seconds()

    def asked(self, caller: Caller, path: str) -> None:
        """Somebody asked the governor for ``path``."""
        if caller.service is None and caller.client != Audience.CONTROL_PLANE.value and path not in _PROBES:
            self.seen(caller.client or "request")

    def seen(self, what: str) -> None:
        """Somebody did something; ``what`` says through whom, never who."""
        with self._lock:
            self._seen = what

    def note(self) -> bool:
        """Writes the note when there was use since the last one, or when there may have been, since the audit
        can't be asked; whether there was.

        Raises:
            LabError: the store did not take it; the next call tries again.
            sqlalchemy.exc.SQLAlchemyError: the audit can't be asked.
        """
        began_s = self._clock()
        with self._lock:
            what, self._seen = self._seen, ""
        try:
            if not what and self._people_queried(timedelta(seconds=began_s - self._looked_s) + _LATE):
                what = "query"
            if what:
                self._write(what)
        except BaseException:
            with self._lock:
                self._seen = self._seen or what
            raise
        self._looked_s = began_s
        return bool(what)

    def _people_queried(self, within: timedelta) -> bool:
        try:
            return self._queries.people_queried(within)
        except SQLAlchemyError:
            # A lab that somebody may use is none that nobody uses.
            self._write("unknown")
            raise

    def _write(self, what: str) -> None:
        note = {"noted_at": datetime.now(tz=UTC).isoformat(timespec="seconds"), "what": what}
        self._put(USE_KEY, json.dumps(note).encode())


def use_loop(governor: Governor, uses: Uses, every_s: float = NOTED_EVERY_S) -> Loop:
    """Notes use every ``every_s``."""

    def work() -> None:
        governor.prepare()
        uses.note()

    return Loop("use", work, wake=threading.Event(), every_s=every_s, errors=governor.errors)


def add_use_routes(app: FastAPI, uses: Uses, authenticate: Callable[..., Caller]) -> None:
    """Adds the route by which the console tells that somebody works in it."""
    caller_of = Depends(authenticate)

    @app.post("/v1/use", status_code=status.HTTP_204_NO_CONTENT)
    def use(caller: Caller = caller_of) -> Response:
        if caller.service is not None:
            raise ForbiddenError(
                "a service's own doings are no use of the lab", value=caller.username, permitted="people"
            )
        uses.seen(caller.client or "request")
        return Response(status_code=status.HTTP_204_NO_CONTENT)
