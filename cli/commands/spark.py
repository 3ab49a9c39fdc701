"""``lab spark``: jobs, a shell and SQL on Spark, each as one user."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.commands.common import Options, command, common_options, lab_command
from contracts.errors import UsageError

if TYPE_CHECKING:
    from spark_gateway.client import Job

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_AS = click.option(
    "--as", "persona", metavar="USER", help="A sample user; default: who signed in (lab login)."
)


@click.group("spark")
@common_options
def spark() -> None:
    """Spark as one user: jobs, a shell, SQL. For users whom no row or column rule restricts."""


@command("submit", context_settings={"allow_interspersed_args": False})
@click.argument("file", type=_FILE)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_AS
@click.option("--py-files", "python_files", type=_FILE, multiple=True, help="Further Python files or zips.")
@click.option("--class", "main_class", help="Main class of a jar.")
@click.option("--detach", is_flag=True, help="Return at once; lab spark logs JOB shows its output.")
def submit(
    options: Options,
    file: Path,
    arguments: tuple[str, ...],
    persona: str | None,
    python_files: tuple[Path, ...],
    main_class: str | None,
    detach: bool,
) -> int:
    """Run a Python file or a jar as a batch job and show its output. Options come before FILE.

    Ctrl-C leaves the job running. Exit code 0 when the job succeeded.
    """
    from cli.operations import spark_client, spark_submit
    from cli.operations.spark import follow

    with spark_client(options.session(), persona) as client:
        job = spark_submit(client, file, arguments, python_files=python_files, main_class=main_class)
        options.say(f"job {job.id}")
        who = f" --as {persona}" if persona else ""
        if detach:
            options.show(job, lambda: job.id)
            options.next_steps(lab_command(options, f"spark logs {job.id}{who} --follow"))
            return 0
        write = sys.stderr.write if options.json else _to_output
        follow(lambda offset: client.job_log(job.id, offset), write)
        ended = client.job(job.id)
    if options.json:
        options.show(ended, str)
    else:
        options.say(_ending(ended))
    return 0 if ended.exit_code == 0 else 1


@command("jobs")
@_AS
def jobs(options: Options, persona: str | None) -> None:
    """List your jobs, newest first."""
    from cli.operations import spark_client
    from cli.render import table

    with spark_client(options.session(), persona) as client:
        found = client.jobs()
    rows = [
        (job.id, job.state.value, _when(job.submitted_at), _took(job), job.file_name, job.reason or "")
        for job in found
    ]
    options.show(
        found, lambda: table(("job", "state", "submitted", "took", "file", ""), rows) if rows else "no jobs"
    )


@command("logs")
@click.argument("job_id", metavar="JOB", required=False)
@_AS
@click.option("-f", "--follow", "wait", is_flag=True, help="Until the job ends.")
def logs(options: Options, job_id: str | None, persona: str | None, wait: bool) -> None:
    """Show a job's output; without JOB, the log of your Connect server."""
    from cli.operations import spark_client
    from cli.operations.spark import follow

    with spark_client(options.session(), persona) as client:
        if job_id is None:
            follow(client.server_log, _to_output, wait=wait)
        else:
            follow(lambda offset: client.job_log(job_id, offset), _to_output, wait=wait)


@command("kill")
@click.argument("job_id", metavar="JOB")
@_AS
def kill(options: Options, job_id: str, persona: str | None) -> None:
    """End a job."""
    from cli.operations import spark_client

    with spark_client(options.session(), persona) as client:
        job = client.kill(job_id)
    options.show(job, lambda: _ending(job))


@command("shell")
@_AS
def shell(options: Options, persona: str | None) -> None:
    """Open a Python shell with `spark` on your own Connect server; runs a script from standard input."""
    from cli.operations import spark_connection, spark_python

    session = options.session()
    connection = spark_connection(session, persona)
    arguments, environment = spark_python(session, connection, interactive=sys.stdin.isatty())
    options.close()
    sys.stdout.flush()
    os.execve(arguments[0], arguments, dict(environment))  # noqa: S606 - no shell is wanted


@command("sql")
@click.argument("statement")
@_AS
@click.option("--csv", "as_csv", is_flag=True, help="RFC 4180; NULL is empty, an empty string is quoted.")
def sql(options: Options, statement: str, persona: str | None, as_csv: bool) -> None:
    """Run Spark SQL on your own Connect server. --json gives one object a row."""
    from cli.operations import spark_sql
    from cli.render import write_csv, write_json_lines, write_table

    if as_csv and options.json:
        raise UsageError("--csv and --json exclude each other", permitted="one of them")
    write = write_json_lines if options.json else write_csv if as_csv else write_table
    with spark_sql(options.session(), persona) as run:
        result = run(statement)
        if not result.columns:
            sum(1 for _ in result.rows)
            options.say("(done)")
            return
        count = write(result.columns, result.rows, sys.stdout.write)
        sys.stdout.flush()
        options.say(f"({count} row{'' if count == 1 else 's'})")


@command("env")
@_AS
def env(options: Options, persona: str | None) -> None:
    """Print what a Connect client of your own needs: eval "$(./lab spark env)". Holds a secret."""
    from cli.operations import spark_connection

    values = spark_connection(options.session(), persona).environment()
    options.show(
        values, lambda: "\n".join(f"export {key}={shlex.quote(value)}" for key, value in values.items())
    )


@command("status")
@_AS
def status(options: Options, persona: str | None) -> None:
    """Say whether your Connect server runs, and when it will be stopped for idleness."""
    from cli.operations import spark_client

    with spark_client(options.session(), persona) as client:
        server = client.server()

    def text() -> str:
        if server is None:
            return "no server; the next shell or statement starts one"
        left = max(0.0, server.idle_limit_s - server.idle_s)
        return (
            f"server of {server.username}: {server.state.value} since {_when(server.started_at)}, Spark "
            f"{server.spark_version}; silent for {server.idle_s:.0f} s, stopped after {left:.0f} s more"
        )

    options.show(server, text)


@command("stop")
@_AS
def stop(options: Options, persona: str | None) -> None:
    """Stop your Connect server."""
    from cli.operations import spark_client

    with spark_client(options.session(), persona) as client:
        there = client.stop_server()
    options.show({"stopped": there}, lambda: "stopped" if there else "no server ran")


def _to_output(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _ending(job: Job) -> str:
    return f"job {job.id} {job.state.value}{f': {job.reason}' if job.reason else ''} ({_took(job)})"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _took(job: Any) -> str:
    return "" if job.ended_at is None else f"{job.ended_at - job.submitted_at:.1f} s"


for _command in (submit, jobs, logs, kill, shell, sql, env, status, stop):
    spark.add_command(_command)

COMMANDS = (spark,)
