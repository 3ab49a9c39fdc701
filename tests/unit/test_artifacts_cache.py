"""The artifact cache: what is fetched again, what is not, and what is never left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from contracts.errors import LabError, PreflightError
from contracts.versions import POLARIS, MavenArtifact
from placements.local.artifacts import (
    Cancellation,
    Cancelled,
    FetchOptions,
    ensure,
    ensure_all,
    entry_of,
    require_room,
)
from placements.local.artifacts import missing as missing_artifacts
from placements.local.artifacts.store import STAMP
from tests.unit.artifact_fakes import FakeSource, RecordingProgress, archive, tar_artifact

CONTENT = archive([("sample-1.0/bin/tool", b"tool"), ("sample-1.0/lib/a.jar", b"jar")])
ARTIFACT = tar_artifact(CONTENT)
DAMAGED = CONTENT[:-1] + b"?"


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placements.local.artifacts.maven._BACKOFF_S", 0.0)


def fetch(
    cache: Path, source: FakeSource, *, verify: bool = False, refetch: bool = False
) -> tuple[Path, RecordingProgress]:
    progress = RecordingProgress()
    options = FetchOptions(maven=source, verify=verify, refetch=refetch)
    return ensure(ARTIFACT, cache, progress, options=options), progress


def leftovers(cache: Path) -> list[str]:
    return [
        path.relative_to(cache).as_posix()
        for path in cache.rglob("*")
        if path.name.startswith((".staging", ".removed")) or "partial" in path.parts
    ]


def test_installs_once_and_then_touches_nothing(tmp_path: Path) -> None:
    source = FakeSource(CONTENT)
    path, progress = fetch(tmp_path, source)
    assert (path / "bin/tool").read_bytes() == b"tool"
    assert progress.kinds()[0] == "start"
    assert ("start", "sample", len(CONTENT)) in progress.events
    assert sum(n for kind, _, n in progress.events if kind == "advance" and isinstance(n, int)) == len(
        CONTENT
    )
    assert progress.kinds()[-1] == "done"

    again, silent = fetch(tmp_path, source)
    assert again == path
    assert silent.events == []
    assert source.calls == 1
    assert leftovers(tmp_path) == []
    assert not entry_of(ARTIFACT, tmp_path).downloads.exists()


def test_other_users_can_run_what_is_installed(tmp_path: Path) -> None:
    path, _ = fetch(tmp_path, FakeSource(CONTENT))
    assert path.stat().st_mode & 0o055 == 0o055
    assert (path / "lib/a.jar").stat().st_mode & 0o044 == 0o044


def test_wrong_checksum_is_fetched_again(tmp_path: Path) -> None:
    source = FakeSource(DAMAGED, CONTENT)
    path, _ = fetch(tmp_path, source)
    assert source.calls == 2
    assert (path / "lib/a.jar").read_bytes() == b"jar"


def test_wrong_checksum_twice_is_refused_and_nothing_is_installed(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not what was recorded") as caught:
        fetch(tmp_path, FakeSource(DAMAGED))
    assert ARTIFACT.files[None].sha256 in str(caught.value)
    assert caught.value.next_command == "lab doctor"
    assert missing_artifacts([ARTIFACT], tmp_path) == [ARTIFACT]
    assert leftovers(tmp_path) == []


def test_broken_connection_is_tried_again_and_then_explained(tmp_path: Path) -> None:
    source = FakeSource(requests.ConnectionError("cut"), CONTENT)
    fetch(tmp_path / "a", source)
    assert source.calls == 2
    progress = RecordingProgress()
    options = FetchOptions(maven=FakeSource(requests.ConnectionError("cut")))
    with pytest.raises(LabError, match="could not be reached") as caught:
        ensure(ARTIFACT, tmp_path / "b", progress, options=options)
    assert "HTTPS_PROXY" in str(caught.value)
    assert progress.kinds()[-1] == "failed"


def test_file_no_repository_serves_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        fetch(tmp_path, FakeSource(RuntimeError("not found")))
    assert caught.value.value == "org.example:sample:1.0:tar.gz"


@pytest.mark.parametrize("damage", ["truncated", "removed", "no stamp", "broken stamp", "foreign stamp"])
def test_damage_that_shows_at_a_glance_is_repaired_on_the_next_use(tmp_path: Path, damage: str) -> None:
    source = FakeSource(CONTENT)
    path, _ = fetch(tmp_path, source)
    stamp = path / STAMP
    if damage == "truncated":
        (path / "lib/a.jar").write_bytes(b"j")
    elif damage == "removed":
        (path / "lib/a.jar").unlink()
    elif damage == "no stamp":
        stamp.unlink()
    elif damage == "broken stamp":
        stamp.write_text("{")
    else:
        stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"fingerprint": "0" * 64}))
    fetch(tmp_path, source)
    assert source.calls == 2
    assert (path / "lib/a.jar").read_bytes() == b"jar"
    assert leftovers(tmp_path) == []


def test_changed_content_of_equal_size_is_found_by_verify_only(tmp_path: Path) -> None:
    source = FakeSource(CONTENT)
    path, _ = fetch(tmp_path, source)
    (path / "lib/a.jar").write_bytes(b"bad")
    fetch(tmp_path, source)
    assert source.calls == 1
    assert missing_artifacts([ARTIFACT], tmp_path, verify=True) == [ARTIFACT]
    fetch(tmp_path, source, verify=True)
    assert source.calls == 2
    assert (path / "lib/a.jar").read_bytes() == b"jar"


def test_refetch_replaces_what_is_intact(tmp_path: Path) -> None:
    source = FakeSource(CONTENT)
    path, _ = fetch(tmp_path, source)
    (path / "extra").write_text("left by a service")
    fetch(tmp_path, source, refetch=True)
    assert source.calls == 2
    assert not (path / "extra").exists()


def test_archive_left_by_an_interrupted_installation_is_used_when_whole(tmp_path: Path) -> None:
    entry = entry_of(ARTIFACT, tmp_path)
    entry.downloads.mkdir(parents=True)
    kept = entry.downloads / f"{ARTIFACT.files[None].sha256}.tar.gz"
    kept.write_bytes(CONTENT)
    source = FakeSource(CONTENT)
    fetch(tmp_path, source)
    assert source.calls == 0

    shutil.rmtree(entry.path)
    entry.downloads.mkdir()
    kept.write_bytes(CONTENT[:-5])
    fetch(tmp_path, source)
    assert source.calls == 1


def test_too_little_space_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int = 1000
        used: int = 990
        free: int = 10

    monkeypatch.setattr("placements.local.artifacts.store.shutil.disk_usage", lambda _: Usage())
    source = FakeSource(CONTENT)
    with pytest.raises(PreflightError, match="too little free space"):
        fetch(tmp_path, source)
    with pytest.raises(PreflightError, match="too little free space"):
        ensure_all([ARTIFACT], tmp_path, RecordingProgress(), options=FetchOptions(maven=source))
    assert source.calls == 0
    with pytest.raises(PreflightError, match="too little free space"):
        require_room([ARTIFACT], tmp_path / "not yet" / "there")


def test_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="can't be written") as caught:
        fetch(tmp_path / "file" / "cache", FakeSource(CONTENT))
    assert caught.value.value == str(tmp_path / "file" / "cache")


def test_distribution_without_recorded_checksum_is_refused(tmp_path: Path) -> None:
    assert POLARIS.sha512 is None
    with pytest.raises(LabError) as caught:
        ensure(POLARIS, tmp_path, RecordingProgress())
    assert caught.value.next_command == "lab images lock"


def test_several_are_fetched_and_the_first_failure_stops_the_rest(tmp_path: Path) -> None:
    other = tar_artifact(CONTENT, name="other")
    options = FetchOptions(maven=FakeSource(CONTENT))
    paths = ensure_all([ARTIFACT, other], tmp_path, RecordingProgress(), options=options)
    assert {name: path.parent.name for name, path in paths.items()} == {"sample": "sample", "other": "other"}

    class Blocking(FakeSource):
        def fetch(self, artifact: MavenArtifact, *rest: object) -> Path:
            if artifact.name == "sample":
                raise RuntimeError("not served")
            stop.sleep(30.0)
            raise AssertionError("was not stopped")

    stop = Cancellation()
    began = time.monotonic()
    with pytest.raises(LabError, match="no configured Maven repository serves sample"):
        ensure_all(
            [other, ARTIFACT],
            tmp_path / "second",
            RecordingProgress(),
            options=FetchOptions(maven=Blocking(), cancellation=stop),
        )
    assert time.monotonic() - began < 10.0
    assert leftovers(tmp_path / "second") == []


def test_cancelling_ends_a_download(tmp_path: Path) -> None:
    stop = Cancellation()
    stop.cancel()
    with pytest.raises(Cancelled):
        ensure(
            ARTIFACT,
            tmp_path,
            RecordingProgress(),
            options=FetchOptions(maven=FakeSource(CONTENT), cancellation=stop),
        )
    assert leftovers(tmp_path) == []


INSTALLER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from placements.local.artifacts import FetchOptions, SilentProgress, ensure
    from tests.unit.artifact_fakes import FakeSource
    from tests.unit.test_artifacts_cache import ARTIFACT, CONTENT

    class Slow(FakeSource):
        def fetch(self, *arguments):
            with open(sys.argv[2], "a") as log:
                log.write("fetch\\n")
            time.sleep(float(sys.argv[3]))
            return super().fetch(*arguments)

    options = FetchOptions(maven=Slow(CONTENT))
    path = ensure(ARTIFACT, Path(sys.argv[1]), SilentProgress(), options=options)
    print((path / "bin/tool").read_text())
    """
)


def installer(cache: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", INSTALLER, str(cache), str(log), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_two_processes_fetch_one_artifact_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [installer(tmp_path / "cache", log, 0.5) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert outputs == ["tool", "tool"]
    assert log.read_text() == "fetch\n"


def test_killed_installation_leaves_nothing_that_looks_installed(tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    with installer(cache, log, 60.0) as process:
        deadline = time.monotonic() + 30.0
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert missing_artifacts([ARTIFACT], cache) == [ARTIFACT]
    source = FakeSource(CONTENT)
    fetch(cache, source)
    assert source.calls == 1
    assert leftovers(cache) == []


def test_staging_folder_of_a_killed_installation_is_removed(tmp_path: Path) -> None:
    entry = entry_of(ARTIFACT, tmp_path)
    stale = entry.path.parent / f".staging-{entry.path.name}-0000"
    stale.mkdir(parents=True)
    (stale / "half").write_text("x")
    fetch(tmp_path, FakeSource(CONTENT))
    assert not stale.exists()
