"""Arguments, exit codes and the JSON form of errors and results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import app, operations
from cli.commands.common import OF_NO_LAB, Options, for_lab
from cli.operations.development import LINTERS, REQUIREMENTS, Finding, distribution, run_tests
from contracts.errors import LabError, PreflightError
from placements.local.supervisor import ServiceState
from tests.unit.cli_fakes import FakeRun, fake_run, lab_outputs, service


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    made = fake_run(tmp_path)
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LAB_NAME", raising=False)
    monkeypatch.setattr(Options, "session", lambda _: made.session)
    return made


def deploy(run: FakeRun) -> None:
    """A lab that is up, without running any step."""
    from cli.project import ensure_project, write_private
    from contracts.outputs import to_exports

    ensure_project(run.lab, virtualenv=Path("/venv"), port_base=28000)
    write_private(run.session.outputs_file, json.dumps(to_exports(lab_outputs())))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats"], "did you mean 'status'"),
        (["up", "--cor"], "--core"),
        (["up", "trinoo"], "did you mean 'trino'"),
        (["up", "--set", "nonsense"], "--set is KEY=VALUE"),
        (["up", "--catalog", "hive"], "polaris"),
        (["sql"], "give one SQL statement"),
        (["sql", "--csv", "--json", "SELECT 1"], "exclude each other"),
        (["load", "x.csv", "--table", "raw.x", "--append", "--replace"], "exclude each other"),
        (["load", "x.csv"], "--table"),
        (["load", "x.csv", "--table", "raw.x", "--type", "amount"], "COLUMN=TYPE"),
    ],
)
def test_wrong_usage_is_2_and_says_what_was_meant(
    run: FakeRun, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert app.run(arguments) == 2
    out, err = capsys.readouterr()
    if "--json" in arguments:
        assert message in json.loads(out)["error"]
    else:
        assert message in err
        assert out == ""


def test_a_lab_that_is_not_there_is_1(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["status", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["next_command"] == "lab up"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (PreflightError("too little memory", next_command="lab up --core"), 3),
        (LabError("it failed"), 1),
        (KeyboardInterrupt(), 1),
        (RuntimeError("surprise"), 1),
    ],
)
def test_exit_codes_by_error(
    run: FakeRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr("cli.operations.lifecycle.up", fail)
    assert app.run(["up"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_global_options_work_before_and_after_the_command(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["--json", "components"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert app.run(["components", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before
    trino = next(row for row in before if row["name"] == "trino")
    assert trino["saved"] is True
    assert trino["state"] == "down"
    assert trino["memory_mib"] > 0


def test_status_tells_each_service(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    deploy(run)
    run.supervisor.services = [
        service("postgres"),
        service("trino", ServiceState.BACKOFF, restarts=3, reason="killed", ports={"https": 28028}),
    ]
    assert app.run(["status", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["up"] is True
    assert answer["ready"] is False
    assert answer["memory_mib"] == 128
    row = answer["services"][1]
    assert (row["state"], row["restarts"], row["reason"]) == ("backoff", 3, "killed")
    assert app.run(["status"]) == 0
    assert "killed" in capsys.readouterr().out


def test_logs_show_the_last_lines(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    deploy(run)
    (run.lab.logs_dir / "trino.log").write_text("".join(f"line {n}\n" for n in range(100)))
    assert app.run(["logs", "trino", "-n", "2"]) == 0
    assert capsys.readouterr().out == "line 98\nline 99\n"
    assert app.run(["logs", "trin"]) == 2
    assert "did you mean 'trino'" in capsys.readouterr().err
    assert app.run(["logs", "--json"]) == 0
    assert "trino" in json.loads(capsys.readouterr().out)


def test_destroy_needs_somebody_or_yes(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(run)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    project = run.lab.project_dir / "Pulumi.yaml"
    assert app.run(["destroy"]) == 2
    assert project.exists()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: "other")
    assert app.run(["destroy"]) == 2
    assert project.exists()
    monkeypatch.setattr("click.prompt", lambda *_, **__: "lab")
    assert app.run(["destroy"]) == 0
    assert not project.exists()
    assert "is gone" in capsys.readouterr().out


def test_credentials_go_to_standard_output_alone(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    from contracts.settings import Role

    deploy(run)
    run.engine.stacks.add(Role.PERSISTENT)
    assert app.run(["credentials"]) == 0
    out, err = capsys.readouterr()
    assert "engineer-password" in out
    assert "engineer-password" not in err
    assert "catalog-secret" not in out


def recorder(codes: dict[str, int], calls: list[str]) -> Callable[[Any], int]:
    def run(command: Any) -> int:
        words = [str(word) for word in command]
        calls.append(" ".join(words[1:]))
        return next((code for word, code in codes.items() if word in words), 0)

    return run


def test_the_test_command_runs_all_and_pytest_last() -> None:
    calls: list[str] = []
    said: list[str] = []

    def lint(command: Any) -> Finding:
        assert not any("pytest" in call for call in calls)
        return Finding(text=f"about {command[-1]}", exit_code=1 if "mypy" in command else 0)

    result = run_tests(["tests/unit", "-k", "x"], say=said.append, run=recorder({}, calls), lint_with=lint)
    assert result.failed == ("mypy",)
    assert result.exit_code == 1
    assert [text.partition(":")[0] for text in said[:-1]] == [name for name, _ in LINTERS]
    assert said[-1] == "linters found something: mypy"
    (pytest,) = calls
    assert pytest.startswith("-m pytest ")
    assert pytest.endswith(" tests/unit -k x")
    calls.clear()
    assert run_tests(["a.py"], lint=False, say=said.append, run=recorder({"a.py": 5}, calls)).exit_code == 1
    assert calls == ["-m pytest a.py"]


@pytest.mark.parametrize(
    ("arguments", "side_by_side"),
    [
        ("", True),
        ("tests/unit tests/live", True),
        ("tests/unit -k py", True),
        ("-x --lf -vv -m live --durations=9", True),
        ("tests/unit/test_keys.py", False),
        ("tests/unit/test_keys.py::test_a[b::c/d]", False),
        ("-n4 tests/unit", False),
        ("-n 4", False),
        ("--numprocesses=0", False),
        ("-p no:xdist", False),
        ("tests/unit -s", False),
        ("--pdb", False),
        ("--capture=no", False),
    ],
)
def test_whole_files_run_side_by_side_unless_one_process_is_wanted(
    arguments: str, side_by_side: bool
) -> None:
    assert bool(distribution(arguments.split())) is side_by_side


def test_locking_covers_every_requirements_file() -> None:
    calls: list[str] = []
    written = operations.lock_requirements(run=recorder({}, calls))
    assert written == tuple(target for _, target, _ in REQUIREMENTS)
    assert all("--generate-hashes" in call and "--universal" in call for call in calls)
    with pytest.raises(LabError, match=r"requirements\.in can't be resolved"):
        operations.lock_requirements(run=recorder({"requirements.in": 1}, []))


def test_every_operation_can_be_used_from_python() -> None:
    # Twice: loading a module must not put it in the place of a function of the same name.
    for name in [*operations.__all__, *operations.__all__]:
        assert callable(getattr(operations, name)), name
    with pytest.raises(AttributeError):
        operations.nonsense  # noqa: B018 - the access is what is tested


def test_every_command_explains_itself() -> None:
    for name, command in app.lab.commands.items():
        assert command.help, name
        assert {"--name", "--json", "--verbose"} <= {
            option for parameter in command.params for option in parameter.opts
        }, name


@pytest.mark.parametrize(
    ("advice", "said"),
    [
        ("lab up", "lab --name b up"),
        ("wait for it, then lab doctor --fix", "wait for it, then lab --name b doctor --fix"),
        ("lab up --without x, or lab up --core", "lab --name b up --without x, or lab --name b up --core"),
        ("lab --name OTHER destroy", "lab --name OTHER destroy"),
        ("lab cache import FILE", "lab cache import FILE"),
        ("LAB_HOME=/elsewhere lab up", "LAB_HOME=/elsewhere lab --name b up"),
        ("pulumi config rm x", "pulumi config rm x"),
    ],
)
def test_advice_names_the_lab_that_it_is_about(advice: str, said: str) -> None:
    options = Options()
    assert for_lab(options, advice) == advice
    options.name = "b"
    assert for_lab(options, advice) == said


def test_every_command_acts_on_a_lab_or_is_known_not_to() -> None:
    assert set(OF_NO_LAB) <= set(app.lab.commands)
    assert not {"up", "down", "seed", "status", "destroy", "sql"} & set(OF_NO_LAB)
