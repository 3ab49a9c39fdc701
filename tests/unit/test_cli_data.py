"""Query results in three formats, statements and errors of Trino, tokens, the conformance matrix."""

from __future__ import annotations

import base64
import contextlib
import csv
import datetime as dt
import io
import json
import stat
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trino.exceptions import TrinoUserError

from cli.conformance import Expectations, TableExpectation, check_all, look_of, quoted, read_expectations
from cli.render import NULL, csv_field, write_csv, write_json_lines, write_table
from cli.tokens import (
    Endpoint,
    PersonaTokens,
    ProviderAwayError,
    SignInError,
    Tokens,
    UserTokens,
    load_tokens,
    pkce,
    require_persona,
    save_tokens,
    sign_in_by_browser,
    sign_in_by_device,
    sign_out,
)
from contracts.errors import LabError, UsageError
from contracts.identity import Audience
from governance.query import DeniedError, QueryError, Rows, query_error, split_statements

# --- results ---------------------------------------------------------------------------------------


def render(write: Any, columns: list[str], rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    assert write(columns, rows, buffer.write) == len(rows)
    return buffer.getvalue()


def test_null_is_told_from_empty_in_every_format() -> None:
    rows: list[list[Any]] = [[None, ""], ["NULL", "a"]]
    assert render(write_table, ["x", "y"], rows).splitlines()[2:] == [f"{NULL} |", "NULL   | a"]
    assert render(write_csv, ["x", "y"], rows) == 'x,y\r\n,""\r\nNULL,a\r\n'
    lines = [json.loads(line) for line in render(write_json_lines, ["x", "y"], rows).splitlines()]
    assert lines == [{"x": None, "y": ""}, {"x": "NULL", "y": "a"}]


@given(st.lists(st.lists(st.text(min_size=1), min_size=2, max_size=2), max_size=5))
def test_csv_reads_back(rows: list[list[str]]) -> None:
    text = render(write_csv, ["a", "b"], [list(row) for row in rows])
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == rows


def test_values_keep_their_digits() -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    row = [Decimal("1.10"), 2**60, moment, [1, None], b"\x00\xff"]
    (line,) = render(write_json_lines, list("abcde"), [row]).splitlines()
    expected = {"a": "1.10", "b": 2**60, "c": "2026-01-02T03:04:05+00:00", "d": [1, None], "e": "00ff"}
    assert json.loads(line) == expected
    assert csv_field([1, None]) == '"[1, null]"'


def test_data_can_not_drive_the_terminal() -> None:
    text = render(write_table, ["x"], [["\x1b[2J\nrow"]])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_rows_are_not_held_back() -> None:
    """The first rows are written before the last are made."""
    made: list[int] = []

    def rows() -> Iterator[list[int]]:
        for number in range(5000):
            made.append(number)
            yield [number]

    seen_at: list[int] = []
    write_table(["n"], rows(), lambda _: seen_at.append(len(made)))
    assert seen_at[0] < 1000


# --- statements and errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\n", ["SELECT 1"]),
        ("SELECT ';' ; SELECT 2;", ["SELECT ';'", "SELECT 2"]),
        ('SELECT 1 -- a; b\n; SELECT "a;b"', ["SELECT 1 -- a; b", 'SELECT "a;b"']),
        ("SELECT 'it''s;'; ;SELECT 2", ["SELECT 'it''s;'", "SELECT 2"]),
    ],
)
def test_statements_are_split_outside_of_text(text: str, expected: list[str]) -> None:
    assert split_statements(text) == expected


@pytest.mark.parametrize("text", ["", " ;; ", "\n"])
def test_no_statement_is_usage(text: str) -> None:
    with pytest.raises(UsageError, match="no SQL statement"):
        split_statements(text)


def trino_error(name: str, message: str, **extra: Any) -> QueryError:
    return query_error(TrinoUserError({"errorName": name, "message": message, **extra}, "20261121_1"))


def test_errors_have_their_position() -> None:
    location = {"failureInfo": {"errorLocation": {"lineNumber": 2, "columnNumber": 7}}}
    error = trino_error("SYNTAX_ERROR", "line 2:7: mismatched input", **location)
    assert (error.name, error.line, error.column, error.query_id) == ("SYNTAX_ERROR", 2, 7, "20261121_1")
    assert error.as_dict()["column"] == 7
    assert not isinstance(error, DeniedError)


