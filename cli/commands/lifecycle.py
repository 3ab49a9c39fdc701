"""``up``, ``seed``, ``down``, ``destroy`` and what belongs to them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, lab_command, split_names
from contracts.errors import UsageError

if TYPE_CHECKING:
    from cli.operations.lifecycle import UpResult
    from cli.operations.removal import DestroyPlan
    from cli.session import Session
    from seed.model import TableResult

_CATALOG = click.Choice(["polaris", "nessie"])
_SET = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting to keep (see Pulumi.lab.yaml).",
)


def assignments(values: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` of each ``--set``. Raises UsageError on anything else."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise UsageError("--set is KEY=VALUE", value=value, next_command="lab up --set scaleFactor=0.01")
        found[key.strip()] = text.strip()
    return found


_STATE = click.option(
    "--state",
    metavar="URL",
    help="For a new lab: where Pulumi's state lies, such as s3://BUCKET/LAB. The same as LAB_BACKEND_URL.",
)
_SECRETS = click.option(
    "--secrets",
    metavar="URL",
    help="For a new lab: the key that encrypts secrets in it, such as awskms://alias/NAME?region=REGION. The "
    "same as LAB_SECRETS_PROVIDER.",
)


_SHARES = click.option(
    "--shares",
    metavar="LAB",
    help="For a new lab: use the persistent stack of that lab, which has a slot for this one (moreLabs). The "
    "same as LAB_SHARES.",
)


def at(session: Session, state: str | None, secrets: str | None, shares: str | None = None) -> Session:
    """The session, with what its options say of the state in place of the environment's."""
    asked = {"LAB_BACKEND_URL": state, "LAB_SECRETS_PROVIDER": secrets, "LAB_SHARES": shares}
    session.environ = {**session.environ, **{name: url for name, url in asked.items() if url}}
    return session


_GUARDRAILS = click.option(
    "--guardrails",
    is_flag=True,
    help="Hold a local lab to policies/guardrails, too; elsewhere they always hold.",
)


@command("up")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--without", multiple=True, metavar="NAME", help="Leave a component out from now on.")
@click.option("--core", is_flag=True, help="Run the core alone this time; the saved set stays.")
@click.option("--catalog", type=_CATALOG, help="For a new lab: which Iceberg catalog.")
@_SET
@click.option(
    "--ttl",
    metavar="TIME",
    help="aws: how long the lab lives; then the account ends its cluster by itself: 90m, 8h, 2d.",
)
@_SHARES
@click.option("--fresh", is_flag=True, help="Refuse where the lab is there already (for pipelines).")
@_STATE
@_SECRETS
@_GUARDRAILS
def up(
    options: Options,
    components: tuple[str, ...],
    without: tuple[str, ...],
    core: bool,
    catalog: str | None,
    changes: tuple[str, ...],
    ttl: str | None,
    shares: str | None,
    fresh: bool,
    state: str | None,
    secrets: str | None,
    guardrails: bool,
) -> None:
    """Bring the lab up. What is named joins the lab's saved set; plain `lab up` runs that set."""
    from cli.operations import up as run

    session = at(options.session(), state, secrets, shares)
    session.guardrails = guardrails
    options.say(f"bringing up lab {session.lab.name!r}: software, what is kept, then the services")
    result = run(
        session,
        add=split_names(components),
        without=split_names(without),
        core=core,
        catalog=catalog,
        changes=assignments(changes),
        ttl=ttl,
        fresh=fresh,
    )
    options.show(result, lambda: up_text(result))
    steps = [
        f'{lab_command(options, "sql")} "TABLE retail.nation" --as analyst_emea',
        f"{lab_command(options, 'credentials')}   sample users and their passwords",
        f"{lab_command(options, 'status')}   {lab_command(options, 'down')}",
    ]
    options.next_steps(*(steps if "trino" in result.components else steps[1:]))


