"""What was made and did not become ready, by the real engine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from plugins.install import launcher
from tests.engine.plugins_support import Project, new_project

pytestmark = pytest.mark.engine

PROGRAM = """\
import pulumi

given = {"folder": pulumi.Config().require("folder"), "secret": pulumi.Output.secret("hidden text")}
pulumi.CustomResource("unready:index:Thing", "thing", given)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = new_project(tmp_path)
    program = tmp_path / "plugins" / "pulumi-resource-unready"
    text = launcher("unready", Path(sys.executable))
    program.write_text(text.replace("plugins.unready", "tests.engine.unready_plugin"), encoding="utf-8")
    program.chmod(0o755)
    described = yaml.safe_load((tmp_path / "Pulumi.yaml").read_text(encoding="utf-8"))
    described["plugins"]["providers"].append({"name": "unready", "path": str(program.parent)})
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    (tmp_path / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    made.config(folder=str(tmp_path))
    return made


def _things(project: Project) -> list[str]:
    return [one["id"] for one in project.state() if one["type"] == "unready:index:Thing"]


def test_it_is_kept_in_the_state_updated_by_the_next_run_and_removed(project: Project) -> None:
    failed = project.run("up", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "the thing did not become ready: no room" in failed.text
    assert _things(project) == ["thing-1"]
    assert "hidden text" not in project.run("stack", "export").text

    again = project.run("up", "--yes", "--skip-preview")
    assert again.code != 0, "an update that is not ready fails as well"
    assert _things(project) == ["thing-1"]

    (project.folder / "ready").touch()
    assert project.up().counts == {"updated": 1, "unchanged": 1}
    assert project.up("--expect-no-changes").counts == {"unchanged": 2}

    (project.folder / "ready").unlink()
    assert project.destroy().counts == {"deleted": 2}
    done = (project.folder / "done").read_text(encoding="utf-8").split()
    assert done == ["create", "update", "update", "delete"], "never made a second time"
