"""``status``, ``components``, ``logs``, ``credentials``, ``doctor``, ``verify``, ``fingerprint``, ``env``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, for_lab, lab_command, split_names

if TYPE_CHECKING:
    from cli.conformance import Verification
    from cli.operations.inspect import Status


@command("status")
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
def status(options: Options, watch: bool) -> None:
    """Show every service: state, since when, restarts, memory, and why it is not ready."""
    from cli.operations import status as run

    session = options.session()
    if watch:
        with suppress(KeyboardInterrupt):  # how watching ends
            _watch(options)
        return
    result = run(session)
    options.show(result, lambda: status_text(result, time.time()))
    if not result.up:
        options.next_steps(lab_command(options, "up"))
    elif not result.ready:
        options.next_steps(lab_command(options, "doctor --fix"))


def _watch(options: Options) -> None:
    from cli.operations import status as run
    from cli.render import to_plain

    session, before = options.session(), None
    while True:
        result = run(session, ask_governor=before is None)
        shown = {one.name: (one.state, one.restarts) for one in result.services}
        if options.json:
            if shown != before:
                import json

                print(json.dumps(to_plain(result)), flush=True)
        elif sys.stdout.isatty():
            print(f"\x1b[H\x1b[2J{status_text(result, time.time())}\n\nCtrl-C ends", flush=True)
        elif shown != before:
            print(status_text(result, time.time()), flush=True)
        before = shown
        time.sleep(1.0)


def status_text(result: Status, now: float) -> str:
    """A line on the lab, a table of services, a line on access data."""
    from cli.render import ago, table

    state = "ready" if result.ready else "up, not all ready" if result.up else "down"
    lines = [f"lab {result.lab!r}: {state}; catalog {result.catalog}; {result.memory_mib} MiB; {result.home}"]
    if result.shares:
        lines.append(f"in a slot of the persistent stack of lab {result.shares!r}")
    if result.services:
        rows = [
            (
                one.name,
                one.state,
                str(one.pid or "-"),
                ago(now - one.since) if one.since else "-",
                str(one.restarts),
                "-" if one.memory_mib is None else str(one.memory_mib),
                ",".join(str(port) for port in one.ports.values()),
                one.reason or "",
            )
            for one in result.services
        ]
        lines += ["", table(("service", "state", "pid", "since", "restarts", "MiB", "ports", ""), rows)]
    if result.revision is not None:
        age = "" if result.bundle_age_s is None else f", signed {ago(result.bundle_age_s)} ago"
        lines += ["", f"access data: revision {result.revision}{age}"]
    if not result.supervised and result.services:
        lines += ["", "the supervisor does not run: nothing restarts what dies"]
    lines += [f"note: {note}" for note in result.notes]
    others = [name for name in result.labs if name != result.lab]
    if others:
        lines += ["", f"other labs: {', '.join(others)}"]
    return "\n".join(lines)


@command("components")
def components(options: Options) -> None:
    """List all components: what they need, whether they are in the saved set, whether they run."""
    from cli.operations import components as run
    from cli.render import table

    result = run(options.session())

    def text() -> str:
        rows = [
            (
                one.name,
                "core" if one.core else "saved" if one.saved else "",
                one.state,
                f"{one.memory_mib}",
                ",".join(one.placements),
                one.title,
            )
            for one in result
        ]
        return table(("component", "", "state", "MiB", "placements", "what it is"), rows)

    options.show(result, text)
    options.next_steps(f"{lab_command(options, 'up NAME')}   {lab_command(options, 'up --without NAME')}")


@command("logs")
@click.argument("service", required=False)
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(min=0))
@click.option("-f", "--follow", is_flag=True, help="Go on with each new line until Ctrl-C.")
def logs(options: Options, service: str | None, lines: int, follow: bool) -> None:
    """Show a service's log; without a name, list the logs there are."""
    from cli.operations import logs as run
    from cli.operations.inspect import log_files

    session = options.session()
    if service is None:
        session.lab.require()
        files: Mapping[str, str] = {name: str(path) for name, path in log_files(session.lab).items()}
        options.show(files, lambda: "\n".join(f"{name:32} {path}" for name, path in files.items()))
        options.next_steps(lab_command(options, "logs SERVICE -f"))
        return
    with suppress(KeyboardInterrupt) if follow else nullcontext():
        for line in run(session, service, lines=lines, follow=follow):
            if options.json:
                import json

                print(json.dumps({"service": service, "line": line}, ensure_ascii=False), flush=True)
            else:
                print(line, flush=follow)


