"""Drivers as pods of a cluster, in a namespace where nothing else is.

A pod is made first and waits for its Secret; Secret and network policy are its own and go with it. So
whatever fails leaves a pod that never starts, and the next gateway deletes what this one left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from contracts.errors import LabError
from spark_gateway.cluster_api import ClusterApi, ClusterApiError, Manifest
from spark_gateway.drivers import CONNECT_PORT, LaunchPlan
from spark_gateway.executor_plan import driver_properties
from spark_gateway.launcher import Driver, FullError, Launch, LaunchError
from spark_gateway.pod_plan import CONTAINER, PodPlan, driver_pod, pod_name, run_policy, run_secret
from spark_gateway.pod_states import ended_by, exit_code, held_up, hopeless, over, phase
from spark_gateway.run_folders import log_of, make_folder, read_log, remove, tail, write_private

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 300.0
"""A node may have to come first, and its image."""
RECOVER_TIMEOUT_S = 60.0
STOP_S = 20
HURRIED_STOP_S = 5
"""What a driver gets to end by itself."""
PATIENCE_S = 8.0
"""After that, until its node says that it has ended."""
LOG_LIMIT_BYTES = 4 << 20
_LOG_END_S = 15.0
_PAUSE_S = 0.5
_CONNECT_S = 3.0
_PROGRAM = "program"


class PodDriver:
    """A driver that runs as a pod, which was made. ``serves``: it is a Connect server."""

    def __init__(self, api: ClusterApi, pod: Manifest, folder: Path, *, serves: bool) -> None:
        self._api, self._pod, self._folder, self._serves = api, pod, folder, serves
        self._name = str(pod["metadata"]["name"])
        self._over = False
        self._said: str | None = None
        self._written = log_of(folder).stat().st_size
        self._stopping = asyncio.Lock()
        self._watching = asyncio.create_task(self._watch())
        self._end = asyncio.create_task(self._live())

    @property
    def address(self) -> tuple[str, int] | None:
        """The pod's own address, once it has one."""
        host = (self._pod.get("status") or {}).get("podIP")
        return (host, CONNECT_PORT) if self._serves and host else None

    async def ready(self) -> None:
        """Returns once its port takes connections. Raises LaunchError with what holds the pod up."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            if self._end.done():
                raise self._not_ready(f"Spark ended with {self._end.result()} before it was ready")
            if hopeless(self._pod):
                raise self._not_ready(f"Spark can't start: {held_up(self._pod)}")
            if phase(self._pod) == "Running" and self.address is not None:
                with contextlib.suppress(OSError, TimeoutError):
                    opening = asyncio.open_connection(*self.address)
                    _, writer = await asyncio.wait_for(opening, _CONNECT_S)
                    writer.close()
                    return
            await asyncio.sleep(_PAUSE_S / 2)
        reason = held_up(self._pod)
        why = f": {reason}" if reason else f", its pod is {phase(self._pod).lower()}"
        raise self._not_ready(f"Spark was not ready within {READY_TIMEOUT_S:g} s{why}")

    def _not_ready(self, what: str) -> LaunchError:
        shown = tail(self._folder)
        return LaunchError(f"{what}:\n{shown}" if shown else what, next_command="lab spark logs")

    async def ended(self) -> int:
        """Waits for its end; ``KILLED`` for a driver that went with its pod."""
        return await asyncio.shield(self._end)

    async def stop(self, *, hurried: bool = False) -> None:
        """Deletes the pod; returns when its driver has ended, or its node does not say for too long."""
        grace_s = HURRIED_STOP_S if hurried else STOP_S
        async with self._stopping:
            if not self._end.done():
                await self._delete(grace_s)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self._end), grace_s + PATIENCE_S)
            if not self._end.done():
                # A node that is lost never says so.
                await self._delete(0)
                self._watching.cancel()
            await self.ended()

    async def _delete(self, grace_s: int) -> None:
        try:
            await self._api.delete_pod(self._name, grace_s=grace_s)
        except ClusterApiError as error:
            # The next gateway finds it by its labels.
            log.error("pod %s can't be deleted: %s", self._name, error.what)

    async def _live(self) -> int:
        """The driver's life: its output is kept while it runs, and its pod goes when it has ended."""
        following = asyncio.create_task(self._follow())
        await asyncio.wait({self._watching})
        self._over = True
        await asyncio.wait({following}, timeout=_LOG_END_S)
        following.cancel()
        await asyncio.wait({following})
        if (reason := ended_by(self._pod, CONTAINER)) is not None:
            self._write(f"{reason}\n".encode())
        await self._delete(HURRIED_STOP_S)
        await asyncio.to_thread(shutil.rmtree, self._folder / _PROGRAM, ignore_errors=True)
        return exit_code(self._pod, CONTAINER)

    async def _watch(self) -> None:
        """Keeps ``_pod`` as the cluster has it, until the pod is over or gone."""
        while True:
            try:
                found = await self._api.pod(self._name)
                if found is None:
                    return
                self._see(found)
                if over(found):
                    return
                async for state, deleted in self._api.changes(found):
                    self._see(state)
                    if deleted or over(state):
                        return
            except (ClusterApiError, ValueError) as error:
                log.warning("pod %s can't be watched: %s", self._name, error)
                await asyncio.sleep(_PAUSE_S)

    def _see(self, pod: Manifest) -> None:
        self._pod = pod
        reason = held_up(pod)
        if reason is not None and reason != self._said:
            self._write(f"{reason}\n".encode())
        self._said = reason

    async def _follow(self) -> None:
        """Keeps what the driver says: it goes with the pod. Lines carry the time at which they were said, so
        that those which come a second time after an interruption are known."""
        last = ""
        while True:
            final = self._over
            if not final and phase(self._pod) == "Pending":
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                async for line in self._api.log_lines(self._name, CONTAINER, last):
                    said_at, _, text = line.partition(b" ")
                    stamp = said_at.decode(errors="replace")
                    if stamp > last:
                        last = stamp
                        self._write(text)
            except ClusterApiError:
                pass  # it has not started, or the connection broke, or it is gone
            if final:
                return
            await asyncio.sleep(_PAUSE_S)

    def _write(self, text: bytes) -> None:
        room = LOG_LIMIT_BYTES - self._written
        if room <= 0:
            return
        cut = b"" if len(text) <= room else f"\nno more than {LOG_LIMIT_BYTES} bytes are kept\n".encode()
        try:
            with log_of(self._folder).open("ab") as file:
                file.write(text[:room] + cut)
        except OSError as error:
            # Whatever becomes of its output, the run goes on.
            log.warning("output of pod %s can't be kept: %s", self._name, error)
        self._written += len(text)


