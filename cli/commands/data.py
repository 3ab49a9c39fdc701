"""``sql``, ``load``, ``login`` and ``logout``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, lab_command
from contracts.errors import UsageError
from contracts.identity import Audience

if TYPE_CHECKING:
    from ingestion.loading import Inspection, LoadProgress

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FORMAT = click.Choice(["parquet", "csv", "tsv", "jsonl"])


@command("sql")
@click.argument("statement", required=False)
@click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in (lab login).")
@click.option("-f", "--file", "source", type=_FILE, help="Read the SQL from this file.")
@click.option("--csv", "as_csv", is_flag=True, help="RFC 4180; NULL is empty, an empty string is quoted.")
@click.option("--workspace", metavar="NAME", help="Whose tables need no namespace, and whose quota counts.")
def sql(
    options: Options,
    statement: str | None,
    persona: str | None,
    source: Path | None,
    as_csv: bool,
    workspace: str | None,
) -> None:
    """Run SQL on Trino with a user's own rights. STATEMENT - reads standard input.

    --json gives one object a row. Large results are streamed.
    """
    from cli.operations import sql as connect
    from cli.render import write_csv, write_json_lines, write_table
    from governance.query import split_statements

    if as_csv and options.json:
        raise UsageError("--csv and --json exclude each other", permitted="one of them")
    write = write_json_lines if options.json else write_csv if as_csv else write_table
    statements = split_statements(_sql_text(statement, source))
    with connect(options.session(), persona=persona, workspace=workspace) as connection:
        for one in statements:
            result = connection.run(one)
            if result.columns:
                count = write(result.columns, result.rows, sys.stdout.write)
                sys.stdout.flush()
                options.say(f"({count} row{'' if count == 1 else 's'})")
            else:
                # Statements without a result are finished once there are no more rows.
                sum(1 for _ in result.rows)
                options.say("(done)")


def _sql_text(statement: str | None, source: Path | None) -> str:
    if (statement is None) == (source is None):
        raise UsageError(
            "give one SQL statement, - or --file",
            next_command="lab sql 'SELECT * FROM retail.nation' --as engineer",
        )
    if source is not None:
        return source.read_text(encoding="utf-8")
    return sys.stdin.read() if statement == "-" else str(statement)


@command("load")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--table", "table_name", required=True, metavar="NS.TABLE", help="For example raw.orders.")
@click.option("--append", is_flag=True, help="Add to a table that exists.")
@click.option("--replace", is_flag=True, help="Put these rows in the place of all others.")
@click.option("--reject", type=click.Path(dir_okay=False, path_type=Path), help="Keep bad rows here.")
@click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in (lab login).")
@click.option("--format", "file_format", type=_FORMAT, help="Default: recognised.")
@click.option("--delimiter", help="Of CSV; default: recognised.")
@click.option("--no-header", is_flag=True, help="The first record is data.")
@click.option("--type", "types", multiple=True, metavar="COLUMN=TYPE", help="Instead of the inferred type.")
@click.option("--all-text", is_flag=True, help="Infer nothing: every column is a string.")
@click.option("--null", "nulls", multiple=True, metavar="TEXT", help="What else stands for NULL.")
@click.option("--yes", is_flag=True, help="Don't ask after showing the schema.")
def load(
    options: Options,
    files: tuple[Path, ...],
    table_name: str,
    append: bool,
    replace: bool,
    reject: Path | None,
    persona: str | None,
    file_format: str | None,
    delimiter: str | None,
    no_header: bool,
    types: tuple[str, ...],
    all_text: bool,
    nulls: tuple[str, ...],
    yes: bool,
) -> None:
    """Load Parquet, CSV, TSV or JSON lines (also .gz, .zst) into a table, all rows or none."""
    from cli.operations import load as run
    from cli.operations.data import require_table_name
    from ingestion.loading import Format, LoadOptions, Mode

    if append and replace:
        raise UsageError("--append and --replace exclude each other", permitted="one of them, or neither")
    mode = Mode.APPEND if append else Mode.REPLACE if replace else Mode.CREATE
    load_options = LoadOptions(
        file_format=Format(file_format) if file_format else None,
        delimiter=delimiter,
        header=not no_header,
        types=_types(types),
        all_text=all_text,
        null_values=nulls,
    )

    def approve(inspection: Inspection) -> None:
        options.say(schema_text(inspection, table_name, mode.value))
        if not yes:
            _ask(f"load into {table_name}?")

    loaded = run(
        options.session(),
        files,
        require_table_name(table_name),
        mode=mode,
        options=load_options,
        reject=reject,
        persona=persona,
        approve=approve,
        progress=_LoadLine(options),
    )
    result = loaded.result

    def text() -> str:
        done = f"{result.rows} rows in {result.table}, snapshot {result.snapshot_id}"
        lines = [f"{done}, {result.seconds:.1f} s"]
        if result.rejected:
            lines.append(f"{result.rejected} bad rows kept in {reject}")
        if result.widened:
            lines.append(f"columns whose type grew: {', '.join(result.widened)}")
        if loaded.group:
            lines.append(f"the table belongs to {loaded.group} until it is granted to others")
        if loaded.note:
            lines.append(f"note: {loaded.note}")
        return "\n".join(lines)

    options.show({**result.as_dict(), "owner": loaded.group, "note": loaded.note}, text)
    who = f" --as {persona}" if persona else ""
    options.next_steps(f'{lab_command(options, "sql")} "TABLE {table_name}"{who}')


class _LoadLine:
    """Says how far a load is, not more often than every few seconds."""

    def __init__(self, options: Options) -> None:
        import time

        self._options, self._clock = options, time.monotonic
        self._last = self._clock()

    def __call__(self, progress: LoadProgress) -> None:
        from cli.drawing import human_bytes

        if self._clock() - self._last < 5:
            return
        self._last = self._clock()
        share = f"{human_bytes(progress.bytes_read)} of {human_bytes(progress.bytes_total)}"
        self._options.say(f"  {progress.rows} rows, {share}, {progress.rejected} bad")


def schema_text(inspection: Inspection, table_name: str, mode: str) -> str:
    """The columns as they will be, before anything is written."""
    from cli.render import table

    names = ", ".join(f"{one.path.name} ({one.format.value})" for one in inspection.files)
    rows = [
        (column.name, str(column.type), column.source if column.source != column.name else "", column.note)
        for column in inspection.columns
    ]
    return "\n".join(
        [
            f"{mode} {table_name} from {names}; types from {inspection.sampled_rows} rows",
            table(("column", "type", "named in the file", ""), rows),
        ]
    )


def _types(values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for value in values:
        column, equals, kind = value.partition("=")
        if not equals or not column or not kind:
            raise UsageError("--type is COLUMN=TYPE", value=value, permitted="amount='decimal(12,2)'")
        found[column] = kind
    return found


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask", permitted="--yes, or a terminal")
    if not click.confirm(question, err=True):
        raise UsageError("not loaded; nothing was changed")


@command("login")
@click.option("--device", is_flag=True, help="Show a code to enter in a browser on any machine.")
def login(options: Options, device: bool) -> None:
    """Sign in as yourself, in a browser. Sample users can sign in too (lab credentials)."""
    from cli.operations import login as run

    result = run(options.session(), device=device)
    options.show(result, lambda: f"signed in as {result.username}")
    options.next_steps(f'{lab_command(options, "sql")} "SHOW TABLES FROM retail"')


@command("logout")
def logout(options: Options) -> None:
    """Forget who is signed in."""
    from cli.operations import logout as run

    there = run(options.session())
    options.show({"signed_out": there}, lambda: "signed out" if there else "nobody was signed in")


@command("token")
@click.argument("audience", type=click.Choice([audience.value for audience in Audience]))
@click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in (lab login).")
def token(options: Options, audience: str, persona: str | None) -> None:
    """Print an access token for one service, to call its API with. It lasts a few minutes."""
    from cli.operations import token as ask

    found = ask(options.session(), Audience(audience), persona=persona)
    options.show({"access_token": found, "audience": audience}, lambda: found)


COMMANDS = (sql, load, login, logout, token)
