"""Drivers as processes of this machine.

They stay in the gateway's process group, so that whoever supervises the gateway ends them with it; and
each carries a marker, by which the next gateway finds and ends what was left even so. All run as the
gateway's own operating-system account, which is the boundary between them and this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

from spark_gateway.client import Program
from spark_gateway.drivers import LaunchPlan, command, properties_text
from spark_gateway.launcher import Driver, Launch, LaunchError
from spark_gateway.run_folders import log_of, make_folder, read_log, remove, tail, write_private

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 8.0
ARCHIVE_TIMEOUT_S = 90.0
_POLL_S = 0.1
MARKER = "LAB_SPARK_RUN"
"""Environment variable of every process of a run: the run's folder."""
_PROPERTIES = "spark.properties"
_CLASSES = "classes.jsa"


class LocalDriver:
    """A driver that runs as a process. ``archive``: where the class data that it leaves at its end goes,
    None when it leaves none."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, port: int | None, archive: Path | None
    ) -> None:
        self._process, self._folder, self._port, self._archive = process, folder, port, archive
        self._stopping = asyncio.Lock()
        self._killed = False
        # Awaited by several; what is left is cleared up once.
        self._process_end = asyncio.create_task(process.wait())
        self._end = asyncio.create_task(self._clear_up())

    @property
    def address(self) -> tuple[str, int] | None:
        """Loopback and the port."""
        return None if self._port is None else ("127.0.0.1", self._port)

    async def ready(self) -> None:
        """Returns once its port takes connections."""
        assert self.address is not None  # noqa: S101 - asked of Connect servers only
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            if self._process.returncode is not None:
                code = self._process.returncode
                raise LaunchError(
                    f"Spark ended with {code} before it was ready:\n{tail(self._folder)}",
                    next_command="lab spark logs",
                )
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(*self.address)
                writer.close()
                return
            await asyncio.sleep(_POLL_S)
        raise LaunchError(
            f"Spark was not ready within {READY_TIMEOUT_S:g} s:\n{tail(self._folder)}",
            next_command="lab spark logs",
        )

    async def ended(self) -> int:
        """Waits for its end."""
        return await asyncio.shield(self._end)

    async def stop(self, *, hurried: bool = False) -> None:
        """Ends the process and its descendants. Unless hurried, one that leaves class data has time to."""
        patience_s = STOP_TIMEOUT_S if hurried or self._archive is None else ARCHIVE_TIMEOUT_S
        async with self._stopping:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.terminate()
                try:
                    await asyncio.wait_for(asyncio.shield(self._process_end), patience_s)
                except TimeoutError:
                    self._killed = True
                    with contextlib.suppress(ProcessLookupError):
                        self._process.kill()
            await self.ended()

    async def _clear_up(self) -> int:
        code = await asyncio.shield(self._process_end)
        left = self._folder / _CLASSES
        if self._archive is not None and not self._killed and code != -signal.SIGKILL and left.exists():
            with contextlib.suppress(OSError):  # a start without it is slower, nothing else
                await asyncio.to_thread(_keep, left, self._archive)
        await asyncio.to_thread(lambda: _kill(_marked(self._folder)))
        await asyncio.to_thread(_remove_traces, self._folder)
        return code


class LocalLauncher:
    """Starts drivers in folders of their own below ``runs_dir``.

    Args:
        plan: command line and environment, the same for all.
        defaults: properties that every driver has.
        cache_dir: keeps the class data that the first server leaves, with which the next start takes
            half the time.
    """

    def __init__(
        self, plan: LaunchPlan, defaults: Mapping[str, str], *, runs_dir: Path, cache_dir: Path
    ) -> None:
        self._plan, self._defaults, self._runs_dir = plan, defaults, runs_dir
        # Class data fit one Java and one class path (https://openjdk.org/jeps/350).
        digest = hashlib.sha256("\0".join([plan.java[0], *plan.classpath]).encode()).hexdigest()[:12]
        self._archive = cache_dir / f"classes-{digest}.jsa"
        runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def recover(self, keep: Collection[str]) -> None:
        """Ends what an earlier gateway left running, and removes what such runs had in hand."""
        await asyncio.to_thread(self._recover, keep)

    def _recover(self, keep: Collection[str]) -> None:
        _kill(_marked(self._runs_dir))
        for folder in self._runs_dir.iterdir():
            _remove_traces(folder)
            if folder.name not in keep:
                self.forget(folder.name)

    async def launch(self, launch: Launch) -> Driver:
        """Starts a process. Raises LaunchError."""
        port = free_port() if launch.connect_token is not None else None
        folder = self._runs_dir / launch.run_id
        try:
            properties_file = await asyncio.to_thread(self._prepare, folder, launch, port)
            leaves_classes = launch.program is None and not self._archive.exists()
            arguments = command(
                self._plan,
                options=(
                    f"-XX:ArchiveClassesAtExit={folder / _CLASSES}"
                    if leaves_classes
                    else f"-XX:SharedArchiveFile={self._archive}",
                ),
                folder=folder,
                properties_file=properties_file,
                program=launch.program,
            )
            environment = {
                **self._plan.environment,
                "HOME": str(folder / "tmp"),
                "TMPDIR": str(folder / "tmp"),
                "SPARK_LOCAL_DIRS": str(folder / "tmp"),
                MARKER: str(folder),
            }
            with log_of(folder).open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *arguments,
                    env=environment,
                    cwd=folder / "tmp",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    umask=0o077,
                )
        except OSError as error:
            await asyncio.to_thread(_remove_traces, folder)
            raise LaunchError(f"Spark can't be started: {error}", value=self._plan.java[0]) from error
        return LocalDriver(process, folder, port, self._archive if leaves_classes else None)

    def _prepare(self, folder: Path, launch: Launch, port: int | None) -> Path:
        make_folder(folder)
        (folder / "tmp").mkdir(mode=0o700)
        values = {
            **self._defaults,
            **launch.properties,
            "spark.sql.warehouse.dir": str(folder / "tmp" / "warehouse"),
        }
        if port is not None:
            values["spark.connect.grpc.binding.port"] = str(port)
        properties_file = folder / _PROPERTIES
        write_private(properties_file, properties_text(values).encode())
        if launch.program is not None:
            _write_program(folder, launch.program)
        return properties_file

    def program_file(self, run_id: str, name: str) -> Path | None:
        """None: a driver finds its files in its folder."""
        del run_id, name
        return None

    def log(self, run_id: str, offset: int, limit: int) -> bytes:
        """What the driver and its program wrote."""
        return read_log(self._runs_dir / run_id, offset, limit)

    def forget(self, run_id: str) -> None:
        """Removes the run's folder."""
        remove(self._runs_dir / run_id)


def free_port() -> int:
    """A loopback port that nobody listens on now. A driver that finds it taken nevertheless ends at once,
    since it tries no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_program(folder: Path, program: Program) -> None:
    for name, content in {program.file_name: program.content, **program.python_files}.items():
        write_private(folder / name, content)


def _marked(place: Path) -> list[psutil.Process]:
    """Processes that belong to the run with folder ``place``, or to any run below it. A marker in the
    environment finds also what left its parent and its process group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            folder = process.environ().get(MARKER)
            if folder is not None and Path(folder).is_relative_to(place):
                found.append(process)
    return found


def _kill(processes: list[psutil.Process]) -> None:
    """Ends at once those that are still the same processes, and waits until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=STOP_TIMEOUT_S)


def _keep(left: Path, archive: Path) -> None:
    """Puts class data where they are shared, which may be another disk, in one step."""
    partial = archive.with_name(f"{archive.name}.{left.parent.name}")
    try:
        shutil.copyfile(left, partial)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def _remove_traces(folder: Path) -> None:
    """Removes what a run that has ended no longer needs, its secrets first. Its log stays."""
    for name in (_PROPERTIES, _CLASSES):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tmp", ignore_errors=True)
