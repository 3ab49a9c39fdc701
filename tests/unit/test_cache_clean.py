"""What of a cache goes and what stays: named versions, labs and running processes keep theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from cli import operations, virtualenv
from cli.operations.cleaning import CacheItem
from cli.session import Session
from contracts.errors import UsageError
from contracts.versions import OPA, TRINO
from placements.local.artifacts import entry_of
from placements.local.artifacts.store import STAMP
from tests.unit.cli_fakes import ROOT, fake_run


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return fake_run(tmp_path / "labs").session


def fill(folder: Path, *, stamped: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "program").write_bytes(b"x" * 1000)
    if stamped:
        (folder / STAMP).write_text("{}")
    return folder


def remove(session: Session) -> set[str]:
    return {item.name for item in operations.clean_cache(session, lambda _: None)}


def test_named_versions_stay_and_others_go(session: Session) -> None:
    cache = session.lab.cache
    kept = [fill(entry_of(TRINO, cache).path), fill(entry_of(OPA, cache).path)]
    environment = virtualenv.environment_name(ROOT, "local")
    kept += [fill(cache / "venv" / environment), fill(cache / "wheels" / environment)]
    kept += [fill(cache / "go-caches" / "mod"), fill(cache / "npm" / "_cacache", stamped=False)]
    for gone in ("trino/475-0123456789ab", "venv/local-0123", "wheels/local-0123", "downloads/trino-475-01"):
        fill(cache / gone)
    fill(cache / "opa" / ".staging-1.0-0123456789ab-0123abcd", stamped=False)
    assert remove(session) == {
        *("trino/475-0123456789ab", "venv/local-0123", "wheels/local-0123", "downloads/trino-475-01"),
        "opa/.staging-1.0-0123456789ab-0123abcd",
    }
    assert all((folder / "program").exists() for folder in kept)
    assert remove(session) == set()
    assert sum(item.size_bytes for item in operations.cache_contents(session)) >= 6 * 1000


def test_a_folder_that_nobody_knows_is_left_alone(session: Session) -> None:
    strange = fill(session.lab.cache / "holiday" / "pictures", stamped=False)
    assert remove(session) == set()
    assert strange.exists()


def test_what_a_lab_runs_stays(session: Session) -> None:
    lab = session.lab.home.parent / "other"
    used = fill(session.lab.cache / "trino" / "475-0123456789ab")
    python = fill(session.lab.cache / "venv" / "local-0123")
    (lab / "project").mkdir(parents=True)
    (lab / "project" / "Pulumi.yaml").write_text(f"virtualenv: {python}/bin\n")
    (lab / "run" / "services" / "trino").mkdir(parents=True)
    (lab / "run" / "services" / "trino" / "spec.json").write_text(f'{{"argv": ["{used}/bin/x"]}}')
    found = {item.name: item.use for item in operations.cache_contents(session)}
    assert found == {"trino/475-0123456789ab": "lab other", "venv/local-0123": "lab other"}
    assert remove(session) == set()


def test_what_a_process_runs_stays(session: Session) -> None:
    used = fill(session.lab.cache / "nessie" / "1-0123456789ab")
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, f"{used}/program"], stdin=subprocess.PIPE) as process:
        (item,) = operations.cache_contents(session)
        assert item.use == f"process {process.pid}"
        assert remove(session) == set()
        process.communicate(b"")
    assert remove(session) == {"nessie/1-0123456789ab"}


def test_what_is_being_made_stays(session: Session) -> None:
    staging = fill(session.lab.cache / "opa" / ".staging-1.0-0123456789ab-0123abcd", stamped=False)
    download = fill(session.lab.cache / "downloads" / "opa-1.0-0123456789ab", stamped=False)
    with FileLock(session.lab.cache / "opa" / ".1.0-0123456789ab.lock"):
        assert remove(session) == set()
        assert staging.exists()
        assert download.exists()
    assert len(remove(session)) == 2


def test_who_refuses_keeps_everything(session: Session) -> None:
    gone = fill(session.lab.cache / "trino" / "475-0123456789ab")

    def refuse(items: tuple[CacheItem, ...]) -> None:
        assert [item.name for item in items] == ["trino/475-0123456789ab"]
        raise UsageError("no")

    with pytest.raises(UsageError):
        operations.clean_cache(session, refuse)
    assert gone.exists()


def test_an_empty_cache_is_said_to_be_empty(session: Session) -> None:
    assert operations.cache_contents(session) == ()
    assert remove(session) == set()
