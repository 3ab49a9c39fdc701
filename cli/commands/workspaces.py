"""``workspace``: a namespace, a group and a quota for a team."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.commands.common import Options, command, common_options, lab_command
from contracts.errors import UsageError

if TYPE_CHECKING:
    from governance.workspaces.model import Workspace, WorkspaceMember, WorkspaceRemoval

_AS = click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in.")
_MIB = 1024 * 1024


def _quota_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a workspace may take; lab admins set it."""
    for option in (
        click.option(
            "--storage-mib", type=click.IntRange(1, 2**40), help="Live data beyond it is warned of."
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1, 1000),
            help="So many ingests and runs of its members' jobs at once.",
        ),
        click.option("--queries", type=click.IntRange(1, 1000), help="So many queries at once."),
    ):
        function = option(function)
    return function


@click.group("workspace")
@common_options
def workspace() -> None:
    """Workspaces: a namespace, a group and a quota for a team, made and removed as one."""


@command("list")
@_AS
def list_all(options: Options, persona: str | None) -> None:
    """Show the workspaces that you are in; auditors, stewards and lab admins see all."""
    from cli.operations import workspaces as run
    from cli.render import table

    found = run(options.session(), persona=persona)
    headers = ("workspace", "you are", "state", "owners", "tables", "MiB", "description")

    def text() -> str:
        if not found:
            return "you are in no workspace"
        return table(headers, [_row(one) for one in found])

    options.show(found, text)
    if not found:
        options.next_steps(lab_command(options, "workspace create NAME"))


def _row(one: Workspace) -> tuple[str, ...]:
    return (
        one.name,
        one.role.value,
        one.state.value,
        ",".join(one.owners),
        str(one.usage.tables),
        f"{one.usage.size_bytes / _MIB:,.0f}",
        one.description,
    )


@command("show")
@click.argument("space", metavar="NAME")
@_AS
def show(options: Options, space: str, persona: str | None) -> None:
    """Show a workspace: its parts, its quota, and what it takes of it."""
    from cli.operations import workspace as run

    found = run(options.session(), space, persona=persona)
    options.show(found, lambda: workspace_text(found))
    options.next_steps(lab_command(options, f"workspace members {space}"))


def workspace_text(one: Workspace) -> str:
    """What a workspace is, and whatever is to be said of it."""
    from cli.render import table

    facts = [
        ("description", one.description or "-"),
        ("state", one.state.value),
        ("you are", one.role.value),
        ("owners", ", ".join(one.owners)),
        ("namespace", one.namespace),
        ("group", one.group),
        ("files", one.location or "-"),
        ("at once", f"{one.quota.queries} queries, {one.quota.jobs} jobs"),
        ("live data", f"{one.usage.size_bytes / _MIB:,.0f} of {one.quota.storage_mib:,} MiB"),
        ("tables", str(one.usage.tables)),
        ("made", f"{one.created_at:%Y-%m-%d %H:%M:%S} by {one.created_by}"),
    ]
    lines = [f"warning: {warning}" for warning in one.warnings]
    if one.error is not None:
        lines.append(f"it waits: {one.error}")
    return "\n".join([table(("workspace", one.name), facts), *lines])


@command("create")
@click.argument("space", metavar="NAME")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("--owner", "owners", multiple=True, metavar="USER", help="Who owns it; default: you.")
@_quota_options
@_AS
def create(
    options: Options,
    space: str,
    description: str,
    owners: tuple[str, ...],
    persona: str | None,
    **quota: int | None,
) -> None:
    """Make a workspace NAME: 2 to 40 lower-case letters, digits and underscores."""
    from cli.operations import create_workspace as run
    from cli.operations.spaces import QuotaChange

    made = run(
        options.session(),
        space,
        description=description,
        owners=owners,
        quota=QuotaChange(**quota),
        persona=persona,
    )
    options.show(made, lambda: workspace_text(made))
    options.next_steps(
        lab_command(options, f"workspace add {space} USER"),
        lab_command(options, f"load FILE --table {space}.TABLE"),
    )


