"""``access``: who may do what, and how that came to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.commands.common import Options, command, common_options, lab_command, split_names
from contracts.errors import UsageError

if TYPE_CHECKING:
    from cli.operations.access import Edit
    from governance.client import AccessRevision
    from governance.reports import ChangeResult


def edit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all edits take."""
    for option in (
        click.option("--dry-run", "only_try", is_flag=True, help="Say what would change; change nothing."),
        click.option("--widen", is_flag=True, help="Do it although rules then show somebody more."),
        click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in."),
        click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the history."),
    ):
        function = option(function)
    return function


def _edit(given: dict[str, Any]) -> Edit:
    from cli.operations.access import Edit

    return Edit(**given)


def _show_change(options: Options, result: ChangeResult) -> None:
    options.show(result, lambda: change_text(result))
    options.next_steps(
        lab_command(options, "policy explain --as USER TABLE"),
        lab_command(options, f"access rollback {result.revision - 1} --reason TEXT")
        if result.changed
        else lab_command(options, "access history"),
    )


def change_text(result: ChangeResult) -> str:
    """What was done, item by item."""
    lines = [f"  {one.verb} {one.section.removesuffix('s')} {one.name}" for one in result.changes]
    lines += [f"  widens: {one}" for one in result.widenings]
    lines += [f"  warning: {one}" for one in result.warnings]
    if result.tried_only:
        return "\n".join(["nothing was changed; it would be:", *(lines or ["  no difference"])])
    if not result.changed:
        return f"nothing to change; revision {result.revision} has it"
    where = "published" if result.published else "not published yet (lab status)"
    return "\n".join([f"revision {result.revision}, {where}", *lines])


@click.group("access")
@common_options
def access() -> None:
    """Tags, grants, rules and exceptions: who may do what. Each change has a reason and can be undone."""


@command("show")
@click.argument("revision", type=int, required=False)
@click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in.")
def show(options: Options, revision: int | None, persona: str | None) -> None:
    """Show the living access data, or that of a revision."""
    from cli.operations.access import show_access

    result = show_access(options.session(), persona=persona, revision=revision)
    options.show(result, lambda: access_text(result))


def access_text(result: AccessRevision) -> str:
    """Tables of grants, tags, rules and exceptions."""
    from cli.render import table

    document = result.document
    grants = [(g["object"], g["group"], ",".join(g["privileges"])) for g in document["grants"]]
    rules = [
        (
            r["id"],
            r["kind"],
            r.get("tag") or r.get("object", ""),
            r.get("mask") or r.get("expression", ""),
            ",".join(r.get("exempt", ())),
        )
        for r in document["rules"]
    ]
    parts = [
        f"revision {result.revision} by {result.author}: {result.reason}",
        table(("granted on", "to", "privileges"), sorted(grants)),
        table(("object", "tag"), [(t["object"], t["tag"]) for t in document["tags"]]),
        table(("rule", "kind", "about", "does", "not for"), rules),
    ]
    exceptions = [
        (
            e["id"],
            e["user"],
            e["object"],
            ",".join(e.get("privileges", ())),
            ",".join(e.get("lifts", ())),
            e["expires_at"],
            e["reason"],
        )
        for e in document.get("exceptions", ())
    ]
    if exceptions:
        parts.append(table(("exception", "user", "on", "gives", "lifts", "until", "reason"), exceptions))
    return "\n\n".join(parts)


@command("tag")
@click.argument("target", metavar="OBJECT")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@edit_options
def tag(options: Options, target: str, tags: tuple[str, ...], **given: Any) -> None:
    """Put tags on OBJECT: NS.TABLE.COLUMN, NS.TABLE, 'NS.*' or '*' for the whole catalog."""
    from cli.operations.access import tag as run

    _show_change(options, run(options.session(), _edit(given), target, split_names(tags)))


@command("grant")
@click.argument("privileges", metavar="PRIVILEGES")
@click.argument("target", metavar="OBJECT")
@click.option("--to", "groups", required=True, multiple=True, metavar="GROUP", help="Which group.")
@edit_options
def grant(options: Options, privileges: str, target: str, groups: tuple[str, ...], **given: Any) -> None:
    """Grant PRIVILEGES (select,insert … or read, write, all) on OBJECT (NS.TABLE or 'NS.*')."""
    from cli.operations.access import grant as run

    held = split_names((privileges,))
    _show_change(options, run(options.session(), _edit(given), target, held, split_names(groups)))