def test_a_denial_is_told_apart() -> None:
    error = trino_error("PERMISSION_DENIED", "Access Denied: Cannot select from table x")
    assert isinstance(error, DeniedError)
    assert error.what == "denied: Cannot select from table x"
    assert error.exit_code == 1


# --- tokens -----------------------------------------------------------------------------------------


def token(username: str = "engineer") -> str:
    part = base64.urlsafe_b64encode(json.dumps({"preferred_username": username}).encode()).rstrip(b"=")
    return f"x.{part.decode()}.y"


class Provider:
    """A token endpoint that keeps the forms it was sent; answers in turn, the last again and again."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.forms: list[dict[str, str]] = []
        self.urls: list[str] = []
        self.authorizations: list[str | None] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        self.forms.append(dict(urllib.parse.parse_qsl(request.content.decode())))
        self.authorizations.append(request.headers.get("authorization"))
        status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return httpx.Response(status, json=body)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(issuer_url="http://127.0.0.1:1/realms/lab", transport=httpx.MockTransport(self))


GOOD = (200, {"access_token": token(), "refresh_token": "r2", "expires_in": 300})


def test_sample_users_sign_in_by_password_and_only_when_needed() -> None:
    provider = Provider(GOOD)
    tokens = PersonaTokens(
        provider.endpoint, username="hr", password="p", client_secret="s", audience=Audience.TRINO
    )
    assert tokens() == tokens() == token()
    assert len(provider.forms) == 1
    assert provider.forms[0]["scope"] == "openid trino"
    assert provider.forms[0]["grant_type"] == "password"
    basic = base64.b64encode(b"personas:s").decode()
    assert provider.authorizations == [f"Basic {basic}"]
    assert "p" not in urllib.parse.urlsplit(provider.urls[0]).query


def test_an_expiring_token_is_renewed() -> None:
    provider = Provider((200, {"access_token": token(), "expires_in": 1}))
    tokens = PersonaTokens(
        provider.endpoint, username="hr", password="p", client_secret="s", audience=Audience.TRINO
    )
    tokens()
    tokens()
    assert len(provider.forms) == 2


def test_a_refusal_has_the_providers_words() -> None:
    provider = Provider((401, {"error": "invalid_grant", "error_description": "Invalid user credentials"}))
    with pytest.raises(SignInError, match="Invalid user credentials"):
        provider.endpoint.token({})


def test_a_silent_provider_is_said() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    endpoint = Endpoint(issuer_url="http://127.0.0.1:1", transport=httpx.MockTransport(fail))
    with pytest.raises(SignInError, match="does not answer"):
        endpoint.token({})


@pytest.mark.parametrize("kept", [False, True])
def test_a_provider_that_fails_is_not_told_as_a_refusal(tmp_path: Path, kept: bool) -> None:
    away = (500, {"error": "unknown_error", "error_description": "For more on this error consult the log."})
    path = tmp_path / "session.json"
    save_tokens(path, Tokens(access_token="old", refresh_token="r1", expires_at_s=0))
    endpoint = Provider(away).endpoint
    with pytest.raises(ProviderAwayError, match="can't answer now: For more") as caught:
        UserTokens(endpoint, path, Audience.TRINO)() if kept else endpoint.token({})
    assert caught.value.next_command == "lab doctor"
    assert "HTTP 500" in str(caught.value.value)


def test_a_kept_sign_in_is_refreshed_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "session.json"
    save_tokens(path, Tokens(access_token="old", refresh_token="r1", expires_at_s=0))
    provider = Provider(GOOD)
    tokens = UserTokens(provider.endpoint, path, Audience.CATALOG)
    assert tokens() == token()
    assert provider.forms[0]["refresh_token"] == "r1"
    assert provider.forms[0]["scope"] == "openid catalog"
    kept = load_tokens(path)
    assert kept is not None
    assert kept.refresh_token == "r2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "r2" not in repr(kept)


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"access_token": 1}'])
def test_no_sign_in_says_how_to(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "session.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SignInError, match="nobody is signed in"):
        UserTokens(Provider(GOOD).endpoint, path, Audience.TRINO)()


def test_signing_out_ends_the_session_at_the_provider() -> None:
    provider = Provider((204, {}))
    sign_out(provider.endpoint, Tokens(access_token="a", refresh_token="r1", expires_at_s=0))
    sign_out(provider.endpoint, Tokens(access_token="a", refresh_token=None, expires_at_s=0))
    assert provider.forms == [{"client_id": "cli", "refresh_token": "r1"}]
    assert provider.urls[0].endswith("/protocol/openid-connect/logout")


def test_unknown_sample_users_are_suggested() -> None:
    assert require_persona("lab", "hr") == "hr"
    with pytest.raises(UsageError, match="did you mean 'analyst_emea'"):
        require_persona("lab", "analyst_ema")


def test_device_sign_in_waits_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    device = {"device_code": "d", "user_code": "ABCD", "verification_uri": "http://x/device", "interval": 1}
    provider = Provider(
        (200, device), (400, {"error": "authorization_pending"}), (400, {"error": "slow_down"}), GOOD
    )
    said: list[str] = []
    assert sign_in_by_device(provider.endpoint, said.append).username() == "engineer"
    assert "ABCD" in said[0]
    assert provider.forms[0]["code_challenge_method"] == "S256"
    assert provider.forms[1]["code_verifier"]
    refused = Provider((200, device), (400, {"error": "access_denied"}))
    with pytest.raises(SignInError, match="access_denied"):
        sign_in_by_device(refused.endpoint, said.append)


def test_browser_sign_in_takes_only_its_own_answer() -> None:
    provider = Provider(GOOD)
    pages: list[str] = []

    def browse(address: str) -> bool:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
        back = query["redirect_uri"]

        def visit() -> None:
            for parameters in ({"state": "guessed", "code": "evil"}, {"state": query["state"], "code": "c1"}):
                url = f"{back}?{urllib.parse.urlencode(parameters)}"
                with (
                    contextlib.suppress(urllib.error.HTTPError),
                    urllib.request.urlopen(url, timeout=10) as answer,  # noqa: S310 - our own loopback
                ):
                    pages.append(answer.read().decode())

        threading.Thread(target=visit, daemon=True).start()
        return True

    tokens = sign_in_by_browser(provider.endpoint, pages.append, browse, timeout_s=20)
    assert tokens.username() == "engineer"
    assert provider.forms[0]["code"] == "c1"
    assert provider.forms[0]["redirect_uri"].startswith("http://127.0.0.1:")
    assert provider.forms[0]["code_verifier"]


def test_nobody_signing_in_ends_the_wait() -> None:
    with pytest.raises(SignInError, match="in time"):
        sign_in_by_browser(Provider(GOOD).endpoint, lambda _: None, lambda _: True, timeout_s=0.1)


def test_pkce_challenge_is_of_the_verifier() -> None:
    import hashlib

    verifier, challenge = pkce()
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert challenge == digest
    assert 43 <= len(verifier) <= 128


# --- conformance ------------------------------------------------------------------------------------


def test_expectations_are_readable_and_complete() -> None:
    found = read_expectations()
    assert {table.table for table in found.tables} >= {"retail.customer", "hr.employees", "web.events"}
    for table in found.tables:
        assert table.rows["outsider"] == "denied", table.table
        assert table.rows[table.reference] == "all", table.table


def test_expectations_agree_with_the_seeded_tables() -> None:
    from seed.catalogue import seed_tables_for
    from seed.model import SeedOptions

    columns = {table.name: set(table.columns) for table in seed_tables_for(SeedOptions())}
    found = read_expectations()
    assert {table.table for table in found.tables} == set(columns)
    for table in found.tables:
        assert set(table.columns) <= columns[table.table], table.table
    assert {name.partition("$")[0] for name in found.metadata} <= set(columns)


MASKS = read_expectations().masks


@pytest.mark.parametrize(
    ("values", "expected", "found"),
    [
        (["***@x.example", None], "email_domain", "email_domain"),
        (["***@x.example", "real@x.example"], "email_domain", "plain"),
        (["***1234"], "last_4", "last_4"),
        (["25-989-741-2988"], "last_4", "plain"),
        (["a" * 64], "sha256", "sha256"),
        ([None, None], "null", "null"),
        ([None, None], "plain", "null"),
        ([Decimal("1.00")], "null", "plain"),
        ([1, 2, 3], "plain", "plain"),
        ([-(2**62), 5], "hashed_key", "hashed_key"),
        ([1, 2, 3], "hashed_key", "plain"),
    ],
)
def test_looks_of_columns(values: list[Any], expected: str, found: str) -> None:
    assert look_of(values, expected, MASKS) == found


class FakeTrino:
    """Answers counts and columns of one table by persona."""

    def __init__(self, persona: str, phone: str = "***1234") -> None:
        self.persona, self.phone = persona, phone

    def run(self, statement: str) -> Rows:
        if self.persona == "outsider":
            raise DeniedError("denied: no")
        if "$files" in statement and self.persona != "engineer":
            raise DeniedError("denied: no")
        if "broken" in statement:
            raise QueryError("GENERIC_INTERNAL_ERROR: broken", name="GENERIC_INTERNAL_ERROR")
        if "count(*)" in statement:
            value: Any = 3 if "nation = 1" in statement or self.persona == "analyst_emea" else 10
        else:
            value = "25-989-741-2988" if self.persona == "engineer" else self.phone
        return Rows(columns=("x",), types=("varchar",), rows=iter([[value]]), query_id="q")


def expectations() -> Expectations:
    personas = ("admin", "engineer", "steward", "analyst_emea", "analyst_amer", "hr", "auditor", "outsider")
    rows = dict.fromkeys(personas, "all") | {"analyst_emea": "emea", "outsider": "denied"}
    phone = dict.fromkeys(personas, "last_4") | {"engineer": "plain"}
    table = TableExpectation(
        table="retail.customer",
        reference="engineer",
        rows=rows,
        predicates={"emea": "nation = 1"},
        columns={"c_phone": phone},
    )
    files = dict.fromkeys(personas, "denied") | {"engineer": "allowed"}
    return Expectations(tables=(table,), metadata={"retail.customer$files": files}, masks=MASKS)


def test_a_conforming_lab_passes() -> None:
    found = check_all(expectations(), lambda who: contextlib.nullcontext(FakeTrino(who)))
    assert found.passed
    row = found.matrix()["retail.customer"]
    assert row["engineer"] == "10"
    assert row["analyst_emea"] == "3"
    assert row["outsider"] == "denied"


def test_an_unmasked_column_is_a_difference() -> None:
    def connect(who: str) -> Any:
        return contextlib.nullcontext(FakeTrino(who, phone="25-989-741-2988"))

    found = check_all(expectations(), connect, personas=["auditor", "engineer"])
    (difference,) = found.differences
    assert (difference.persona, difference.subject) == ("auditor", "c_phone")
    assert (difference.expected, difference.found) == ("last_4", "plain")
    assert found.matrix()["retail.customer"] == {"auditor": "10!", "engineer": "10"}


def test_a_leak_to_an_outsider_is_a_difference() -> None:
    def connect(who: str) -> Any:
        return contextlib.nullcontext(FakeTrino("engineer" if who == "outsider" else who))

    found = check_all(expectations(), connect, personas=["outsider"])
    assert {check.subject for check in found.differences} == {"rows", "retail.customer$files"}


def test_unknown_names_are_usage() -> None:
    connect = lambda who: contextlib.nullcontext(FakeTrino(who))  # noqa: E731 - one line is enough
    with pytest.raises(UsageError, match="did you mean 'auditor'"):
        check_all(expectations(), connect, personas=["auditr"])
    with pytest.raises(UsageError, match="no table named"):
        check_all(expectations(), connect, tables=["retail.custome"])


def test_an_engine_failure_is_not_a_denial() -> None:
    from cli.conformance import _attempt

    def broken() -> str:
        raise LabError("Trino does not answer")

    assert _attempt(broken) == "error: Trino does not answer"


def test_names_are_quoted() -> None:
    assert quoted("retail.customer$files") == '"retail"."customer$files"'
