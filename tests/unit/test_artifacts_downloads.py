"""Downloads from a Maven repository and from a project's own hosts: broken off, gone on with, verified."""

from __future__ import annotations

import gc
import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import respx
from jgo.config import GlobalSettings

from contracts.errors import LabError
from contracts.versions import POLARIS
from placements.local.artifacts import ensure, entry_of, reachable
from placements.local.artifacts.maven import repositories, silent_repositories
from tests.unit.artifact_fakes import RecordingProgress, archive, tar_artifact

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
