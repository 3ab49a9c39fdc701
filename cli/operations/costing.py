"""What a lab costs, by its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cli.cost import TABLE, Estimate, Planned, Price, PriceTable, estimate, read_prices, sides, table_text
from cli.events import PlannedStep
from cli.operations.lifecycle import preview
from cli.project import settings, write_private
from cli.session import Session
from contracts.errors import UsageError
from contracts.settings import Role

OWN_TABLE = "prices.yaml"
"""File in the lab's folder with the prices that were last read for it."""


@dataclass(frozen=True, kw_only=True)
class CostResult:
    """``now`` is what is there, ``planned`` what ``up`` would make of it. ``unread`` says of prices that were
    asked for and are not known why that is."""

    now: Estimate
    planned: Estimate
    unread: Mapping[str, str] = field(default_factory=dict)


def cost(session: Session, *, prices: Path | None = None, refresh: bool = False) -> CostResult:
    """What the lab costs as it is and as ``up`` would make it; runs a preview, changes nothing.

    Args:
        prices: the table; None for the lab's own, or that of the checkout while there is none.
        refresh: read the prices of what the plan has from AWS first, into the lab's own table.

    Raises:
        UsageError: ``prices`` is not a table of prices, or there is nothing to ask AWS for.
        PreflightError: AWS can't be asked.
        LabError: the preview failed.
    """
    if refresh:
        check_refresh(session, prices)
        found = preview(session)
        table, unread = refresh_prices(session, found.steps)
        return costs_of(found.steps, table, unread)
    table = prices or table_of(session)
    read_prices(table)
    found = preview(session)
    return costs_of(found.steps, table)


def table_of(session: Session) -> Path:
    """The table that holds for a lab: its own, unless that was read for another region than the lab's.

    Raises:
        UsageError: its own is not a table of prices.
    """
    own = session.lab.home / OWN_TABLE
    if not own.exists():
        return TABLE
    region = settings(session.lab, Role.PERSISTENT, session.environ).values["awsRegion"]
    return own if read_prices(own).region == region else TABLE


def check_refresh(session: Session, prices: Path | None) -> None:
    """Raises UsageError where no prices are read for the lab."""
    if prices is not None:
        raise UsageError(
            "--refresh-prices writes the lab's own table of prices and reads no other one",
            value=str(prices),
            permitted="one of --prices and --refresh-prices",
            next_command="lab cost --refresh-prices",
        )
    session.lab.require()
    if session.placement() != "aws":
        raise UsageError(
            "nothing of this lab is billed by a cloud whose prices could be read",
            value=f"placement {session.placement()}",
            permitted="placement aws",
            next_command="lab cost",
        )


def refresh_prices(
    session: Session, steps: Mapping[Role, Sequence[PlannedStep]]
) -> tuple[Path, Mapping[str, str]]:
    """Reads the prices of all that is billed of a plan and writes the lab's own table; its path, and why
    prices are not known. What is not published stays unknown, whatever the table had before.

    Raises:
        PreflightError: AWS can't be asked; the table is as it was.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.aws.account import clients_of, region_of
    from placements.aws.prices import read

    region, now = region_of(settings(session.lab, Role.PERSISTENT, session.environ)), datetime.now(UTC)
    wanted = {line.key for one in _estimates(steps, read_prices(TABLE)) for line in one.lines}
    # The list is served in few regions; it holds the prices of all of them.
    pricing = clients_of("cn-northwest-1" if region.startswith("cn-") else "us-east-1")("pricing")
    found, unread = read(sorted(wanted), region, clients_of(region), pricing, now)
    rows = {key: Price(unit=one.unit, usd=one.usd, source=one.source) for key, one in found.items()}
    table = PriceTable(region=region, read_on=now.date(), prices=rows)
    path = session.lab.home / OWN_TABLE
    write_private(path, table_text(table))
    return path, unread


def costs_of(
    steps: Mapping[Role, Sequence[PlannedStep]],
    prices: Path = TABLE,
    unread: Mapping[str, str] | None = None,
) -> CostResult:
    """The estimates of a preview's steps."""
    now, planned = _estimates(steps, read_prices(prices))
    return CostResult(now=now, planned=planned, unread=unread or {})


def _estimates(steps: Mapping[Role, Sequence[PlannedStep]], table: PriceTable) -> tuple[Estimate, Estimate]:
    before: list[Planned] = []
    after: list[Planned] = []
    for role, planned in steps.items():
        old, new = sides(role, planned)
        before += old
        after += new
    return estimate(before, table), estimate(after, table)
