"""One ingest or look into a file, in a process of its own: ``python -m ingestion.worker``.

What a server must not hold — gigabytes while they are parsed, the libraries that parse them — goes with the
process. It speaks JSON, a document a line. The first line of its input says what to do. It then writes
``{"need": "token"}`` whenever the catalog asks for one, answered by ``{"token": …}`` on its input,
``{"progress": …}``, and at last ``{"done": …}`` or ``{"failed": …}``. SIGTERM ends it with nothing committed
and no file left behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO, Any

import pyarrow as pa
from pyiceberg.exceptions import RESTError
from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
from requests import RequestException

from contracts.errors import LabError, UsageError
from ingestion import ingest
from ingestion.catalog import open_catalog
from ingestion.conversion import shown
from ingestion.loading import Format, Inspection, LoadOptions, LoadProgress, Mode, normalised
from ingestion.words import CANCELED_STATUS

PREVIEW_ROWS = 100
_CELL_LIMIT = 500
_PROGRESS_EVERY_S = 0.5


class Conversation:
    """The lines between this process and its parent."""

    def __init__(self, given: IO[str], told: IO[str]) -> None:
        self._given, self._told = given, told
        self._said_at = 0.0

    def read(self) -> dict[str, Any]:
        """The next line. Raises LabError when the parent is gone."""
        line = self._given.readline()
        if not line:
            raise LabError("the service that asked for the ingest went away")
        document: dict[str, Any] = json.loads(line)
        return document

    def tell(self, document: Mapping[str, Any]) -> None:
        """Writes one line."""
        self._told.write(json.dumps(document, ensure_ascii=True) + "\n")
        self._told.flush()

    def token(self) -> str:
        """A current token of the user's."""
        self.tell({"need": "token"})
        answer = self.read()
        if "token" not in answer:
            raise LabError(str(answer.get("refused") or "no token is to be had"))
        return str(answer["token"])

    def progress(self, now: LoadProgress) -> None:
        """Tells how far it is, now and then."""
        if time.monotonic() - self._said_at >= _PROGRESS_EVERY_S:
            self._said_at = time.monotonic()
            self.tell(
                {
                    "progress": {
                        "rows": now.rows,
                        "bytes_read": now.bytes_read,
                        "bytes_total": now.bytes_total,
                    }
                }
            )


class KeptToken:
    """A token, asked for anew when it has been used for a while."""

    def __init__(self, ask: Callable[[], str], life_s: float = 60.0) -> None:
        self._ask, self._life_s = ask, life_s
        self._token, self._until_s = "", 0.0

    def __call__(self) -> str:
        if time.monotonic() >= self._until_s:
            self._token = self._ask()
            self._until_s = time.monotonic() + self._life_s
        return self._token


def preview(path: Path, options: LoadOptions) -> dict[str, Any]:
    """Format, columns and first rows (as text) of a file."""
    seen = ingest.inspect([path], options)
    return {
        "format": seen.files[0].format.value,
        "sampled_rows": seen.sampled_rows,
        "columns": [
            {
                "name": column.name,
                "source": column.source,
                "type": _iceberg(column.type),
                "note": column.note,
            }
            for column in seen.columns
        ],
        "rows": _first_rows(seen, options),
    }


def load(request: Mapping[str, Any], talk: Conversation) -> dict[str, Any]:
    """Brings the file into the table."""
    options = options_of(request["options"])
    path = Path(request["path"])
    seen = ingest.inspect([path], options)
    place = request["catalog"]
    catalog = open_catalog(place["uri"], place["warehouse"], KeptToken(talk.token))
    result = ingest.load(
        [path],
        request["table"],
        catalog=catalog,
        mode=Mode(request["mode"]),
        options=options,
        progress=talk.progress,
        inspection=seen,
    )
    return {
        "rows": result.rows,
        "snapshot_id": None if result.snapshot_id is None else str(result.snapshot_id),
        "files": result.files,
        "size_bytes": result.bytes,
        "renamed": dict(result.renamed),
        "widened": list(result.widened),
    }


def options_of(document: Mapping[str, Any]) -> LoadOptions:
    """Options as the request has them. ``source_types`` are the source's own names and types of all columns,
    in order; what is asked for goes before them."""
    chosen = document.get("format")
    source = document.get("source_types") or []
    told = dict(zip(normalised(name for name, _ in source), (kind for _, kind in source), strict=True))
    return LoadOptions(
        file_format=None if chosen is None else Format(chosen),
        delimiter=document.get("delimiter"),
        header=bool(document.get("header", True)),
        types={**told, **(document.get("types") or {})},
        all_text=bool(document.get("all_text", False)),
        null_values=tuple(document.get("null_values") or ()),
    )


def _first_rows(seen: Inspection, options: LoadOptions) -> list[list[str | None]]:
    rows: list[list[str | None]] = []
    for parsed, _ in ingest.parsed_rows(seen.files[0], seen, seen.schema, options):
        table = parsed.table.slice(0, PREVIEW_ROWS - len(rows))
        columns = [table.column(name) for name in seen.schema.names]
        for index in range(table.num_rows):
            rows.append([_cell(column[index]) for column in columns])
        if len(rows) >= PREVIEW_ROWS:
            break
    return rows


def _iceberg(kind: pa.DataType) -> str:
    schema = _pyarrow_to_schema_without_ids(pa.schema([("column", kind)]))
    return str(schema.fields[0].field_type)


def _cell(value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    text = shown(value)
    return text if len(text) <= _CELL_LIMIT else text[:_CELL_LIMIT] + "…"


def _failed(error: LabError, path: str, name: str) -> dict[str, Any]:
    """An error as the parent passes it on: people know the file by its own name."""

    def said(text: str | None) -> str | None:
        return None if text is None else text.replace(path, name).replace(Path(path).name, name)

    facts = error.as_dict()
    return {
        "title": said(error.what),
        "value": said(facts["value"]),
        "permitted": said(facts["permitted"]),
        "usage": isinstance(error, UsageError),
    }


def _work(request: Mapping[str, Any], talk: Conversation) -> dict[str, Any]:
    if request["do"] == "preview":
        return preview(Path(request["path"]), options_of(request["options"]))
    try:
        return load(request, talk)
    except RESTError as error:
        raise LabError(
            f"the catalog refused: {error}",
            value=request["table"],
            permitted="a workspace that you are a member of, and a table that no rule hides anything of",
        ) from error
    except RequestException as error:
        raise LabError(f"the catalog went away: {error}", permitted="nothing was committed") from error


def _canceled(_signal: int, _frame: FrameType | None) -> None:
    # What cleans up does so for KeyboardInterrupt as for any other end.
    raise KeyboardInterrupt


def main() -> int:
    """Does what the first line of the input says."""
    signal.signal(signal.SIGTERM, _canceled)
    # Whatever libraries print goes to the log, not between the lines.
    told = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    talk = Conversation(sys.stdin, told)
    request = talk.read()
    try:
        talk.tell({"done": _work(request, talk)})
    except LabError as error:
        talk.tell({"failed": _failed(error, request["path"], request["name"])})
    except KeyboardInterrupt:
        return CANCELED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
