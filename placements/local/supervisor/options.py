"""How patient the supervisor is."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from placements.local.supervisor.model import Restarts


@dataclass(frozen=True, kw_only=True)
class Options:
    """Times in seconds, sizes in bytes.

    A service that dies is started again after ``restart_delay_s``, doubled each time up to
    ``restart_delay_max_s``; after ``stable_s`` of being ready the delay begins anew. One that never was
    ready since it was asked for fails after ``attempts`` starts. A log longer than ``log_max_bytes`` is
    rotated; ``log_keep`` old ones are kept. A service whose liveness fails ``liveness_failures`` times in a
    row is started again.
    """

    restart_delay_s: float = 0.5
    restart_delay_max_s: float = 30.0
    stable_s: float = 60.0
    attempts: int = 3
    tick_s: float = 0.2
    log_max_bytes: int = 10 * 2**20
    log_keep: int = 3
    log_check_s: float = 5.0
    liveness_failures: int = 3

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        return cls(**json.loads(text))

    def of(self, own: Restarts | None) -> Options:
        """These, with a service's own ways of being started again."""
        if own is None:
            return self
        return dataclasses.replace(
            self, attempts=own.attempts, restart_delay_max_s=own.delay_max_s, stable_s=own.stable_s
        )

    def delay_s(self, deaths: int) -> float:
        """How long to wait before the start that follows ``deaths`` deaths in a row."""
        return float(min(self.restart_delay_max_s, self.restart_delay_s * 2 ** max(0, min(deaths, 30) - 1)))
