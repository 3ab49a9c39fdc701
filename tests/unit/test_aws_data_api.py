"""Databases through the RDS Data API, without a database: what is sent, what is refused, how it waits."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from contracts.errors import LabError
from placements.aws.foundation.data_api import Aurora, converge, identifier, missing, verifier
from placements.aws.foundation.databases import AuroraDatabasesProvider
from tests.moto_aws.data_api import client_error

CLUSTER = "arn:aws:rds:eu-central-1:123456789012:cluster:lakehouse-lab"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!cluster-1-abcdef"
PASSWORD = "correct-horse-battery"


class Scripted:
    """A client that answers from a list; an exception in it is raised."""

    def __init__(self, *answers: Mapping[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    def execute_statement(self, **arguments: Any) -> Mapping[str, Any]:
        self.sent.append(arguments)
        answer = self.answers.pop(0) if self.answers else {"records": []}
        if isinstance(answer, Exception):
            raise answer
        return answer


def aurora(client: Any, waited: list[float] | None = None) -> Aurora:
    """Its clock advances by what is waited."""
    pauses = waited if waited is not None else []
    return Aurora(
        client, resource_arn=CLUSTER, secret_arn=SECRET, pause=pauses.append, clock=lambda: sum(pauses)
    )


def test_the_verifier_is_the_one_of_the_rfc() -> None:
    """RFC 7677's example, as PostgreSQL keeps it."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    assert verifier("pencil", salt=salt) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert verifier("pencil") != verifier("pencil"), "salted anew each time"


@given(st.text(max_size=80))
def test_a_name_is_quoted_or_refused(name: str) -> None:
    plain = set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") and 1 <= len(name) <= 63
    if plain and not name[0].isdigit():
        assert identifier(name) == f'"{name}"'
    else:
        with pytest.raises(LabError, match="permitted"):
            identifier(name)


@pytest.mark.parametrize(
    ("databases", "passwords"),
    [
        ({'x"; DROP DATABASE postgres; --': "x"}, {"x": PASSWORD}),
        ({"x": "x' OR 1=1"}, {"x' OR 1=1": PASSWORD}),
        ({"x": "x"}, {"x": "short"}),
        ({"x": "x"}, {"x": "has a blank in its middle"}),
        ({"x": "x"}, {"x": "pässwörd-with-umlauts"}),
    ],
)
def test_nothing_is_sent_when_a_name_or_a_password_is_not_usable(
    databases: dict[str, str], passwords: dict[str, str]
) -> None:
    client = Scripted()
    with pytest.raises(LabError) as refused:
        converge(aurora(client), databases, passwords)
    assert not client.sent
    assert not [p for p in passwords.values() if p in str(refused.value)]


def test_passwords_are_never_sent() -> None:
    client = Scripted()
    converge(aurora(client), {"lab_catalog": "lab_catalog"}, {"lab_catalog": PASSWORD})
    assert PASSWORD not in str(client.sent)
    sqls = [sent["sql"] for sent in client.sent]
    assert any(sql.startswith('ALTER ROLE "lab_catalog" LOGIN PASSWORD \'SCRAM-SHA-256$') for sql in sqls)
    for sent in client.sent:
        assert (sent["resourceArn"], sent["secretArn"], sent["database"]) == (CLUSTER, SECRET, "postgres")


def test_what_is_there_is_not_made_again() -> None:
    there = {"records": [[{"longValue": 1}]]}
    nothing: Mapping[str, Any] = {"records": []}
    client = Scripted(nothing, there, nothing, nothing, there)
    converge(aurora(client), {"lab_catalog": "lab_catalog"}, {"lab_catalog": PASSWORD})
    assert not [sent["sql"] for sent in client.sent if sent["sql"].startswith("CREATE")]


def test_a_paused_database_is_waited_for() -> None:
    resuming = client_error("DatabaseResumingException", "resuming")
    waited: list[float] = []
    client = Scripted(resuming, resuming, {"records": [[{"stringValue": "a"}, {"isNull": True}]]})
    assert aurora(client, waited).rows("SELECT 1") == [["a", None]]
    assert len(waited) == 2


def test_a_database_that_never_comes_is_given_up() -> None:
    class Asleep:
        def execute_statement(self, **arguments: Any) -> Mapping[str, Any]:
            raise client_error("DatabaseResumingException", "resuming")

    waited: list[float] = []
    with pytest.raises(LabError, match="DatabaseResumingException"):
        aurora(Asleep(), waited).rows("SELECT 1")
    assert 170 < sum(waited) < 200


def test_a_refusal_names_the_rights_and_hides_the_verifier() -> None:
    statement = f"ALTER ROLE \"x\" LOGIN PASSWORD '{verifier(PASSWORD)}'"
    client = Scripted(client_error("AccessDeniedException", f"not allowed: {statement}"))
    with pytest.raises(LabError) as refused:
        aurora(client).rows(statement)
    assert "secretsmanager:GetSecretValue" in str(refused.value)
    assert "SCRAM-SHA-256$" not in str(refused.value)


def test_a_database_of_another_owner_counts_as_missing() -> None:
    records = [[{"stringValue": "a"}, {"stringValue": "a"}], [{"stringValue": "b"}, {"stringValue": "other"}]]
    found = missing(aurora(Scripted({"records": records})), {"a": "a", "b": "b", "c": "c"})
    assert found == ["b", "c"]


def test_the_service_takes_every_call() -> None:
    """moto runs no statement; botocore checks each call against the service's own description."""
    with mock_aws():
        client = boto3.client("rds-data", region_name="eu-central-1")
        converge(aurora(client), {"lab_catalog": "lab_catalog"}, {"lab_catalog": PASSWORD})
        assert missing(aurora(client), {"lab_catalog": "lab_catalog"}) == ["lab_catalog"]


def test_comparing_asks_nothing() -> None:
    props = {
        "region": "eu-central-1",
        "resource_arn": CLUSTER,
        "secret_arn": SECRET,
        "databases": {"a": "a"},
        "passwords": {"a": PASSWORD},
        "digest": "1",
    }
    provider = AuroraDatabasesProvider()
    assert provider.diff("id", props, dict(props)).changes is False
    assert provider.diff("id", props, {**props, "passwords": {"a": f"{PASSWORD}-2"}}).changes is True
    rotated = {**props, "secret_arn": "arn:another"}
    assert provider.diff("id", props, rotated).changes is False, "the master's secret is not the lab's data"
