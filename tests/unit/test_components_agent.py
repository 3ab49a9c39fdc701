"""The agent as a workload: what it is given, where its libraries come from, and where its key is kept."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.settings import read_settings as read_agent_settings
from cli.operations.development import REQUIREMENTS
from cli.project import program_environment
from cli.steps import keep_model_key
from components.agent import AgentArgs, model_key, workload
from components.registry import COMPONENTS, SERVICE_ORDER, resolve
from contracts.errors import UsageError
from contracts.settings import read_settings
from contracts.versions import AGENT_LIBRARIES, ARTIFACTS
from placements.local.artifacts import recipes
from placements.local.artifacts.command import Cancellation
from placements.local.artifacts.host import host_platform
from placements.local.artifacts.pypi import beside, install_libraries, libraries_digest
from tests.unit.artifact_fakes import RecordingProgress
from tests.unit.cli_fakes import fake_run
from tests.unit.layouts import layout

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = layout({"http": 28036}, also={"agent-libraries": PurePosixPath("/cache/agent-libraries/1-abc")})
ARGS = AgentArgs(
    plain={
        "AGENT_PUBLIC_URL": "http://127.0.0.1:28036",
        "AGENT_ISSUER_URL": "http://issuer/realms/lab",
        "AGENT_JWKS_URL": "http://keycloak/certs",
        "AGENT_TOKEN_URL": "http://keycloak/token",
        "AGENT_GOVERNOR_URL": "http://governor",
        "AGENT_TRINO_URL": "https://trino",
        "AGENT_CATALOG": "lake",
        "AGENT_MAX_SCAN_MIB": "512",
        "AGENT_MODEL": "openai:llama3.1",
        "AGENT_MODEL_URL": "http://127.0.0.1:11434/v1",
    },
    from_slot={
        "AGENT_DATABASE_HOST": "127.0.0.1",
        "AGENT_DATABASE_PORT": "28600",
        "AGENT_DATABASE_NAME": "lab_agent",
        "AGENT_DATABASE_ROLE": "lab_agent",
        "AGENT_DATABASE_PASSWORD": "pass/word",
        "AGENT_CLIENT_SECRET": "secret-of-client-agent",
        "AGENT_MODEL_KEY": "sk-key",
    },
    ca_certificate="PEM",
)


def test_what_it_is_given_reads_as_its_settings(tmp_path: Path) -> None:
    made = workload(ARGS, LAYOUT)
    (tmp_path / "ca.pem").write_text("PEM")
    environ = {name: str(value) for name, value in made.env.items()}
    found = read_agent_settings({**environ, "AGENT_CA_FILE": str(tmp_path / "ca.pem")})
    assert found.conninfo == "postgresql://lab_agent:pass%2Fword@127.0.0.1:28600/lab_agent"
    assert found.limits.max_scan_mib == 512
    assert found.model is not None
    assert (found.model.name, found.model.base_url, found.model.key) == (
        "openai:llama3.1",
        "http://127.0.0.1:11434/v1",
        "sk-key",
    )
    for secret in ("sk-key", "secret-of-client-agent", "pass/word", "pass%2Fword"):
        assert secret not in repr(found)
        assert secret not in str(made.command) + str(made.files)


def test_its_libraries_come_after_the_checkout_and_its_code_restarts_it() -> None:
    made = workload(ARGS, LAYOUT)
    assert made.env["PYTHONPATH"] == "/checkout:/cache/agent-libraries/1-abc"
    assert made.env["PYTHONPYCACHEPREFIX"] == "/cache/warm/pycache"
    assert set(made.source) == {"agent", "contracts", "governance"}


def test_without_a_model_there_is_none() -> None:
    plain = {name: value for name, value in ARGS.plain.items() if not name.startswith("AGENT_MODEL")}
    made = workload(AgentArgs(plain=plain, from_slot=ARGS.from_slot, ca_certificate="PEM"), LAYOUT)
    environ = {name: str(value) for name, value in made.env.items()}
    assert read_agent_settings({**environ, "AGENT_CA_FILE": __file__}).model is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"AGENT_PORT": "x"}, "AGENT_PORT is not valid"),
        ({"AGENT_TRINO_URL": "trino"}, "is no URL"),
        ({"AGENT_CLIENT_SECRET": ""}, "is not set"),
        ({"AGENT_CA_FILE": "/nonexistent"}, "can't be read"),
        ({"AGENT_MODEL": "llama"}, "model is not valid"),
    ],
)
def test_settings_that_are_wrong_are_named(change: dict[str, str], why: str) -> None:
    environ = {name: str(value) for name, value in workload(ARGS, LAYOUT).env.items()}
    with pytest.raises(UsageError, match=why):
        read_agent_settings({**environ, "AGENT_CA_FILE": __file__, **change})


def test_the_row_has_its_alias_and_its_kept_place() -> None:
    assert resolve("langgraph-worker") is COMPONENTS["agent"]
    assert SERVICE_ORDER.index("agent") == 7
    assert COMPONENTS["agent"].artifacts == (AGENT_LIBRARIES.name,)
    assert AGENT_LIBRARIES.name in ARTIFACTS


@pytest.mark.parametrize("value", ["llama", "ollama:x", "openai:", "openai:a b"])
def test_a_model_that_is_none_is_refused_before_anything_starts(value: str) -> None:
    with pytest.raises(UsageError, match="'agentModel' is not valid"):
        read_settings({"role": "lab", "agentModel": value})


# --- the key ---------------------------------------------------------------------------------------------


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert model_key({}) is None
    assert model_key({"LAB_AGENT_MODEL_KEY": "given", "LAB_AGENT_MODEL_KEY_FILE": str(file)}) == "given"
    assert model_key({"LAB_AGENT_MODEL_KEY_FILE": str(file)}) == "from-file"
    with pytest.raises(UsageError, match="can't be read"):
        model_key({"LAB_AGENT_MODEL_KEY_FILE": str(tmp_path / "none")})


def test_a_key_that_was_given_once_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    made = fake_run(tmp_path)
    session: Any = made.session
    session.environ = {**session.environ, "LAB_AGENT_MODEL_KEY": "sk-once"}
    keep_model_key(session)
    file = session.lab.model_key_file
    assert file.read_text() == "sk-once"
    assert file.stat().st_mode & 0o777 == 0o600
    for environ in ({}, {"LAB_AGENT_MODEL_KEY": "sk-once"}):
        values = program_environment(session.lab, environ)
        # What `lab env` prints leads to the key and does not hold it.
        assert values["LAB_AGENT_MODEL_KEY_FILE"] == str(file)
        assert "sk-once" not in str(values)


# --- the libraries ---------------------------------------------------------------------------------------


def pins(text: str) -> set[str]:
    return set(re.findall(r"^[A-Za-z0-9._-]+==[^\s;\\]+", text, flags=re.MULTILINE))


def test_the_libraries_are_what_the_labs_own_environment_lacks() -> None:
    wanted, there = (
        pins((ROOT / name).read_text()) for name in (AGENT_LIBRARIES.requirements, AGENT_LIBRARIES.beside)
    )
    found = beside(AGENT_LIBRARIES)
    assert pins(found) == wanted - there
    assert {one.partition("==")[0] for one in pins(found)} >= {"langgraph", "langchain", "mcp"}
    # One version of each package in one process.
    assert not {one.partition("==")[0] for one in pins(found)} & {one.partition("==")[0] for one in there}
    assert found.count("--hash=sha256:") >= len(pins(found))


def test_the_requirements_are_locked_against_the_labs_own() -> None:
    locked = {source: constraints for source, _, constraints in REQUIREMENTS}
    assert locked["requirements-agent.in"] == ("requirements.txt",)
    assert "requirements-agent.txt" in locked["requirements-dev.in"]


def test_a_changed_requirement_or_python_is_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipes.fingerprint(AGENT_LIBRARIES, host_platform())
    digest = libraries_digest(AGENT_LIBRARIES)
    monkeypatch.setattr("placements.local.artifacts.pypi.beside", lambda _: "langgraph==0.0.1\n")
    assert libraries_digest(AGENT_LIBRARIES) != digest
    assert recipes.fingerprint(AGENT_LIBRARIES, host_platform()) != before


def test_a_checkout_without_its_requirements_says_so(tmp_path: Path) -> None:
    from contracts.errors import LabError

    with pytest.raises(LabError, match="a file of the checkout is missing"):
        beside(AGENT_LIBRARIES, tmp_path)


def test_they_are_installed_by_pip_with_hashes_and_without_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(arguments: list[Any], **_: Any) -> None:
        asked.append([str(one) for one in arguments])
        target = Path(asked[0][asked[0].index("--target") + 1])
        assert "langgraph==" in (target / "requirements.txt").read_text()
        (target / "bin").mkdir()
        (target / "bin" / "mcp").write_text("#!/this/python")
        (target / "langgraph").mkdir()

    monkeypatch.setattr("placements.local.artifacts.pypi.run", run)
    target = tmp_path / "libraries"
    install_libraries(AGENT_LIBRARIES, target, RecordingProgress(), Cancellation())
    assert [path.name for path in target.iterdir()] == ["langgraph"]
    (arguments,) = asked
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(arguments)