def up_text(result: UpResult) -> str:
    """URLs, sample users and where the time went."""
    from cli.drawing import human_seconds
    from cli.render import table

    seconds = sum(result.timings_s.values())
    lines = [
        f"lab {result.lab!r} is up after {human_seconds(seconds)}: {', '.join(result.components)}",
        "",
        table(("service", "address"), list(result.urls.items())),
        "",
        table(("sample user", "who"), list(result.personas.items())),
        "",
        "time: " + ", ".join(f"{name} {human_seconds(spent)}" for name, spent in result.timings_s.items()),
    ]
    if result.slowest_s:
        slowest = ", ".join(f"{name} {spent:.1f} s" for name, spent in result.slowest_s.items())
        lines.append(f"slowest: {slowest}")
    return "\n".join(lines)


@command("bootstrap")
@click.option("--catalog", type=_CATALOG, help="For a new lab: which Iceberg catalog.")
@click.option(
    "--placement",
    type=click.Choice(["local", "kubernetes", "aws"]),
    help="For a new lab: where it is. The same as --set placement=…",
)
@_SET
@_STATE
@_SECRETS
@click.option(
    "--throw-away",
    is_flag=True,
    help="aws: let this command take the protection of what is kept away (awsProtect=false). Asks for the "
    "lab's name.",
)
@click.option("--yes", is_flag=True, help="Don't ask (for scripts).")
def bootstrap(
    options: Options,
    catalog: str | None,
    placement: str | None,
    changes: tuple[str, ...],
    state: str | None,
    secrets: str | None,
    throw_away: bool,
    yes: bool,
) -> None:
    """Make or update only what is kept: databases, object store, passwords and keys."""
    from cli.operations import bootstrap as run

    session, wanted = at(options.session(), state, secrets), assignments(changes)
    if throw_away:
        options.say(
            f"without protection one command deletes the database of lab {session.lab.name!r} and of all "
            "labs that share it, its buckets with all that is in them, its key and its network; a last "
            "snapshot of the database stays"
        )
        if not yes:
            typed_confirmation(session.lab.name)
        session.throw_away = True
    options.say("making what is kept; no service of the lab stack is started")
    result = run(
        session, catalog=catalog, changes={**wanted, **({"placement": placement} if placement else {})}
    )
    options.show(result, lambda: f"persistent stack done in {result.seconds:.0f} s: {_words(result.changes)}")
    options.next_steps(lab_command(options, "up"))


def _words(changes: object) -> str:
    if not isinstance(changes, dict) or not changes:
        return "nothing to do"
    return ", ".join(f"{count} {name}" for name, count in sorted(changes.items()))


@command("preview")
@click.option("--diff", is_flag=True, help="Show every property that would change.")
@_GUARDRAILS
def preview(options: Options, diff: bool, guardrails: bool) -> None:
    """Say what `lab up` would do to the lab's stacks; nothing is changed."""
    from cli.operations import preview as run

    session = options.session()
    session.guardrails = guardrails
    result = run(session, diff=diff)

    def text() -> str:
        lab = "after the persistent stack was made" if result.lab is None else _words(dict(result.lab))
        of_owner = f"lab {session.lab.owner!r} owns it"
        kept = of_owner if result.persistent is None else _words(dict(result.persistent))
        return f"persistent: {kept}\nlab:        {lab}"

    options.show(result, text)
    options.next_steps(lab_command(options, "up"))


@command("refresh")
def refresh(options: Options) -> None:
    """Read what is really there into the state; the next `lab up` mends the difference."""
    from cli.operations import refresh as run

    result = run(options.session())
    options.show(result, lambda: "\n".join(f"{stack}: {_words(dict(c))}" for stack, c in result.items()))
    options.next_steps(lab_command(options, "preview"))