@command("credentials")
@click.option("--all", "all_keys", is_flag=True, help="Also keys of the object store, clients, databases.")
def credentials(options: Options, all_keys: bool) -> None:
    """Show the sample users with their passwords, and where to sign in."""
    from cli.operations import credentials as run
    from cli.render import table

    result = run(options.session(), all_keys=all_keys)

    def text() -> str:
        rows = [(p.username, p.password, ",".join(p.groups) or "-", p.description) for p in result.personas]
        parts = [table(("sample user", "password", "groups", "who"), rows)]
        if result.urls:
            parts.append(table(("service", "address"), list(result.urls.items())))
        if result.keys:
            parts.append(table(("identity", "value"), list(result.keys.items())))
        return "\n\n".join(parts)

    options.show(result, text)
    options.next_steps(f'{lab_command(options, "sql")} "SHOW TABLES FROM retail" --as engineer')


@command("doctor")
@click.option("--fix", is_flag=True, help="Mend what can be mended safely.")
def doctor(options: Options, fix: bool) -> int:
    """Look at everything the lab rests on and say what is wrong and what helps."""
    from cli.operations import doctor as run
    from cli.render import table

    result = run(options.session(), fix=fix)

    def text() -> str:
        rows = [
            (one.verdict.value, one.subject, one.detail, for_lab(options, one.remedy))
            for one in result.findings
        ]
        return table(("", "what", "finding", "remedy"), rows)

    options.show(result, text)
    options.next_steps(lab_command(options, "status" if result.healthy else "doctor --fix"))
    return 0 if result.healthy else 1


@command("verify")
@click.option("--persona", multiple=True, metavar="NAME", help="Only these sample users.")
@click.option("--table", "tables", multiple=True, metavar="NS.TABLE", help="Only these tables.")
@click.option(
    "--engine", "engines", multiple=True, metavar="NAME", help="Only trino, pyiceberg, s3 or spark."
)
def verify(
    options: Options, persona: tuple[str, ...], tables: tuple[str, ...], engines: tuple[str, ...]
) -> int:
    """Check that each sample user gets of each table exactly what they should, by every engine.

    Trino applies rules: rows, masks, denied columns and metadata tables are checked. The others read files:
    pyiceberg by the catalog, s3 with every key that the catalog hands out, Spark where the lab has it.
    """
    from cli.operations import verify as run

    options.say("asking as each sample user for each table, by each engine; nothing is changed")
    result = run(
        options.session(),
        personas=split_names(persona),
        tables=split_names(tables),
        engines=split_names(engines),
    )
    matrices = {engine.value: result.matrix(engine) for engine in result.engines}
    options.show(
        {"passed": result.passed, "matrix": matrices, "checks": result.checks},
        lambda: matrix_text(result),
    )
    options.next_steps(lab_command(options, "status" if result.passed else "logs trino"))
    return 0 if result.passed else 1


def matrix_text(result: Verification) -> str:
    """For each engine tables down, sample users across: rows seen or denied; ``!`` marks a difference, listed
    below."""
    from cli.conformance import CHECKED
    from cli.render import table

    personas = list(dict.fromkeys(check.persona for check in result.checks))
    lines = []
    for engine in result.engines:
        matrix = result.matrix(engine)
        rows = [(name, *(cells.get(persona, "") for persona in personas)) for name, cells in matrix.items()]
        lines += [f"{engine.value}: {CHECKED[engine]}", table(("table", *personas), rows), ""]
    for check in result.differences:
        what = f"{check.engine.value}: {check.persona} on {check.table} {check.subject}"
        lines.append(f"! {what}: expected {check.expected}, found {check.found}")
    lines.append(
        f"{len(result.checks)} checks, {len(result.differences)} differences"
        if result.differences
        else f"{len(result.checks)} checks, all as expected"
    )
    return "\n".join(lines)


@command("fingerprint")
def fingerprint(options: Options) -> None:
    """Show what makes this lab the same lab: snapshots, people, access data, versions."""
    from cli.operations import fingerprint as run
    from cli.render import table

    result = run(options.session())

    def text() -> str:
        rows = [
            (name, str(one.snapshot_id), "-" if one.rows is None else str(one.rows), str(one.snapshots))
            for name, one in result.tables.items()
        ]
        counts = ", ".join(f"{count} {name}" for name, count in result.realm_counts.items())
        return "\n".join(
            [
                table(("table", "snapshot", "rows", "snapshots"), rows),
                "",
                f"realm:       {result.realm[:16]} ({counts})",
                f"access data: {result.access_digest[:16]} (revision {result.access_revision})",
                f"versions:    {', '.join(f'{n} {v}' for n, v in result.versions.items())}",
                f"lab:         {result.digest}",
            ]
        )

    options.show(result, text)


@command("env")
def env(options: Options) -> None:
    """Print what to source for using Pulumi by hand: eval "$(./lab env)"; pulumi preview -s lab"""
    from cli.operations import env as run

    result = run(options.session())
    options.show(
        {"lab": result.lab, "project_dir": result.project_dir, "variables": result.variables},
        lambda: "\n".join(result.lines),
    )


COMMANDS = (status, components, logs, credentials, doctor, verify, fingerprint, env)