class PodLauncher:
    """Starts drivers as pods; keeps their logs and a job's files below ``runs_dir``.

    Args:
        plan: what the placement says of pods.
        launches: command line and environment, the same for all.
        defaults: properties that every driver has.
    """

    def __init__(
        self,
        plan: PodPlan,
        launches: LaunchPlan,
        defaults: Mapping[str, str],
        *,
        runs_dir: Path,
        api: ClusterApi,
    ) -> None:
        self._plan, self._launches, self._defaults, self._runs_dir = plan, launches, defaults, runs_dir
        self._api = api
        runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def recover(self, keep: Collection[str]) -> None:
        """Deletes the pods that an earlier gateway left. Raises LaunchError when the cluster can't be asked
        for a minute."""
        for folder in self._runs_dir.iterdir():
            await asyncio.to_thread(shutil.rmtree, folder / _PROGRAM, ignore_errors=True)
            if folder.name not in keep:
                self.forget(folder.name)
        deadline = asyncio.get_running_loop().time() + RECOVER_TIMEOUT_S
        while True:
            trouble: ClusterApiError | None = None
            try:
                left = await self._api.pods(self._plan.labels)
                for pod in left:
                    if "deletionTimestamp" not in pod["metadata"]:
                        log.info("pod %s was left: it is deleted", pod["metadata"]["name"])
                        await self._api.delete_pod(pod["metadata"]["name"], grace_s=HURRIED_STOP_S)
                if not left:
                    return
            except ClusterApiError as error:
                trouble = error
            if asyncio.get_running_loop().time() > deadline:
                if trouble is not None:
                    raise LaunchError(
                        f"it can't be asked which drivers were left: {trouble.what}",
                        next_command="lab doctor",
                    ) from trouble
                # A node that is lost never says that they have ended.
                log.warning("pods that were left are still being deleted")
                return
            await asyncio.sleep(_PAUSE_S)

    async def launch(self, launch: Launch) -> Driver:
        """Makes a pod and what belongs to it.

        Raises:
            LaunchError: the cluster refuses or does not answer.
            FullError: its quota leaves no room.
        """
        folder, made = self._runs_dir / launch.run_id, False
        try:
            await asyncio.to_thread(_prepare, folder, launch)
            made = True
            pod = await self._api.create("pods", driver_pod(self._plan, self._launches, launch))
            defaults = {**self._defaults, **driver_properties(self._plan, self._launches, launch.run_id)}
            await self._api.create("secrets", run_secret(self._plan, defaults, launch, pod))
            await self._api.create("networkpolicies", run_policy(self._plan, launch.run_id, pod))
        except BaseException as error:
            if made:
                await asyncio.shield(self._discard(launch.run_id))
            if isinstance(error, ClusterApiError):
                raise _refused(error) from error
            if isinstance(error, OSError):
                raise LaunchError(f"the run's files can't be kept: {error}", value=str(folder)) from error
            raise
        return PodDriver(self._api, pod, folder, serves=launch.program is None)

    async def _discard(self, run_id: str) -> None:
        """Nothing is left of a run that could not be started, whatever of it was made."""
        with contextlib.suppress(ClusterApiError):
            await self._api.delete_pod(pod_name(run_id), grace_s=HURRIED_STOP_S)
        await asyncio.to_thread(shutil.rmtree, self._runs_dir / run_id / _PROGRAM, ignore_errors=True)

    def program_file(self, run_id: str, name: str) -> Path | None:
        """A file of a job that has not ended."""
        folder = self._runs_dir / run_id / _PROGRAM
        return next((path for path in folder.glob("*") if path.name == name), None)

    def log(self, run_id: str, offset: int, limit: int) -> bytes:
        """What the driver and its program wrote, and why its pod did not start."""
        return read_log(self._runs_dir / run_id, offset, limit)

    def forget(self, run_id: str) -> None:
        """Removes the run's folder."""
        remove(self._runs_dir / run_id)


def _prepare(folder: Path, launch: Launch) -> None:
    make_folder(folder)
    if launch.program is None:
        return
    (folder / _PROGRAM).mkdir(mode=0o700)
    files = {launch.program.file_name: launch.program.content, **launch.program.python_files}
    for name, content in files.items():
        write_private(folder / _PROGRAM / name, content)


def _refused(error: ClusterApiError) -> LabError:
    if error.status == 403 and "exceeded quota" in error.what:
        return FullError(
            "the quota of Spark's namespace leaves no room for another driver",
            value=error.what.partition("exceeded quota: ")[2],
            permitted="as many drivers side by side as sparkMaxRuns says",
            next_command="lab spark stop, lab spark kill, or later again",
        )
    return LaunchError(
        f"the cluster makes no pod for Spark: {error.what}", value=error.value, next_command="lab doctor"
    )
