"""A distribution that the user has unpacked: used where it lies, remembered, refused when it is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import operations, steps
from cli.catalog_choice import CatalogChoice, choose_catalog
from cli.checks import software
from cli.components import artifacts_of, chosen_components
from cli.project import open_lab, program_environment, read_config
from contracts.errors import LabError, UsageError
from contracts.settings import Role, polaris_home, read_settings
from placements.local.placement import LocalPlacement
from placements.local.software import check_given, given_digest
from tests.unit.cli_fakes import FakeRun, fake_run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder in the form of the official distribution."""
    folder = tmp_path / "polaris bin"
    for program in ("server", "admin"):
        (folder / program / "lib").mkdir(parents=True)
        (folder / program / "quarkus-run.jar").write_bytes(b"jar")
        (folder / program / "lib" / "core.jar").write_bytes(b"core")
    return folder


@pytest.fixture
def placement(home: Path, tmp_path: Path) -> LocalPlacement:
    """The placement of a lab that is given the folder."""
    return LocalPlacement(tmp_path / "lab", 28000, tmp_path / "cache", ["catalog"], {"polaris": home})


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """A lab whose user names the folder; no network, no downloads."""
    made = fake_run(tmp_path / "labs")
    made.session.environ = {**made.session.environ, "LAB_POLARIS_HOME": str(home)}
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: made.calls.append("fetch"))
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28000)
    monkeypatch.setattr("placements.local.preflight.check_ports", lambda *_, **__: None)
    return made


def _without_variable(run: FakeRun) -> None:
    run.session.environ = {k: v for k, v in run.session.environ.items() if k != "LAB_POLARIS_HOME"}


def test_it_is_used_where_it_lies_and_never_fetched(home: Path, placement: LocalPlacement) -> None:
    layout = placement.layout("catalog", "polaris", ("http", "management"))
    assert Path(layout.artifact_dir) == home
    assert placement._artifacts("polaris") == ["java25"]
    names = [a.name for a in artifacts_of(chosen_components([], "polaris"), polaris_home=home)]
    assert "polaris" not in names
    assert "java25" in names


