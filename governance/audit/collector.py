"""Takes what Trino and OPA post, keeps it on disk before it answers, and delivers it to the database."""

from __future__ import annotations

import hmac
import json
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from contracts.errors import LabError, UsageError
from governance.audit.delivery import GAP
from governance.audit.records import Json, decision_records, encode, query_record
from governance.audit.spool import Spool, SpoolFullError
from governance.audit.store import AuditStore

BODY_BYTES = 32 << 20
"""Of one request, unpacked."""

_BATCH = 500
_CHECK_EVERY_S = 60.0
_RETAIN_EVERY_S = 3600.0
_GZIP = 31
"""``wbits`` of zlib for gzip."""


class Producer(StrEnum):
    """Who reports."""

    TRINO = "trino"
    OPA = "opa"


class TooLongError(LabError):
    """More than a request may hold (413)."""


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """``catalog``: the lab's, in Trino. ``tokens``: what each producer shows."""

    catalog: str
    retention_days: int
    tokens: dict[Producer, str] = field(repr=False)


class Collector:
    """The way of a record: producer, spool, database. ``wake`` is set when there is something to deliver."""

    def __init__(
        self,
        spool: Spool,
        store: AuditStore,
        settings: AuditSettings,
        *,
        wake: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spool, self.store, self.settings, self.wake = spool, store, settings, wake
        self._monotonic = monotonic
        self._checked_at = self._retained_at = float("-inf")

    def is_producer(self, producer: Producer, authorization: str | None) -> bool:
        """Whether an ``Authorization`` header carries the producer's token."""
        scheme, _, token = (authorization or "").partition(" ")
        expected = self.settings.tokens[producer].encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), expected)

    def receive(self, producer: Producer, body: bytes, *, packed: bool) -> int:
        """Keeps one request; how many records it held. They are on the disk when this returns.

        Raises:
            SpoolFullError: there is no room; the producer is to repeat it.
            UsageError: it is not what the producer sends; TooLongError: it is longer than allowed. Neither
                is repeated, so each is noted as a gap.
        """
        try:
            document = _document(body, packed)
            if producer is Producer.TRINO:
                records = [query_record(document, self.settings.catalog)]
            else:
                records = decision_records(document, self.settings.catalog)
        except (UsageError, TooLongError) as error:
            self._note(producer, error.what)
            raise
        self.spool.append([encode(record) for record in records])
        self.wake.set()
        return len(records)

    def keep(self, record: Json) -> None:
        """Keeps a record of the governor's own, on the disk when this returns. Raises SpoolFullError."""
        self.spool.append([encode(record)])
        self.wake.set()

    def waiting(self) -> int:
        """Records that are on the disk and not in the database yet."""
        return max(0, self.spool.newest - self.store.delivered(self.spool.id))

    def work(self) -> None:
        """Delivers all there is, and now and then looks for gaps and removes what is old.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not take it; nothing is lost.
        """
        self._deliver()
        now = self._monotonic()
        if now - self._checked_at >= _CHECK_EVERY_S:
            self.store.check_numbers(datetime.now(tz=UTC))
            self._checked_at = now
        if now - self._retained_at >= _RETAIN_EVERY_S:
            self.store.retain(self.settings.retention_days)
            self._retained_at = now

    def _deliver(self) -> None:
        delivered = self.store.delivered(self.spool.id)
        while records := self.spool.read(delivered, _BATCH):
            self.store.accept(self.spool.id, records)
            delivered = records[-1].number
            self.spool.release(delivered)
        refusals = self.spool.refusals()
        if refusals is not None:
            detail = {
                "reason": "the spool was full; what its producers did not send again is lost",
                "attempts": refusals.attempts,
                "since": refusals.since.isoformat(),
                "until": refusals.until.isoformat(),
            }
            self.store.gap("audit", detail)
            self.spool.forget_refusals(refusals)

    def _note(self, producer: Producer, reason: str) -> None:
        record = {"kind": GAP, "who": producer.value, "reason": f"a report was refused: {reason}"}
        try:
            self.spool.append([encode(record)])
            self.wake.set()
        except SpoolFullError:
            # The spool keeps count of what it refuses.
            return


def _document(body: bytes, packed: bool) -> Any:
    if packed:
        unpacker = zlib.decompressobj(_GZIP)
        try:
            body = unpacker.decompress(body, BODY_BYTES + 1)
        except zlib.error as error:
            raise UsageError("the request's body is not gzip", permitted="Content-Encoding: gzip") from error
    if len(body) > BODY_BYTES:
        raise TooLongError("the request is too long", value=len(body), permitted=f"{BODY_BYTES} bytes")
    try:
        return json.loads(body)
    except ValueError as error:
        raise UsageError("the request's body is not JSON", permitted="a JSON document") from error