@command("rule")
@click.argument("rule_id", metavar="ID")
@click.option("--tag", "tag_name", metavar="TAG", help="The rule is about what carries this tag,")
@click.option("--on", "target", metavar="OBJECT", help="or about this table or column.")
@click.option("--mask", metavar="KIND", help="Mask columns: email_domain, last_4, hash, null.")
@click.option("--deny", is_flag=True, help="Deny columns.")
@click.option("--filter", "expression", metavar="SQL", help="Let only these rows through.")
@click.option("--exempt", multiple=True, metavar="GROUP", help="It does not hold for members of GROUP.")
@click.option(
    "--values", multiple=True, metavar="GROUP=V,V", help="What {values} in the filter is for a group."
)
@click.option("--as-filter-user", is_flag=True, help="The filter reads other tables past their rules.")
@click.option(
    "--accept-leak", is_flag=True, help="The filter reads other tables; a reader may get around it."
)
@click.option("--description", default="", help="What it is for.")
@edit_options
def rule(options: Options, rule_id: str, **given: Any) -> None:
    """Make the rule ID, or replace it: a mask, a denied column or a row filter."""
    from cli.operations.access import rule as run

    parts = ("tag_name", "target", "mask", "deny", "expression", "exempt", "values")
    names = (*parts, "as_filter_user", "accept_leak", "description")
    document = rule_document(rule_id, **{key: given.pop(key) for key in names})
    _show_change(options, run(options.session(), _edit(given), document))


def rule_document(
    rule_id: str,
    *,
    tag_name: str | None,
    target: str | None,
    mask: str | None,
    deny: bool,
    expression: str | None,
    exempt: tuple[str, ...],
    values: tuple[str, ...],
    as_filter_user: bool,
    accept_leak: bool,
    description: str,
) -> dict[str, Any]:
    """The options as one rule of ``policies/data/rules.yaml``. Raises UsageError."""
    given = [word for word, there in (("--mask", mask), ("--deny", deny), ("--filter", expression)) if there]
    if len(given) != 1:
        raise UsageError(
            "a rule does one thing", value=" ".join(given) or None, permitted="--mask, --deny or --filter"
        )
    kind = {"--mask": "column_mask", "--deny": "column_deny", "--filter": "row_filter"}[given[0]]
    found: dict[str, Any] = {"id": rule_id, "kind": kind, "exempt": list(split_names(exempt))}
    optional = {"tag": tag_name, "object": target, "mask": mask, "expression": expression}
    found |= {key: value for key, value in optional.items() if value is not None}
    if values:
        found["values"] = dict(_share(one) for one in values)
    if as_filter_user:
        found["as_filter_user"] = True
    if accept_leak:
        found["accept_leak"] = True
    if description:
        found["description"] = description
    return found


def _share(text: str) -> tuple[str, list[int | str]]:
    group, equals, listed = text.partition("=")
    values = [one.strip() for one in listed.split(",") if one.strip()]
    if not equals or not group or not values:
        raise UsageError("--values is GROUP=VALUE,VALUE", value=text, permitted="analysts_emea=EMEA,APAC")
    whole = all(one.removeprefix("-").isdecimal() for one in values)
    return group.strip(), [int(one) if whole else one for one in values]


@command("break-glass")
@click.argument("target", metavar="OBJECT")
@click.option("--user", required=True, help="For whom.")
@click.option("--for", "duration", required=True, metavar="TIME", help="How long: 30m, 1h.")
@click.option("--privileges", default="", help="What it gives: select,update …; default: nothing.")
@click.option("--lift", "lifts", multiple=True, metavar="RULE", help="A rule that does not hold meanwhile.")
@click.option("--lift-all", is_flag=True, help="No rule holds meanwhile.")
@edit_options
def break_glass(
    options: Options,
    target: str,
    user: str,
    duration: str,
    privileges: str,
    lifts: tuple[str, ...],
    lift_all: bool,
    **given: Any,
) -> None:
    """Let one user past grants or rules on OBJECT for a while. It ends by itself."""
    from cli.operations.access import break_glass as run
    from cli.operations.access import every_rule

    result = run(
        options.session(),
        _edit(given),
        target,
        user=user,
        duration=duration,
        privileges=split_names((privileges,)),
        lifts=every_rule(split_names(lifts), lift_all),
    )
    _show_change(options, result)


