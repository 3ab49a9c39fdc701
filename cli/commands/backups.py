"""``backup`` and ``restore``: the databases of a lab whose data services run inside its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, lab_command
from cli.commands.lifecycle import typed_confirmation

if TYPE_CHECKING:
    from cli.operations.backups import BackupRow


@command("backup")
@click.option("--list", "listed", is_flag=True, help="Show the backups there are; make none.")
def backup(options: Options, listed: bool) -> None:
    """Back the lab's databases up now (kubernetes, dataServices=inside), beside what its schedule does."""
    from cli.drawing import human_bytes
    from cli.operations.backups import backup as run
    from cli.operations.backups import list_backups

    session = options.session()
    if listed:
        found = list_backups(session)
        options.show(found, lambda: backups_text(found))
        options.next_steps(f"{lab_command(options, 'restore')} --at NAME, while the lab is down")
        return
    result = run(session)

    def text() -> str:
        gone = f"; gone for it: {', '.join(result.removed)}" if result.removed else ""
        size = human_bytes(result.backup.archive_bytes)
        return f"backup {result.backup.name}, {size}, after {result.seconds:.0f} s{gone}"

    options.show(result, text)
    options.next_steps(lab_command(options, "backup --list"))


def backups_text(found: Sequence[BackupRow]) -> str:
    """One line a backup."""
    from cli.drawing import human_bytes
    from cli.render import table

    if not found:
        return "there is no backup yet"
    rows = [(one.name, human_bytes(one.archive_bytes), human_bytes(one.data_bytes)) for one in found]
    return table(("backup (UTC)", "packed", "unpacked"), rows)


@command("restore")
@click.option("--at", metavar="NAME", help="A name of `lab backup --list`; default: the newest.")
@click.option("--yes", is_flag=True, help="Don't ask (for scripts).")
def restore(options: Options, at: str | None, yes: bool) -> None:
    """Put a backup in the place of the lab's databases; the lab has to be down."""
    from cli.operations.backups import restore as run

    session = options.session()

    def confirm(chosen: BackupRow) -> None:
        options.say(
            f"databases of lab {session.lab.name!r} become those of {chosen.name} (UTC): tables, users, "
            "policies and jobs as they were; what was done since is only in the server's folder 'before', "
            "until the next restore"
        )
        if not yes:
            typed_confirmation(session.lab.name)

    result = run(session, at=at, confirm=confirm)
    options.show(
        result,
        lambda: (
            f"restored {result.backup.name} after {result.seconds:.0f} s; {result.databases} databases answer"
        ),
    )
    options.next_steps(lab_command(options, "up"))


COMMANDS = (backup, restore)