@command("seed")
@click.argument("what", nargs=-1)
@click.option("--reset", multiple=True, metavar="WHAT", help="Restore this although people changed it.")
def seed(options: Options, what: tuple[str, ...], reset: tuple[str, ...]) -> None:
    """Bring sample tables and access data to what is declared; edits are left alone.

    WHAT is all, a namespace (retail), a table (retail.orders) or access; without it, everything.
    """
    from cli.operations import seed as run
    from cli.render import table

    def progress(name: str, result: TableResult) -> None:
        options.say(f"  {name}: {result.status.value}, {result.rows} rows")

    result = run(options.session(), split_names(what), reset=split_names(reset), progress=progress)

    def text() -> str:
        lines = []
        if result.tables is not None:
            rows = [
                (name, one.status.value, str(one.rows), one.notice)
                for name, one in result.tables.tables.items()
            ]
            lines.append(table(("table", "what was done", "rows", ""), rows))
        if result.access_revision is not None:
            done = "changed" if result.access_changed else "unchanged"
            kept = f", {result.access_kept} edited items kept" if result.access_kept else ""
            lines.append(f"access data: revision {result.access_revision}, {done}{kept}")
        return "\n".join(lines)

    options.show(result, text)
    options.next_steps(lab_command(options, "fingerprint"))


@command("down")
def down(options: Options) -> None:
    """Take the lab down. Tables, users, access data and passwords stay for the next `lab up`."""
    from cli.operations import down as run

    session = options.session()
    options.say(f"taking down lab {session.lab.name!r}: its services stop, what is kept stays")
    result = run(session)

    def text() -> str:
        kept = ", ".join(result.kept)
        left = "".join(f"\nleft on the cluster: {line}" for line in result.left)
        return f"lab {result.lab!r} is down after {result.seconds:.0f} s; kept: {kept}{left}"

    options.show(result, text)
    options.next_steps(lab_command(options, "up"), f"{lab_command(options, 'destroy')}   removes it for good")


@command("rotate")
@click.argument("what", nargs=-1, required=True, metavar="people|keys...")
def rotate(options: Options, what: tuple[str, ...]) -> None:
    """Make new passwords of the sample users (people), or new secrets of the services (keys).

    The old ones are good for nothing afterwards. Sample users are signed out; services that have new
    secrets are started again. Tables, masks and your own users stay as they are.
    """
    from cli.operations import rotate as run

    kinds = split_names(what)
    session = options.session()
    options.say(f"lab {session.lab.name!r}: {' and '.join(kinds)} anew, then the services with them")
    result = run(session, kinds)
    options.show(result, lambda: rotated_text(result, kinds))
    options.next_steps(lab_command(options, "credentials" if "people" in kinds else "status"))


def rotated_text(result: UpResult, kinds: tuple[str, ...]) -> str:
    """What is new and how long it took."""
    from cli.drawing import human_seconds

    spent = human_seconds(sum(result.timings_s.values()))
    words = {"people": "the sample users have new passwords", "keys": "the services have new secrets"}
    return f"lab {result.lab!r} is up after {spent}: {' and '.join(words[kind] for kind in kinds)}"


@command("destroy")
@_SHARES
@click.option("--yes", is_flag=True, help="Don't ask (for scripts).")
def destroy(options: Options, shares: str | None, yes: bool) -> None:
    """Remove the lab for good, with everything in it. Asks for the lab's name first."""
    from cli.operations import destroy as run

    def confirm(plan: DestroyPlan) -> None:
        options.say(f"this removes lab {plan.lab!r} for good:")
        for line in plan.removes:
            options.say(f"  - {line}")
        options.say(f"it keeps: {'; '.join(plan.keeps)}")
        if not yes:
            typed_confirmation(plan.lab)

    result = run(at(options.session(), None, None, shares), confirm)

    def text() -> str:
        stays = "".join(f"\n  ./{command}" for command in result.then)
        return f"lab {result.lab!r} is gone" + (
            f"; its slot stays, until its owner takes it away:{stays}" if stays else ""
        )

    options.show(result, text)
    if not result.then:
        options.next_steps(f"{lab_command(options, 'up')}   makes a new one")


def typed_confirmation(name: str) -> None:
    """Raises UsageError unless the user types the lab's name."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to confirm", permitted="--yes, or a terminal", next_command="the same with --yes"
        )
    typed = click.prompt("type the lab's name to go on", err=True, default="", show_default=False)
    if typed != name:
        raise UsageError("that is not the lab's name; nothing was removed", value=typed, permitted=name)


COMMANDS = (up, down, seed, preview, refresh, bootstrap, rotate, destroy)
