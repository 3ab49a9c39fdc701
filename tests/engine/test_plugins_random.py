"""Random values by the real engine."""

from __future__ import annotations

import textwrap

import pytest

from tests.engine.plugins_support import Project, new_project

pytestmark = pytest.mark.engine

PROGRAM = textwrap.dedent(
    """\
    import pulumi
    import pulumi_random as random

    keepers = {"rotation": pulumi.Config().require("rotation")}
    password = random.RandomPassword("password", length=20, special=False, keepers=keepers)
    salted = random.RandomId("id", byte_length=8, prefix=password.length.apply(lambda n: f"p{n}-"))
    token = random.RandomBytes("token", length=32)
    pulumi.export("password", password.result)
    pulumi.export("token", token.base64)
    pulumi.export("id", salted.hex)
    """
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose path has a space."""
    return new_project(tmp_path_factory.mktemp("plug ins"))


def _outputs(project: Project) -> dict[str, str]:
    names = ("password", "token", "id")
    return {name: project.run("stack", "output", name, "--show-secrets").text.strip() for name in names}


def test_values_stay_rotate_and_are_secret(project: Project) -> None:
    (project.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    project.config(rotation="1")
    previewed = project.run("preview")
    assert previewed.code == 0, previewed.text
    assert "4 to create" in previewed.text
    first_up = project.up()
    assert first_up.counts == {"created": 4}
    # A plugin named in the project file is used without a word.
    assert "warning" not in first_up.text
    first = _outputs(project)
    assert len(first["password"]) == 20
    assert project.up("--expect-no-changes").counts == {"unchanged": 4}
    assert project.refresh("--expect-no-changes").counts == {"unchanged": 4}
    assert _outputs(project) == first
    text = project.run("stack", "export").text
    assert first["password"] not in text
    assert first["token"] not in text
    assert first["id"] in text

    project.config(rotation="2")
    assert project.up().counts == {"replaced": 1, "unchanged": 3}
    second = _outputs(project)
    assert second["password"] != first["password"]
    assert (second["token"], second["id"]) == (first["token"], first["id"])
    assert project.destroy().counts == {"deleted": 4}
