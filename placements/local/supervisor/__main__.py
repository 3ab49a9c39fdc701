"""``python -m placements.local.supervisor --home DIR``: supervises the services of one lab."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import logging.handlers
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from placements.local.supervisor.code_version import code_version
from placements.local.supervisor.manager import Manager
from placements.local.supervisor.options import Options
from placements.local.supervisor.paths import HomePaths
from placements.local.supervisor.server import ControlServer


def main() -> None:
    """Runs until asked to end. Ends at once when another supervisor has this home."""
    parser = argparse.ArgumentParser(prog="python -m placements.local.supervisor")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--detach", action="store_true", help="return at once and go on in the background")
    parser.add_argument("--options", type=Options.from_json, default=Options())
    arguments = parser.parse_args()
    paths = HomePaths(home=arguments.home.absolute())
    paths.prepare()
    # Kept open for the life of the process: the operating system lets go of the lock when it ends. Taken
    # before detaching, so that when the caller goes on it is settled which supervisor runs.
    with paths.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        if arguments.detach:
            _detach()
        _log_to(paths.log("supervisor"))
        asyncio.run(supervise(paths, arguments.options))


def _detach() -> None:
    """Leaves the caller's session and process tree, so that neither its end nor a signal to its group
    reaches the supervisor, and nobody waits for it."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=2**20, backupCount=2, encoding="utf-8")
    path.chmod(0o600)
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(message)s", force=True
    )


async def supervise(paths: HomePaths, options: Options) -> None:
    """Adopts, serves and waits to be asked to end (SIGTERM and SIGINT: stopping services in order)."""
    manager = Manager(paths, options)
    server = ControlServer(manager, paths, code_version())
    loop = asyncio.get_running_loop()
    # Probes of services that hang must not keep those of others waiting, on however few cores.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=32))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _ask_to_end, server)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    await manager.load()
    listener = await server.serve()
    logging.info("supervisor of %s is ready as process %d", paths.home, os.getpid())
    rotation = asyncio.create_task(manager.rotate_logs())
    stop_services = await server.shutdown
    await manager.close(stop_services=stop_services)
    rotation.cancel()
    paths.control.unlink(missing_ok=True)
    listener.close()
    logging.info("supervisor ended; services %s", "stopped" if stop_services else "go on")


def _ask_to_end(server: ControlServer) -> None:
    if not server.shutdown.done():
        server.shutdown.set_result(True)


if __name__ == "__main__":
    main()
