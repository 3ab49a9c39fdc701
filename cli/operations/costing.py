"""What a lab costs, by its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.cost import TABLE, Estimate, Planned, estimate, read_prices, sides
from cli.events import PlannedStep
from cli.operations.lifecycle import preview
from cli.session import Session
from contracts.settings import Role


@dataclass(frozen=True, kw_only=True)
class CostResult:
    """``now`` is what is there, ``planned`` what ``up`` would make of it."""

    now: Estimate
    planned: Estimate


def cost(session: Session, *, prices: Path | None = None) -> CostResult:
    """What the lab costs as it is and as ``up`` would make it; runs a preview, changes nothing.

    Raises:
        UsageError: ``prices`` is not a table of prices.
        LabError: the preview failed.
    """
    table = prices or TABLE
    read_prices(table)
    found = preview(session)
    return costs_of(found.steps, table)


def costs_of(steps: Mapping[Role, Sequence[PlannedStep]], prices: Path = TABLE) -> CostResult:
    """The estimates of a preview's steps."""
    table = read_prices(prices)
    before: list[Planned] = []
    after: list[Planned] = []
    for role, planned in steps.items():
        old, new = sides(role, planned)
        before += old
        after += new
    return CostResult(now=estimate(before, table), planned=estimate(after, table))
