"""The real engine in a lab's own project, as a person runs it there by hand."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from cli.project import Lab, ensure_project
from cli.toolchain import pulumi_engine
from contracts.settings import cache_home
from placements.local.artifacts import SilentProgress
from plugins.install import PLUGINS
from tests.engine.plugins_support import Project

pytestmark = pytest.mark.engine

PROGRAM = textwrap.dedent(
    """\
    import pulumi
    import pulumi_keycloak as keycloak
    import pulumi_random as random
    from pulumi.dynamic import Resource, ResourceProvider

    class Thing(Resource, module="test", name="Thing"):
        pass

    random.RandomPassword("password", length=20)
    # Nothing is asked of a server before it is needed: nothing listens there.
    at = keycloak.Provider("at", url="http://127.0.0.1:9", client_id="a", client_secret="b", realm="master")
    keycloak.Realm("realm", realm="r", opts=pulumi.ResourceOptions(provider=at))
    Thing(ResourceProvider(), "dynamic", {})
    """
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab whose checkout holds another program."""
    root = tmp_path / "check out"
    root.mkdir()
    (root / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    made = Lab(name="lab", home=tmp_path / "lab home", root=root, cache=cache_home())
    ensure_project(made, virtualenv=Path(sys.prefix), port_base=28000)
    return made


def project_of(lab: Lab, *plugin_folders: Path) -> Project:
    """The lab's project, with ``plugin_folders`` on PATH and nothing else of the lab."""
    engine = pulumi_engine(lab.cache, SilentProgress(), use_installer=False)
    python = Path(sys.prefix) / "bin" / "python"
    environment = {
        **os.environ,
        **engine.environment(python=python, home=lab.pulumi_home, plugin_folders=plugin_folders),
        "PULUMI_BACKEND_URL": f"file://{lab.state_dir}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(lab.passphrase_file),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    del environment["PULUMI_PYTHON_CMD"]
    return Project(folder=lab.project_dir, environment=environment)


def test_plugins_are_found_by_the_project_file_without_a_word(lab: Lab) -> None:
    project = project_of(lab)
    assert project.run("stack", "init", "lab").code == 0
    previewed = project.run("preview", "-s", "lab")
    assert previewed.code == 0, previewed.text
    assert "5 to create" in previewed.text
    assert "warning" not in previewed.text


def test_without_the_project_files_word_they_would_be_warned_of_or_missing(lab: Lab) -> None:
    """What makes the test above tell something."""
    path = lab.project_dir / "Pulumi.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [entry["name"] for entry in document.pop("plugins")["providers"]] == list(PLUGINS)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert project_of(lab).run("stack", "init", "lab").code == 0

    missing = project_of(lab).run("preview", "-s", "lab")
    assert missing.code != 0
    assert "no resource plugin" in missing.text
    warned = project_of(lab, lab.launchers_dir).run("preview", "-s", "lab")
    assert warned.code == 0, warned.text
    assert "using pulumi-resource-keycloak from $PATH" in warned.text