@pytest.mark.parametrize("absent", ["server/quarkus-run.jar", "admin/quarkus-run.jar"])
def test_a_folder_that_lacks_a_program_is_refused(
    home: Path, placement: LocalPlacement, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    monkeypatch.setenv("LAB_POLARIS_HOME", str(home))
    (home / absent).unlink()
    acts: list[Callable[[], object]] = [
        lambda: check_given("polaris", home),
        lambda: placement.layout("catalog", "polaris", ("http", "management")),
        lambda: choose_catalog(None, pinned=None, polaris_home=home, reachable=lambda _: False),
        lambda: choose_catalog(None, pinned="polaris", polaris_home=home, reachable=lambda _: False),
    ]
    for act in acts:
        with pytest.raises(UsageError, match=f"LAB_POLARIS_HOME does not hold polaris: {absent} is missing"):
            act()


def test_other_software_is_not_looked_for_in_it(placement: LocalPlacement, tmp_path: Path) -> None:
    layout = placement.layout("catalog", "nessie", ("http", "management"))
    assert Path(layout.artifact_dir).is_relative_to(tmp_path / "cache")
    assert placement._artifacts("nessie") == ["nessie", "java25"]


def test_another_file_is_another_plan(home: Path) -> None:
    before = given_digest("polaris", home)
    assert before == given_digest("polaris", home)
    (home / "NOTICE").write_text("not part of the programs")
    assert given_digest("polaris", home) == before
    jar = home / "server" / "lib" / "core.jar"
    jar.write_bytes(b"larger core")
    grown = given_digest("polaris", home)
    os.utime(jar, ns=(1, 1))
    assert len({before, grown, given_digest("polaris", home)}) == 3


def test_the_program_is_given_an_absolute_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    environ = {"LAB_HOME": str(home.parent / "labs"), "LAB_POLARIS_HOME": home.name}
    assert program_environment(open_lab("lab", environ), environ)["LAB_POLARIS_HOME"] == str(home)


def test_the_variable_wins_over_the_setting() -> None:
    assert polaris_home("", {}) is None
    assert polaris_home("/remembered", {}) == Path("/remembered")
    assert polaris_home("/remembered", {"LAB_POLARIS_HOME": "/named"}) == Path("/named")
    config = {"role": "lab", "polarisHome": "~/polaris"}
    assert read_settings(config, {"LAB_HOME": "/labs"}).polaris_home == Path.home() / "polaris"
    with pytest.raises(UsageError, match="absolute path"):
        read_settings({**config, "polarisHome": "polaris"}, {})


def test_the_choice_of_the_catalog(home: Path) -> None:
    def choose(asked: str | None, pinned: str | None, folder: Path | None) -> CatalogChoice:
        return choose_catalog(asked, pinned=pinned, polaris_home=folder, reachable=lambda _: False)

    chosen = CatalogChoice(kind="polaris", polaris_home=home)
    for asked, pinned in ((None, None), ("polaris", None), (None, "polaris")):
        assert choose(asked, pinned, home) == chosen
    for nessie in (choose("nessie", None, home), choose(None, "nessie", home)):
        assert nessie == CatalogChoice(kind="nessie")
    assert choose(None, "polaris", None) == CatalogChoice(kind="polaris")
    with pytest.raises(UsageError, match="this lab's catalog is nessie"):
        choose("polaris", "nessie", home)
    with pytest.raises(LabError, match="can't be had"):
        choose("polaris", None, None)


@pytest.mark.parametrize("first", [operations.up, operations.bootstrap])
def test_a_lab_remembers_the_folder(run: FakeRun, home: Path, first: Callable[..., object]) -> None:
    first(run.session)
    config = read_config(run.lab, Role.LAB)
    assert (config["catalog"], config["polarisHome"]) == ("polaris", str(home))
    assert "polarisHome" not in read_config(run.lab, Role.PERSISTENT)

    _without_variable(run)
    assert "LAB_POLARIS_HOME" not in program_environment(run.lab, run.session.environ)
    operations.up(run.session)
    assert run.calls[-1] == "up lab"
    assert read_settings(read_config(run.lab, Role.LAB), run.session.environ).polaris_home == home
    wanted = artifacts_of(chosen_components([], "polaris"), polaris_home=steps.polaris_home_of(run.session))
    assert "polaris" not in [artifact.name for artifact in wanted]


def test_another_folder_is_named_by_the_variable_and_remembered(run: FakeRun, home: Path) -> None:
    operations.up(run.session)
    other = Path(shutil.copytree(home, home.with_name("polaris newer")))
    run.session.environ = {**run.session.environ, "LAB_POLARIS_HOME": str(other)}
    operations.up(run.session)
    assert read_config(run.lab, Role.LAB)["polarisHome"] == str(other)
    with pytest.raises(UsageError, match="is not set this way"):
        operations.up(run.session, changes={"polarisHome": str(home)})


def test_a_remembered_folder_that_is_gone_is_said_before_anything_starts(run: FakeRun, home: Path) -> None:
    operations.up(run.session)
    _without_variable(run)
    moved = home.rename(home.with_name("moved"))
    run.calls.clear()
    with pytest.raises(UsageError, match="setting 'polarisHome' names a folder that is gone") as error:
        operations.up(run.session)
    assert str(home) in str(error.value)
    assert error.value.next_command == "LAB_POLARIS_HOME=FOLDER lab up"
    assert run.calls == []

    with pytest.raises(UsageError, match="names a folder that is gone"):
        list(software.artifacts(run.session, chosen_components([], "polaris"), False))

    run.session.environ = {**run.session.environ, "LAB_POLARIS_HOME": str(moved)}
    operations.up(run.session)
    assert read_config(run.lab, Role.LAB)["polarisHome"] == str(moved)


def test_a_lab_on_nessie_remembers_no_folder(run: FakeRun) -> None:
    operations.up(run.session, catalog="nessie")
    assert "polarisHome" not in read_config(run.lab, Role.LAB)