@click.group("revoke")
@common_options
def revoke() -> None:
    """Take back a grant, a tag, a rule or an exception."""


@command("grant")
@click.argument("target", metavar="OBJECT")
@click.argument("privileges", required=False, default="")
@click.option("--from", "groups", required=True, multiple=True, metavar="GROUP", help="Which group.")
@edit_options
def revoke_grant(
    options: Options, target: str, privileges: str, groups: tuple[str, ...], **given: Any
) -> None:
    """Take PRIVILEGES on OBJECT from a group; all it holds there when none is named."""
    from cli.operations.access import revoke_grant as run

    held = split_names((privileges,))
    _show_change(options, run(options.session(), _edit(given), target, held, split_names(groups)))


@command("tag")
@click.argument("target", metavar="OBJECT")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@edit_options
def revoke_tag(options: Options, target: str, tags: tuple[str, ...], **given: Any) -> None:
    """Take tags off OBJECT."""
    from cli.operations.access import revoke_tag as run

    _show_change(options, run(options.session(), _edit(given), target, split_names(tags)))


@command("rule")
@click.argument("rule_id", metavar="ID")
@edit_options
def revoke_rule(options: Options, rule_id: str, **given: Any) -> None:
    """Remove the rule ID."""
    from cli.operations.access import revoke_rule as run

    _show_change(options, run(options.session(), _edit(given), rule_id))


@command("break-glass")
@click.argument("exception", metavar="ID")
@edit_options
def revoke_exception(options: Options, exception: str, **given: Any) -> None:
    """End the exception ID now."""
    from cli.operations.access import revoke_exception as run

    _show_change(options, run(options.session(), _edit(given), exception))


for _command in (revoke_grant, revoke_tag, revoke_rule, revoke_exception):
    revoke.add_command(_command)


@command("history")
@click.argument("revision", type=int, required=False)
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in.")
def history(options: Options, revision: int | None, limit: int, persona: str | None) -> None:
    """Show who changed access data, when and why; with REVISION, what it changed."""
    from cli.operations.access import history as run
    from cli.operations.access import revision_detail
    from cli.render import table

    if revision is not None:
        one = revision_detail(options.session(), revision, persona=persona)
        head = f"revision {one.revision}, {one.created_at:%Y-%m-%d %H:%M:%S} by {one.author}: {one.reason}"
        lines = [f"  {c.verb} {c.section.removesuffix('s')} {c.name}" for c in one.changes]
        options.show(one, lambda: "\n".join([head, *(lines or ["  no difference"])]))
        return
    found = run(options.session(), persona=persona, limit=limit)
    rows = [
        (str(one.revision), f"{one.created_at:%Y-%m-%d %H:%M:%S}", one.author, one.reason) for one in found
    ]
    options.show(found, lambda: table(("revision", "when", "who", "why"), rows))
    options.next_steps(lab_command(options, "access history REVISION"))


@command("rollback")
@click.argument("revision", type=int)
@edit_options
def rollback(options: Options, revision: int, **given: Any) -> None:
    """Make the access data what it was at REVISION, as a new revision. Ended exceptions stay ended."""
    from cli.operations.access import rollback as run

    if given["only_try"]:
        raise UsageError(
            "a rollback is compared beforehand, not tried",
            permitted="no --dry-run here",
            next_command=f"lab policy diff living..{revision}",
        )
    result = run(options.session(), _edit(given), revision)
    options.show(result, lambda: f"revision {result.revision}: {result.reason}")
    options.next_steps(lab_command(options, "access history"))


for _command in (show, tag, grant, rule, break_glass, revoke, history, rollback):
    access.add_command(_command)

COMMANDS = (access,)
