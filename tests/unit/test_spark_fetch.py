"""A job's files, fetched into its pod from the gateway."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from spark_gateway.fetch import fetch, main
from spark_gateway.local import free_port

CONTENT = b"print(1)\n" * 100_000


class _Gateway(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        shown = "Basic " + base64.b64encode(b"r1:secret").decode()
        known = self.headers["Authorization"] == shown and self.path.startswith("/v1/files/")
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(CONTENT) if known else 0))
        self.end_headers()
        if known:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/files"
    server.shutdown()
    thread.join()
    server.server_close()


def credential(folder: Path, text: str = "r1:secret") -> str:
    path = folder / "credential"
    path.write_text(text)
    return str(path)


def test_every_file_comes_whole(url: str, tmp_path: Path) -> None:
    assert main(url, credential(tmp_path), str(tmp_path), "job.py", "more.zip") == 0
    assert (tmp_path / "job.py").read_bytes() == (tmp_path / "more.zip").read_bytes() == CONTENT


def test_a_refusal_is_said_and_the_secret_is_not(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(url, credential(tmp_path, "r1:wrong-secret"), str(tmp_path), "job.py") == 1
    said = capsys.readouterr().err
    assert "the job's files can't be fetched from" in said
    assert "401" in said
    assert "wrong-secret" not in said


def test_a_gateway_that_stays_away_is_an_error(tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}/v1/files"
    with pytest.raises(httpx.ConnectError):
        fetch(gone, "r1:secret", tmp_path, ["job.py"], attempts=0)