@command("change")
@click.argument("space", metavar="NAME")
@click.option("--description", metavar="TEXT", help="What it is for.")
@_quota_options
@_AS
def change(
    options: Options, space: str, description: str | None, persona: str | None, **quota: int | None
) -> None:
    """Change the description of a workspace, or its quota."""
    from cli.operations import change_workspace as run
    from cli.operations.spaces import QuotaChange

    changed = run(
        options.session(), space, description=description, quota=QuotaChange(**quota), persona=persona
    )
    options.show(changed, lambda: workspace_text(changed))


@command("members")
@click.argument("space", metavar="NAME")
@_AS
def members(options: Options, space: str, persona: str | None) -> None:
    """Show who is in a workspace."""
    from cli.operations import workspace_members as run

    _show_members(options, run(options.session(), space, persona=persona))


@command("add")
@click.argument("space", metavar="NAME")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@click.option("--owner/--no-owner", default=False, help="They own it, too; default: members.")
@_AS
def add(options: Options, space: str, users: tuple[str, ...], owner: bool, persona: str | None) -> None:
    """Put users into a workspace. It is in their next token: five minutes later at most."""
    from cli.operations import put_workspace_members as run

    _show_members(options, run(options.session(), space, users, owner=owner, persona=persona))


@command("take")
@click.argument("space", metavar="NAME")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@_AS
def take(options: Options, space: str, users: tuple[str, ...], persona: str | None) -> None:
    """Take users out of a workspace. Everybody may leave by themselves."""
    from cli.operations import take_workspace_members as run

    _show_members(options, run(options.session(), space, users, persona=persona))


def _show_members(options: Options, found: Sequence[WorkspaceMember]) -> None:
    from cli.render import table

    rows = [(one.username, "owner" if one.owner else "member") for one in found]
    options.show(found, lambda: table(("user", "is"), rows))


@command("remove")
@click.argument("space", metavar="NAME")
@click.option("--tables", is_flag=True, help="Its tables with their rows go, too.")
@click.option("--dry-run", "only_try", is_flag=True, help="Say what would go; remove nothing.")
@click.option("--yes", is_flag=True, help="Don't ask (for scripts).")
@_AS
def remove(
    options: Options, space: str, tables: bool, only_try: bool, yes: bool, persona: str | None
) -> None:
    """Remove a workspace: its grants, its namespace and its group. Asks before tables go."""
    from cli.operations import remove_workspace as run

    def confirm(plan: WorkspaceRemoval) -> None:
        if plan.tables and not yes:
            options.say(removal_text(plan))
            typed_name(plan.name)

    result = run(options.session(), space, confirm, tables=tables, only_try=only_try, persona=persona)
    options.show(result, lambda: removal_text(result, going_on=not only_try))
    if not result.done and not only_try:
        options.next_steps(lab_command(options, f"workspace show {space}"))


def removal_text(plan: WorkspaceRemoval, *, going_on: bool = False) -> str:
    """What goes, or went; ``going_on``: it was begun."""
    if plan.done:
        head = f"workspace {plan.name!r} is gone, and with it:"
    elif plan.refused is not None:
        head = f"workspace {plan.name!r} can't be removed so: {plan.refused}"
    elif going_on:
        head = f"workspace {plan.name!r} is being removed, which goes on by itself:"
    else:
        head = f"this removes workspace {plan.name!r}:"
    lines = [f"  - namespace {plan.namespace}", f"  - group {plan.group}"]
    lines += [f"  - {one}" for one in plan.access]
    lines += [f"  - table {one} with its rows" for one in plan.tables]
    if plan.members:
        lines.append(f"  members: {', '.join(plan.members)}")
    return "\n".join([head, *lines])


def typed_name(name: str) -> None:
    """Raises UsageError unless the user types the workspace's name."""
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm; nothing was removed", permitted="--yes, or a terminal")
    typed = click.prompt("type the workspace's name to go on", err=True, default="", show_default=False)
    if typed != name:
        raise UsageError("that is not its name; nothing was removed", value=typed, permitted=name)


for _command in (list_all, show, create, change, members, add, take, remove):
    workspace.add_command(_command)

COMMANDS = (workspace,)
