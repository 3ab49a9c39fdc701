"""Pipelines for users are valid, run nobody else's code, and give each job no more rights than it needs."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ci.oidc import AUDIENCE, environment_lines, identity_token, write_token
from contracts.errors import LabError, UsageError
from contracts.versions import CI_RUNNER

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GITLAB = ROOT / ".gitlab-ci.yml"
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in document(path)["jobs"].items():
            yield path.stem, name, job


JOBS = list(jobs())
RUNS = [
    (f"{workflow}-{name}-{number}", step["run"])
    for workflow, name, job in JOBS
    for number, step in enumerate(job["steps"])
]
GITLAB_LINES = [
    (f"gitlab-{name}-{number}", line)
    for name, job in document(GITLAB).items()
    if isinstance(job, dict)
    for number, line in enumerate([*job.get("script", []), *job.get("after_script", [])])
]


def check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    # The schemas come with the library; nothing is fetched.
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_pipelines_are_valid_by_their_schemas(tmp_path: Path) -> None:
    done = check("vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr
    done = check("vendor.gitlab-ci", GITLAB)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs: {a: {runs-on: x, steps: [{rum: ls}]}}\n", encoding="utf-8")
    assert check("vendor.github-workflows", wrong).returncode != 0


def test_whatever_is_not_of_this_checkout_is_named_by_its_digest() -> None:
    for workflow, name, job in JOBS:
        assert job["runs-on"] == CI_RUNNER, (workflow, name)
        used = [job.get("uses"), *(step.get("uses") for step in job["steps"])]
        for one in filter(None, used):
            assert re.fullmatch(r"\./.*|[\w./-]+@[0-9a-f]{40}", one), (workflow, name, one)
    assert document(GITLAB)["default"]["image"] == "$LAB_CI_IMAGE"
    assert "include" not in document(GITLAB)


@pytest.mark.parametrize(("where", "script"), [*RUNS, *GITLAB_LINES], ids=lambda value: str(value)[:30])
def test_a_step_is_a_valid_script_of_what_is_there(where: str, script: str) -> None:
    done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What a person may choose, such as a title or a branch, must come by the environment.
    assert "${{" not in script
    for file in re.findall(r"(?:^|\s)(?:\./|python3 )([\w./]+)", script):
        assert (ROOT / file).is_file(), file


def test_rights_are_given_job_by_job() -> None:
    for path in WORKFLOWS:
        assert document(path)["permissions"] == {}, path
        # Would run a fork's code with the rights of the base.
        assert "pull_request_target" not in path.read_text(encoding="utf-8")
    for workflow, name, job in JOBS:
        rights = job["permissions"]
        assert rights.get("contents") == "read", (workflow, name)
        writes = {right for right, level in rights.items() if level == "write"}
        assert writes <= {"pull-requests", "id-token"}, (workflow, name)
        if writes and workflow == "preview":
            assert SAME_REPOSITORY in job["if"], (workflow, name)


def test_who_may_write_on_the_request_runs_the_base_alone() -> None:
    for workflow, name, job in JOBS:
        if job["permissions"].get("pull-requests") == "write":
            text = "\n".join(step["run"] for step in job["steps"])
            assert "FETCH_HEAD^1" in text, (workflow, name)
            assert not re.search(r"git checkout(?!.* FETCH_HEAD\^1)", text), (workflow, name)


def test_the_role_that_deploys_is_behind_a_protected_environment() -> None:
    deploying = [job for _, _, job in JOBS if "LAB_DEPLOY_ROLE_ARN" in str(job)]
    assert len(deploying) == 1
    assert deploying[0]["environment"] == "production"
    assert not [job for _, _, job in JOBS if "LAB_PREVIEW_ROLE_ARN" in str(job) and "environment" in job]
    assert document(GITLAB)["deploy"]["environment"] == "production"


def test_a_lab_of_a_request_is_removed_when_its_job_is_cancelled() -> None:
    found = 0
    for _, _, job in JOBS:
        scripts = [step["run"] for step in job["steps"]]
        if any("ci/ephemeral.py --name" in script for script in scripts):
            found += 1
            last = job["steps"][-1]
            assert last["if"] == "always()"
            assert "--remove-only" in last["run"]
            # A shell in between would keep the signal for itself.
            assert any(script.startswith("exec python3 ci/ephemeral.py") for script in scripts)
    assert found == 1
    assert "--remove-only" in document(GITLAB)["verify"]["after_script"][0]


# --- ci/oidc.py ---------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/lab/preview"
ASKED = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://host.example/token?api-version=2.0",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "bearer",
}


def test_an_identity_is_asked_for_with_the_audience_of_aws() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"api-version": "2.0", "audience": AUDIENCE}
        assert request.headers["Authorization"] == "Bearer bearer"
        return httpx.Response(200, json={"value": "signed"})

    assert identity_token(ASKED, transport=httpx.MockTransport(answer)) == "signed"
    assert identity_token({"LAB_CI_ID_TOKEN": "of gitlab"}) == "of gitlab"


@pytest.mark.parametrize(
    "response", [httpx.Response(403), httpx.Response(200, text="no json"), httpx.Response(200, json={})]
)
def test_a_refused_identity_is_said(response: httpx.Response) -> None:
    with pytest.raises(LabError, match="gave no identity"):
        identity_token(ASKED, transport=httpx.MockTransport(lambda _: response))
    with pytest.raises(LabError, match="no identity to show"):
        identity_token({})


def test_the_token_is_its_owners_alone_and_no_line_holds_it(tmp_path: Path) -> None:
    for token in ("first", "second"):
        path = write_token(tmp_path, token)
        assert path.read_text(encoding="utf-8") == token
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = environment_lines(ROLE, path, "lab 1/2")
    assert lines[-1] == "AWS_ROLE_SESSION_NAME=lab-1-2"
    assert not [line for line in lines if "second" in line]
    for wrong in ("", "role", f"{ROLE}\nOTHER=x", "arn:aws:iam::1:role/x"):
        with pytest.raises(UsageError, match="not a role"):
            environment_lines(wrong, path, "lab")
