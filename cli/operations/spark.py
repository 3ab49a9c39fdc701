"""Spark as one user: jobs, the user's Connect server, and Python and SQL on it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.access import user_tokens
from cli.components import saved_set
from cli.project import ROOT
from cli.session import Session
from contracts.errors import LabError, UsageError
from contracts.identity import Audience
from contracts.versions import SPARK_PY4J_VERSION
from governance.query import DeniedError, QueryError, Rows
from placements.local.software import artifact_path, ensure_artifacts
from spark_gateway.client import Job, LogPart, Program, ServerConnection, SparkClient

_FOLLOW_S = 0.5
_REFUSALS = ("ForbiddenException", "NotAuthorizedException", "AccessCheckException")
"""What Iceberg's client calls a refusal, and what Nessie does, whose refusals come as server errors."""


def spark_client(session: Session, persona: str | None) -> SparkClient:
    """The Spark gateway, asked as the sample user ``persona`` or as whoever is signed in.

    Raises:
        UsageError: there is no such sample user.
        LabError: Spark is not part of what runs.
    """
    outputs = session.outputs()
    url = (outputs.component_urls or {}).get("spark")
    if url is None:
        raise LabError(
            f"Spark does not run in lab {session.lab.name!r}",
            permitted=", ".join(outputs.components),
            next_command="lab up spark" if "spark" not in saved_set(session.lab) else "lab up",
        )
    return SparkClient(url, user_tokens(session, outputs, persona, Audience.SPARK))


def spark_connection(session: Session, persona: str | None) -> ServerConnection:
    """The user's Connect server, started when there is none. Raises as :func:`spark_client`, SparkError."""
    with spark_client(session, persona) as client:
        return client.connect()


def spark_submit(
    client: SparkClient,
    file: Path,
    arguments: Sequence[str],
    *,
    python_files: Sequence[Path] = (),
    main_class: str | None = None,
) -> Job:
    """Starts a job.

    Raises:
        UsageError: a file can't be read or may not be given; SparkError.
    """
    return client.submit(
        Program(
            file_name=file.name,
            content=_content(file),
            arguments=tuple(arguments),
            python_files={path.name: _content(path) for path in python_files},
            main_class=main_class,
        )
    )


def follow(read: Callable[[int], LogPart], write: Callable[[str], object], *, wait: bool = True) -> None:
    """Writes a log from its beginning until it ends, or, without ``wait``, as far as it has come."""
    offset = 0
    while True:
        part = read(offset)
        write(part.text)
        offset = part.next_offset
        if part.ended or (not wait and not part.text):
            return
        if not part.text:
            time.sleep(_FOLLOW_S)


def spark_python(
    session: Session, connection: ServerConnection, *, interactive: bool
) -> tuple[list[str], Mapping[str, str]]:
    """The command line and environment of a Python with ``spark`` on the user's server: Spark's own shell
    on a terminal, else one that runs what it reads on standard input."""
    library = _library(session)
    environment = {
        **os.environ,
        **connection.environment(),
        "PYTHONPATH": os.pathsep.join(library),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if interactive:
        return [sys.executable], {**environment, "PYTHONSTARTUP": f"{library[0]}/pyspark/shell.py"}
    script = (
        "import sys; from pyspark.sql import SparkSession; spark = SparkSession.builder.getOrCreate(); "
        "exec(compile(sys.stdin.read(), '<stdin>', 'exec'), {'__name__': '__main__', 'spark': spark})"
    )
    return [sys.executable, "-P", "-c", script], environment


@contextlib.contextmanager
def spark_sql(session: Session, persona: str | None) -> Iterator[Callable[[str], Rows]]:
    """Runs statements on the user's own Connect server.

    Raises:
        DeniedError, QueryError: Spark or the catalog refuses the statement; also while rows are read.
        LabError: as :func:`spark_connection`.
    """
    connection = spark_connection(session, persona)
    sys.path[:0] = [path for path in _library(session) if path not in sys.path]
    with contextlib.ExitStack() as stack:
        variables = connection.environment()
        os.environ.update(variables)
        for name in variables:
            stack.callback(os.environ.pop, name, None)
        with _translated():
            from pyspark.sql.connect.session import SparkSession

            spark = SparkSession.builder.remote(connection.url).create()
        stack.callback(spark.stop)

        def run(statement: str) -> Rows:
            with _translated():
                frame = spark.sql(statement)
                fields = frame.schema.fields
            return Rows(
                columns=tuple(field.name for field in fields),
                types=tuple(field.dataType.simpleString() for field in fields),
                rows=_rows(frame),
                query_id="",
            )

        yield run


def _rows(frame: Any) -> Iterator[Sequence[Any]]:
    with _translated():
        yield from (tuple(row) for row in frame.toLocalIterator())


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Errors of Spark's client as ours."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        text = str(error).strip() or type(error).__name__
        what = text.split("\n\nJVM stacktrace:")[0].strip()
        if any(name in text for name in _REFUSALS):
            raise DeniedError(
                f"denied: {what}",
                permitted="tables whose files one of the user's groups may read, and that no rule touches",
                next_command="lab sql, where rules are applied, or ask a data steward for a grant",
            ) from error
        raise QueryError(what, name=error.getCondition(), next_command="lab spark logs") from error


def _library(session: Session) -> list[str]:
    """Spark's Python library as entries of the module path, itself first."""
    ensure_artifacts(["spark"], session.lab.cache)
    spark = artifact_path("spark", session.lab.cache, ROOT)
    return [str(spark), str(spark / "lib" / f"py4j-{SPARK_PY4J_VERSION}-src.zip")]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", value=str(path)) from error
