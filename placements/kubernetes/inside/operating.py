"""What the operator does to data services inside the cluster by ``kubectl``: a backup now, and putting one
back."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from contracts.errors import LabError
from placements.kubernetes.cluster import Cluster
from placements.kubernetes.inside.services import BACKUP_NAME, VOLUME_DIR
from placements.kubernetes.layout import FILES_DIR, PYTHON
from placements.local.foundation import postgres

POD = f"{postgres.SERVICE}-0"
_JOB_S, _START_S, _PAUSE_S = 6 * 3600.0, 600.0, 2.0


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How one waits; other ones in tests."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


WAITING = Waiting()


@dataclass(frozen=True, kw_only=True)
class Room:
    """How full the volume of a data service is; ``claim`` is the name of its claim."""

    claim: str
    total_bytes: int
    free_bytes: int

    @property
    def is_scarce(self) -> bool:
        """Whether less than a tenth is left, and whoever writes much may soon find none."""
        return self.free_bytes * 10 < self.total_bytes

    @property
    def is_used_up(self) -> bool:
        """Whether servers refuse to write, or soon will."""
        return self.free_bytes < max(_LEAST_BYTES, self.total_bytes // 100)


_LEAST_BYTES = 32 << 20
_ROOM = "import json, shutil, sys; print(json.dumps(shutil.disk_usage(sys.argv[1])))"


def room(cluster: Cluster, service: str) -> Room:
    """Asks the pod of a data service. Raises LabError when it does not run, or the cluster can't be asked."""
    pod, command = f"{service}-0", [PYTHON, "-c", _ROOM, str(VOLUME_DIR)]
    total, _, free = json.loads(cluster.run("exec", pod, f"--container={service}", "--", *command))
    return Room(claim=f"{VOLUME_DIR.name}-{pod}", total_bytes=total, free_bytes=free)


def run_backup(cluster: Cluster, name: str, waiting: Waiting = WAITING) -> dict[str, Any]:
    """Starts the schedule's job by hand, under ``name``, and gives what it says once it is done.

    Raises:
        LabError: it failed, with what it said last; or the cluster can't be asked.
    """
    job = f"{BACKUP_NAME}-{name}"
    cluster.run("create", "job", job, f"--from=cronjob/{BACKUP_NAME}")
    end = waiting.clock() + _JOB_S
    while True:
        status = json.loads(cluster.run("get", "job", job, "--output=json")).get("status") or {}
        done = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
        if done & {"Complete", "Failed"} or waiting.clock() > end:
            break
        waiting.sleep(_PAUSE_S)
    said = [line for line in cluster.run("logs", f"job/{job}", "--tail=20").splitlines() if line.strip()]
    if "Complete" not in done:
        raise LabError(
            "the backup failed",
            value=said[-1] if said else "it said nothing",
            permitted="room in the store's volume, and both data services running",
            next_command="lab doctor, then lab backup",
        )
    answer: dict[str, Any] = json.loads(said[-1])
    return answer


def send(cluster: Cluster, header: dict[str, Any], manifest: bytes, archive: Iterable[bytes]) -> None:
    """Unpacks a backup beside the running server's data, where it is compared with its manifest; nothing is
    in use of it yet. ``header`` as ``server.receive`` wants it.

    Raises:
        LabError: it did not arrive whole, or there is no room; nothing has changed.
    """
    receive = [PYTHON, str(FILES_DIR / "server.py"), "--receive", str(VOLUME_DIR)]
    command = [*cluster.command, "exec", "--stdin", POD, f"--container={postgres.SERVICE}", "--", *receive]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None  # noqa: S101 - both were asked for above
        assert process.stderr is not None  # noqa: S101 - both were asked for above
        try:
            process.stdin.write(json.dumps(header).encode() + b"\n" + manifest)
            for piece in archive:
                process.stdin.write(piece)
            process.stdin.close()
        except BrokenPipeError:
            # What it says tells why.
            with suppress(BrokenPipeError):
                process.stdin.close()
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise LabError(
            f"the backup was not restored: {said or f'exit code {process.returncode}'}",
            permitted="a whole backup, and room for it beside the data in the server's volume; nothing has "
            "changed",
            next_command="lab backup --list, then lab restore --at NAME",
        )


def take_into_use(cluster: Cluster, waiting: Waiting = WAITING) -> None:
    """Starts the server again, which takes the restored backup in the place of its data.

    Raises:
        LabError: it does not become ready; the data of before is in its volume, in the folder ``before``.
    """
    before = _pod(cluster).get("metadata", {}).get("uid")
    cluster.run("delete", "pod", POD, "--wait=false")
    end = waiting.clock() + _START_S
    while True:
        pod = _pod(cluster)
        conditions = (pod.get("status") or {}).get("conditions") or ()
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        if ready and pod["metadata"]["uid"] != before:
            return
        if waiting.clock() > end:
            raise LabError(
                "PostgreSQL does not become ready with the restored backup",
                value=POD,
                permitted="its data of before is kept in its volume, in the folder 'before'",
                next_command=" ".join([*cluster.command, "logs", POD]),
            )
        waiting.sleep(_PAUSE_S)


def _pod(cluster: Cluster) -> dict[str, Any]:
    """The server's pod; empty while there is none."""
    text = cluster.run("get", "pod", POD, "--ignore-not-found", "--output=json")
    found: dict[str, Any] = json.loads(text) if text.strip() else {}
    return found
