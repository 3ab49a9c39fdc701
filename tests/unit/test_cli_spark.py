"""``lab spark`` without a gateway: arguments, exit codes, and errors in the lab's own words."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli import app, operations
from cli.commands.common import Options
from cli.operations import spark as spark_operations
from cli.project import ensure_project, write_private
from contracts.errors import LabError
from contracts.outputs import to_exports
from governance.query import DeniedError, QueryError
from spark_gateway.client import Job, LogPart, Program, RunState, ServerConnection, ServerStatus
from tests.unit.cli_fakes import FakeRun, fake_run, lab_outputs

JOB = Job(
    id="j1", username="engineer", file_name="a.py", arguments=(), state=RunState.RUNNING, submitted_at=0.0
)
SERVER = ServerStatus(
    username="engineer",
    state=RunState.RUNNING,
    started_at=0.0,
    idle_s=5.0,
    idle_limit_s=900.0,
    spark_version="4.1.4",
)
CONNECTION = ServerConnection(url="sc://localhost:1", token="the-token's own", server=SERVER)


class FakeGateway:
    """A client whose job ends with ``exit_code`` after two parts of its log."""

    def __init__(self, exit_code: int = 0) -> None:
        self.exit_code = exit_code
        self.submitted: list[Program] = []

    def __enter__(self) -> FakeGateway:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def submit(self, program: Program) -> Job:
        self.submitted.append(program)
        return JOB

    def job_log(self, job_id: str, offset: int) -> LogPart:
        assert job_id == "j1"
        return LogPart(text="two\n" if offset else "one\n", next_offset=offset + 4, ended=offset > 0)

    def job(self, job_id: str) -> Job:
        state = RunState.FAILED if self.exit_code else RunState.SUCCEEDED
        reason = f"it ended with {self.exit_code}" if self.exit_code else None
        return dataclasses.replace(JOB, state=state, exit_code=self.exit_code, ended_at=2.0, reason=reason)

    def jobs(self) -> Sequence[Job]:
        return (self.job("j1"),)

    def server(self) -> ServerStatus | None:
        return SERVER if self.exit_code == 0 else None

    def stop_server(self) -> bool:
        return False


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    made = fake_run(tmp_path)
    monkeypatch.setattr(Options, "session", lambda _: made.session)
    return made


@pytest.fixture
def gateway(lab: FakeRun, monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    made = FakeGateway()
    monkeypatch.setattr(operations, "spark_client", lambda _session, _persona: made, raising=False)
    monkeypatch.setattr(operations, "spark_connection", lambda _session, _persona: CONNECTION, raising=False)
    return made


@pytest.mark.parametrize("exit_code", [0, 3])
def test_submit_shows_the_output_and_has_the_jobs_fate(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], exit_code: int
) -> None:
    gateway.exit_code = exit_code
    for name in ("a.py", "b.zip"):
        (tmp_path / name).write_bytes(name.encode())
    files = ["--py-files", str(tmp_path / "b.zip"), str(tmp_path / "a.py")]
    assert app.run(["spark", "submit", "--as", "engineer", *files, "--as", "x", "-1"]) == (exit_code > 0)
    out, err = capsys.readouterr()
    assert out == "one\ntwo\n"
    assert ("job j1 failed: it ended with 3 (2.0 s)" if exit_code else "job j1 succeeded (2.0 s)") in err
    assert gateway.submitted == [
        Program(
            file_name="a.py",
            content=b"a.py",
            arguments=("--as", "x", "-1"),
            python_files={"b.zip": b"b.zip"},
        )
    ]


def test_json_is_all_that_stands_on_standard_output(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text("")
    assert app.run(["--json", "spark", "submit", str(tmp_path / "a.py")]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == "succeeded"
    assert "one\ntwo\n" in err
    assert app.run(["--json", "spark", "submit", "--detach", str(tmp_path / "a.py")]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"


def test_a_file_that_is_not_there_is_wrong_usage(gateway: FakeGateway) -> None:
    assert app.run(["spark", "submit", "/nonexistent.py"]) == 2
    assert gateway.submitted == []


def test_what_runs_is_said(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["spark", "status"]) == 0
    assert "stopped after 895 s more" in capsys.readouterr().out
    assert app.run(["spark", "jobs"]) == 0
    assert "a.py" in capsys.readouterr().out
    assert app.run(["spark", "stop"]) == 0
    assert "no server ran" in capsys.readouterr().out
    gateway.exit_code = 1
    assert app.run(["--json", "spark", "status"]) == 0
    assert json.loads(capsys.readouterr().out) is None


def test_the_environment_of_a_client_survives_a_shell(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["spark", "env"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "export SPARK_REMOTE=sc://localhost:1",
        "export SPARK_CONNECT_AUTHENTICATE_TOKEN='the-token'\"'\"'s own'",
    ]


def test_without_spark_the_next_command_is_said(lab: FakeRun) -> None:
    ensure_project(lab.lab, virtualenv=Path("/venv"), port_base=28000)
    write_private(lab.session.outputs_file, json.dumps(to_exports(lab_outputs())))
    with pytest.raises(LabError, match="Spark does not run") as caught:
        spark_operations.spark_client(lab.session, None)
    assert caught.value.next_command == "lab up spark"


def test_a_log_is_followed_to_its_end_and_shown_as_far_as_it_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    parts = {0: [("a", False)], 1: [("", False), ("b", False)], 2: [("", True)]}

    def read(offset: int) -> LogPart:
        text, ended = parts[offset].pop(0)
        return LogPart(text=text, next_offset=offset + len(text), ended=ended)

    written: list[str] = []
    spark_operations.follow(read, written.append)
    assert "".join(written) == "ab"
    assert len(naps) == 1
    parts.update({0: [("a", False)], 1: [("", False)]})
    written.clear()
    spark_operations.follow(read, written.append, wait=False)
    assert "".join(written) == "a"


def test_no_secret_is_an_argument_of_the_shell(lab: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_operations, "_library", lambda _: ["/spark", "/spark/lib/py4j.zip"])
    for interactive in (True, False):
        arguments, environment = spark_operations.spark_python(
            lab.session, CONNECTION, interactive=interactive
        )
        assert CONNECTION.token not in " ".join(arguments)
        assert environment["SPARK_CONNECT_AUTHENTICATE_TOKEN"] == CONNECTION.token
        assert environment["PYTHONPATH"] == "/spark:/spark/lib/py4j.zip"
        assert ("PYTHONSTARTUP" in environment) is interactive


@pytest.fixture
def pyspark_error(monkeypatch: pytest.MonkeyPatch) -> type[Exception]:
    """PySpark's base error, without PySpark."""

    class PySparkException(Exception):
        def getCondition(self) -> str | None:
            return "SOME_CONDITION"

    errors = types.ModuleType("pyspark.errors")
    errors.PySparkException = PySparkException  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "pyspark", types.ModuleType("pyspark"))
    monkeypatch.setitem(sys.modules, "pyspark.errors", errors)
    return PySparkException


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("Server error: AccessCheckException: 'READ' is not allowed for role 'x'", DeniedError, "denied: "),
        ("(org.apache.iceberg.exceptions.ForbiddenException) Forbidden: no", DeniedError, "denied: "),
        ("[TABLE_OR_VIEW_NOT_FOUND] x\n\nJVM stacktrace:\nlong", QueryError, "[TABLE_OR_VIEW_NOT_FOUND] x"),
    ],
)
def test_a_refusal_of_the_catalog_is_told_from_other_errors(
    pyspark_error: type[Exception], text: str, kind: type[QueryError], said: str
) -> None:
    with pytest.raises(QueryError) as caught, spark_operations._translated():
        raise pyspark_error(text)
    assert type(caught.value) is kind
    assert caught.value.what.startswith(said)
    assert "stacktrace" not in caught.value.what


def test_other_errors_pass(pyspark_error: Any) -> None:
    with pytest.raises(KeyError), spark_operations._translated():
        raise KeyError("x")
