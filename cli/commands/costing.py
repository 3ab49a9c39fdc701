"""``cost``: dollars an hour up, dollars a month down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, lab_command

if TYPE_CHECKING:
    from cli.operations.costing import CostResult


@command("cost")
@click.option(
    "--refresh-prices",
    "refresh",
    is_flag=True,
    help="Read the prices of what the plan has from AWS first, and keep them for this lab with the day.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A table of prices of your own, in the form of cli/prices.yaml.",
)
def cost(options: Options, refresh: bool, prices: Path | None) -> None:
    """Say what the lab costs an hour while it is up and a month while it is down, from the plan."""
    from cli.cost import what_to_do
    from cli.operations import cost as run

    session = options.session()
    result = run(session, prices=prices, refresh=refresh)
    options.show(result, lambda: cost_text(result))
    if session.lab.owner:
        options.say(f"what is kept is billed beside it: lab --name {session.lab.owner} cost")
    todo = what_to_do(result.planned)
    options.next_steps(*([todo] if todo else []), lab_command(options, "up"))


def cost_text(result: CostResult) -> str:
    """One line a thing that is billed, the sums, and what is billed by use."""
    from cli.cost import money, verdict
    from cli.render import table

    planned = result.planned
    rows = [
        (
            line.key,
            f"{line.quantity_up:g}",
            money(line.usd_per_hour_up, "hour"),
            money(line.usd_per_month_down, "month"),
            ", ".join(line.resources),
        )
        for line in planned.lines
    ]
    lines = [table(("billed", "quantity", "up", "down", "for"), rows), ""] if rows else []
    lines += [f"not in the table: {kind}" for kind in planned.unpriced_types]
    lines += [f"no price of {key}: {why}" for key, why in sorted(result.unread.items())]
    lines += [f"billed by use, not counted: {use}" for use in planned.by_use]
    return "\n".join([*lines, f"now:     {verdict(result.now)}", f"planned: {verdict(planned)}"])


COMMANDS = (cost,)
