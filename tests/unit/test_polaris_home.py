"""A distribution that the user has unpacked: used where it lies, refused when it is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.catalog_choice import CatalogChoice, choose_catalog
from cli.components import artifacts_of, chosen_components
from cli.project import open_lab, program_environment
from contracts.errors import LabError, UsageError
from placements.local.software import artifact_path, ensure_artifacts, given_digest, given_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the form of the official distribution, named to the lab."""
    folder = tmp_path / "polaris bin"
    for program in ("server", "admin"):
        (folder / program / "lib").mkdir(parents=True)
        (folder / program / "quarkus-run.jar").write_bytes(b"jar")
        (folder / program / "lib" / "core.jar").write_bytes(b"core")
    monkeypatch.setenv("LAB_POLARIS_HOME", str(folder))
    return folder


def test_it_is_used_where_it_lies_and_never_fetched(home: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert artifact_path("polaris", cache, tmp_path) == home
    ensure_artifacts(["polaris"], cache)
    assert not cache.exists()
    names = [a.name for a in artifacts_of(chosen_components([], "polaris"), polaris_home=str(home))]
    assert "polaris" not in names
    assert "java25" in names


@pytest.mark.parametrize("absent", ["server/quarkus-run.jar", "admin/quarkus-run.jar"])
def test_a_folder_that_lacks_a_program_is_refused(home: Path, tmp_path: Path, absent: str) -> None:
    (home / absent).unlink()
    for refused in (
        lambda: given_folder("polaris"),
        lambda: artifact_path("polaris", tmp_path, tmp_path),
        lambda: ensure_artifacts(["polaris"], tmp_path),
        lambda: choose_catalog(None, pinned=None, polaris_home=str(home), reachable=lambda _: False),
    ):
        with pytest.raises(UsageError, match=f"LAB_POLARIS_HOME does not hold polaris: {absent} is missing"):
            refused()


def test_without_it_nothing_unverified_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_POLARIS_HOME", raising=False)
    assert given_folder("polaris") is None
    assert given_digest("polaris") == ""
    assert artifact_path("polaris", tmp_path, tmp_path).is_relative_to(tmp_path)


def test_other_software_is_not_looked_for_in_it(home: Path, tmp_path: Path) -> None:
    assert given_folder("nessie") is None
    assert artifact_path("nessie", tmp_path / "cache", tmp_path).is_relative_to(tmp_path / "cache")


def test_another_file_is_another_plan(home: Path) -> None:
    before = given_digest("polaris")
    assert before == given_digest("polaris")
    (home / "NOTICE").write_text("not part of the programs")
    assert given_digest("polaris") == before
    jar = home / "server" / "lib" / "core.jar"
    jar.write_bytes(b"larger core")
    grown = given_digest("polaris")
    os.utime(jar, ns=(1, 1))
    assert len({before, grown, given_digest("polaris")}) == 3


def test_the_program_is_given_an_absolute_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    environ = {"LAB_HOME": str(home.parent / "labs"), "LAB_POLARIS_HOME": home.name}
    assert program_environment(open_lab("lab", environ), environ)["LAB_POLARIS_HOME"] == str(home)


def test_the_choice_of_the_catalog(home: Path) -> None:
    def choose(asked: str | None, pinned: str | None, folder: str | None) -> CatalogChoice:
        return choose_catalog(asked, pinned=pinned, polaris_home=folder, reachable=lambda _: False)

    assert choose(None, None, str(home)) == CatalogChoice(kind="polaris")
    assert choose("nessie", None, str(home)).kind == "nessie"
    assert choose(None, "nessie", str(home)).kind == "nessie"
    with pytest.raises(UsageError, match="this lab's catalog is nessie"):
        choose("polaris", "nessie", str(home))
    with pytest.raises(LabError, match="can't be had"):
        choose("polaris", None, None)
