"""One Trino of the lab's own version, without a lab: an Iceberg catalog that keeps whole metadata, on a local
folder. It asks nobody who may do what; for tests of what the engine does to files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from components.java import java_command, properties
from components.trino.properties import limits
from contracts.settings import cache_home
from contracts.workload import Layout
from governance.trino import TrinoClient
from placements.local.software import artifact_path, java_of, warm_dir

ROOT = Path(__file__).resolve().parents[2]
HEAP_MIB = 640
CATALOG = "lake"
_READY_S = 120.0


@dataclass(frozen=True, kw_only=True)
class TrinoAlone:
    """The server's URL and the folder its tables' files are in."""

    url: str
    warehouse: Path
    opened: ExitStack

    def http(self, user: str) -> httpx.Client:
        """As that user; closed when the server ends."""
        headers = {"X-Trino-User": user}
        made = httpx.Client(base_url=self.url, headers=headers, timeout=60.0, trust_env=False)
        return self.opened.enter_context(made)

    def client(self, user: str = "somebody") -> TrinoClient:
        """The same, for statements."""
        return TrinoClient(self.http(user), catalog=CATALOG, source="test")


@contextmanager
def trino_alone() -> Iterator[TrinoAlone]:
    """Starts it and ends it; its tables go with it."""
    with tempfile.TemporaryDirectory(prefix="lab-trino-") as name:
        folder = Path(name)
        for part in ("files/catalog", "data", "scratch", "warehouse"):
            (folder / part).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        layout = layout_of(folder, port)
        for file, content in _files(layout, folder / "warehouse", port).items():
            (folder / "files" / file).write_text(content, encoding="utf-8")
        log = folder / "log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                _command(layout), cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=out, stderr=out
            )
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url, process, log)
            with ExitStack() as opened:
                yield TrinoAlone(url=url, warehouse=folder / "warehouse", opened=opened)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def layout_of(folder: Path, port: int, *, scheme: str = "http", proxied: bool = False) -> Layout:
    """Of Trino as placement ``local`` has it in the cache, with its own files below ``folder``."""
    artifact, java = (artifact_path(one, cache_home(), ROOT) for one in ("trino", java_of("trino") or ""))
    warm = warm_dir("trino", artifact, cache_home())
    warm.mkdir(parents=True, exist_ok=True)
    return Layout(
        artifact_dir=PurePosixPath(artifact),
        files_dir=PurePosixPath(folder / "files"),
        data_dir=PurePosixPath(folder / "data"),
        scratch_dir=PurePosixPath(folder / "scratch"),
        python=sys.executable,
        source_dir=PurePosixPath(ROOT),
        cache_dir=PurePosixPath(warm),
        java_home=PurePosixPath(java),
        bind_address="127.0.0.1",
        ports={scheme: port},
        proxied=proxied,
    )


def _files(layout: Layout, warehouse: Path, port: int) -> dict[str, str]:
    return {
        "config.properties": properties(
            {
                "node.environment": "test",
                "node.id": "coordinator",
                "node.bind-ip": "127.0.0.1",
                "node.internal-address": "127.0.0.1",
                "coordinator": "true",
                "node-scheduler.include-coordinator": "true",
                "catalog.management": "static",
                "catalog.config-dir": layout.file("catalog"),
                "plugin.dir": f"{layout.artifact_dir}/plugin",
                "http-server.http.port": str(port),
                "discovery.uri": f"http://127.0.0.1:{port}",
                **limits(HEAP_MIB),
                # Small, so that a client that takes no more rows keeps the query from opening more files.
                "sink.max-buffer-size": "1MB",
                "exchange.max-buffer-size": "1MB",
            }
        ),
        "catalog/lake.properties": properties(
            {
                "connector.name": "iceberg",
                "iceberg.catalog.type": "TESTING_FILE_METASTORE",
                "hive.metastore.catalog.dir": "local:///",
                "fs.native-local.enabled": "true",
                "local.location": str(warehouse),
                "iceberg.expire-snapshots.min-retention": "1s",
                "iceberg.remove-orphan-files.min-retention": "1s",
                "parquet.writer.block-size": "16MB",
            }
        ),
        "catalog/tpch.properties": properties({"connector.name": "tpch"}),
        "log.properties": properties({"io.trino": "INFO"}),
    }


def _command(layout: Layout) -> list[str]:
    options = (
        "-Djdk.attach.allowAttachSelf=true",
        f"-Dconfig={layout.file('config.properties')}",
        f"-Dlog.levels-file={layout.file('log.properties')}",
    )
    return [
        *java_command(layout, heap_mib=HEAP_MIB, collector="-XX:+UseG1GC", options=options, archive="alone"),
        *("-cp", f"{layout.artifact_dir}/lib/*", "io.trino.server.TrinoServer"),
    ]


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            if '"starting":false' in httpx.get(f"{url}/v1/info", trust_env=False).text:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"Trino is not ready: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)
