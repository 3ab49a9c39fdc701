"""How a reading ends that is no plan."""

from __future__ import annotations

from agent.semantic.plan import Ambiguity, Decline, NeedsValues


class Undecided(Exception):
    """Carries an outcome that is no plan out of the reading."""

    def __init__(self, outcome: Ambiguity | Decline | NeedsValues) -> None:
        self.outcome = outcome
        super().__init__(str(outcome))
