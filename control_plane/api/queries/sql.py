"""Statements as text: where they begin and end, what they do, how they are laid out.

sqlglot is imported by those that need it: it takes its time and 20 MiB.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from contracts.errors import UsageError
from control_plane.api.schemas.queries import SqlCheck, StatementInfo, SyntaxProblem
from governance.parameters import names

if TYPE_CHECKING:
    from sqlglot import exp

DIALECT = "trino"
_READING_COMMANDS = ("show", "explain", "describe", "desc")
# It logs what it can't parse; the answer says so.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def check(text: str) -> SqlCheck:
    """The statements of a text. A problem is a hint: sqlglot does not know all that Trino does."""
    import sqlglot
    from sqlglot.errors import ParseError, TokenError

    try:
        tokens = sqlglot.tokenize(text, read=DIALECT)
    except TokenError as error:
        return SqlCheck(statements=[], problems=[_unreadable(text, error)])
    statements: list[StatementInfo] = []
    problems: list[SyntaxProblem] = []
    for start, end in _ranges(tokens):
        statement = text[start:end]
        kind, reads_only = "unknown", False
        try:
            parsed = sqlglot.parse_one(statement, read=DIALECT)
            kind, reads_only = _kind(parsed), _reads_only(parsed)
        except ParseError as error:
            problems += [_problem(text, start, e) for e in error.errors]
        statements.append(
            StatementInfo(
                start=_utf16(text[:start]),
                end=_utf16(text[:end]),
                kind=kind,
                reads_only=reads_only,
                parameters=names(statement),
            )
        )
    return SqlCheck(statements=statements, problems=problems)


def spans(text: str) -> list[tuple[int, int]]:
    """Where the statements of a text begin and end, in characters. Raises UsageError."""
    import sqlglot
    from sqlglot.errors import TokenError

    try:
        return _ranges(sqlglot.tokenize(text, read=DIALECT))
    except TokenError as error:
        raise UsageError("the text can't be read as SQL", value=str(error).splitlines()[0]) from error


def laid_out(text: str) -> str:
    """The text with its statements laid out.

    Raises:
        UsageError: it can't be read, or would not mean the same afterwards.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    try:
        before = [e for e in sqlglot.parse(text, read=DIALECT) if e is not None]
        if any(isinstance(e, exp.Command) for e in before):
            raise UsageError("this kind of statement can't be laid out", permitted="queries, DML and DDL")
        pretty = ";\n\n".join(e.sql(dialect=DIALECT, pretty=True) for e in before)
        after = [e for e in sqlglot.parse(pretty, read=DIALECT) if e is not None]
    except (ParseError, TokenError) as error:
        raise UsageError("the text can't be read as SQL", value=str(error).splitlines()[0]) from error
    if before != after:
        raise UsageError("the text can't be laid out without changing what it means")
    return pretty + (";" if text.rstrip().endswith(";") else "") + "\n"


def _ranges(tokens: list[Any]) -> list[tuple[int, int]]:
    """Where statements begin and end, semicolons not counted."""
    from sqlglot.tokenizer_core import TokenType

    found: list[tuple[int, int]] = []
    current: list[Any] = []
    for token in [*tokens, None]:
        if token is None or token.token_type == TokenType.SEMICOLON:
            if current:
                found.append((current[0].start, current[-1].end + 1))
            current = []
        else:
            current.append(token)
    return found


def _kind(parsed: exp.Expr) -> str:
    from sqlglot import exp

    if isinstance(parsed, exp.Command):
        return str(parsed.this).lower()
    if isinstance(parsed, exp.Query):
        return "select"
    return parsed.key


def _reads_only(parsed: exp.Expr) -> bool:
    from sqlglot import exp

    if isinstance(parsed, exp.Command):
        command = str(parsed.this).lower()
        rest = str(parsed.args.get("expression") or "").lower()
        return command in _READING_COMMANDS and "analyze" not in rest
    return isinstance(parsed, exp.Query | exp.Describe | exp.Show)


def _problem(text: str, start: int, error: dict[str, Any]) -> SyntaxProblem:
    before = text[:start]
    line, column = int(error.get("line") or 1), int(error.get("col") or 1)
    first = before.count("\n")
    shift = len(before) - (before.rfind("\n") + 1) if line == 1 else 0
    message = str(error.get("description") or "this can't be read")
    return SyntaxProblem(message=message, line=line + first, column=column + shift)


def _unreadable(text: str, error: Exception) -> SyntaxProblem:
    message = str(error).splitlines()[0] if str(error) else "this can't be read"
    lines = text.split("\n")
    return SyntaxProblem(message=message, line=len(lines), column=len(lines[-1]) + 1)


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
