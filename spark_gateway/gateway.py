"""What the gateway does, apart from HTTP: one server a user, jobs, and their identities."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hmac
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import LabError
from contracts.identity import Audience
from governance.governor.auth import ForbiddenError, UnauthenticatedError
from spark_gateway.admission import Door
from spark_gateway.client import Job, LogPart, Program, RunState, ServerConnection, ServerStatus
from spark_gateway.identity import AccessToken, Identity, Keycloak, ShownToken
from spark_gateway.jobs import JobStore, lost
from spark_gateway.launcher import Driver, FullError, Launch, Launcher, LaunchError
from spark_gateway.programs import check_program
from spark_gateway.proxy import ConnectProxy, Route

log = logging.getLogger(__name__)

LOG_PART_BYTES = 1 << 18


class NoSuchRunError(LabError):
    """The caller has no such server or job (404)."""


@dataclass(kw_only=True)
class Run:
    """One driver and the identity it has. ``secret`` is all that the driver itself is given."""

    id: str
    sign_in: Identity
    secret: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    driver: Driver | None = None
    stopping: str | None = None
    """Why it is being stopped, once it is."""
    watch: asyncio.Task[None] | None = None

    @property
    def username(self) -> str:
        return self.sign_in.username

    @property
    def credential(self) -> str:
        """Identifier and secret, as clients of OAuth2 have them."""
        return f"{self.id}:{self.secret}"


@dataclass(kw_only=True)
class Server:
    """A user's Connect server. ``route`` None: it has not started yet."""

    run: Run
    connect_token: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    route: Route | None = None
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """``max_runs`` drivers side by side; a server whose clients are silent for ``idle_s`` is stopped."""

    max_runs: int
    idle_s: float


class Gateway:
    """The use cases. One event loop; every method but :meth:`close` may be called concurrently.

    Args:
        proxy: what clients of all servers connect to; opened and closed with the gateway.
        connect_url: where they find it.
        catalog: the name of the Iceberg catalog in Spark.
    """

    def __init__(
        self,
        *,
        launcher: Launcher,
        keycloak: Keycloak,
        door: Door,
        store: JobStore,
        limits: Limits,
        proxy: ConnectProxy,
        connect_url: str,
        catalog: str,
        spark_version: str,
    ) -> None:
        self._launcher, self._keycloak, self._door, self._store = launcher, keycloak, door, store
        self._limits, self._proxy, self._connect_url = limits, proxy, connect_url
        self._catalog, self._spark_version = catalog, spark_version
        self._runs: dict[str, Run] = {}
        self._servers: dict[str, Server] = {}
        self._last_server: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Mends what an earlier gateway left, watches for idle servers, and at the end stops all drivers."""
        await self._launcher.recover(self._store.ids())
        for job in self._store.unfinished():
            self._store.put(lost(job))
        await self._proxy.open()
        idle = asyncio.create_task(self._stop_idle())
        try:
            yield
        finally:
            idle.cancel()
            await self.close()

    async def close(self) -> None:
        """Stops all drivers."""
        self._closing = True
        await asyncio.gather(
            *(self._end(run, "the gateway was stopped", hurried=True) for run in list(self._runs.values())),
            return_exceptions=True,
        )
        await self._proxy.close()

    # --- servers -------------------------------------------------------------------------------------

    async def connect(self, username: str, subject_token: str) -> ServerConnection:
        """The user's server, started when there is none; returns once it takes connections.

        Raises:
            NotAdmittedError, FullError, LaunchError, and what identity and door raise.
        """
        sign_in = await self._admitted(username, subject_token)
        async with self._locks.setdefault(username, asyncio.Lock()):
            server = self._servers.get(username)
            if server is None or server.route is None:
                server = await self._start_server(sign_in)
            else:
                # The sign-in that lasts longest is the newest.
                server.run.sign_in = sign_in
                server.route.touch()
            return ServerConnection(
                url=self._connect_url,
                token=server.connect_token,
                server=self._status(server),
            )

    def server(self, username: str) -> ServerStatus | None:
        """The user's server."""
        server = self._servers.get(username)
        return None if server is None else self._status(server)

    async def stop_server(self, username: str) -> bool:
        """Stops the user's server. Returns whether there was one."""
        server = self._servers.get(username)
        if server is None:
            return False
        await self._end(server.run, "its user stopped it", hurried=True)
        return True

    def server_log(self, username: str, offset: int) -> LogPart:
        """A part of the log of the user's server, the one that runs or the last."""
        run_id = self._last_server.get(username)
        if run_id is None:
            raise NoSuchRunError(
                f"{username!r} has had no Spark server since the gateway started",
                next_command="lab spark shell",
            )
        return self._log(run_id, offset, ended=run_id not in self._runs)

    async def _start_server(self, sign_in: Identity) -> Server:
        server = Server(run=self._new_run(sign_in))
        run = server.run
        self._servers[run.username] = server
        before = self._last_server.get(run.username)
        if before is not None and before not in self._runs:
            self._launcher.forget(before)
        self._last_server[run.username] = run.id
        try:
            launch = Launch(
                run_id=run.id,
                properties={
                    **self._credentials(run),
                    "spark.app.name": f"connect-{run.username}",
                    "spark.connect.authenticate.token": server.connect_token,
                },
                connect_token=server.connect_token,
                credential=run.credential,
            )
            driver = await self._launch(run, launch)
            await driver.ready()
            if driver.address is None:
                raise LaunchError("the launcher gave a Connect server no address")
            server.route = self._proxy.add(server.connect_token, driver.address)
        except BaseException:
            await self._end(run, "it did not start")
            raise
        log.info("server %s of %s is ready", run.id, run.username)
        return server

    def _status(self, server: Server) -> ServerStatus:
        return ServerStatus(
            username=server.run.username,
            state=RunState.STARTING if server.route is None else RunState.RUNNING,
            started_at=server.started_at,
            idle_s=0.0 if server.route is None else server.route.idle_s,
            idle_limit_s=self._limits.idle_s,
            spark_version=self._spark_version,
        )

    async def _stop_idle(self) -> None:
        while True:
            await asyncio.sleep(min(15.0, self._limits.idle_s / 4))
            for server in list(self._servers.values()):
                if server.route is not None and server.route.idle_s > self._limits.idle_s:
                    self._end_later(server.run, f"its clients were silent for {self._limits.idle_s:g} s")

    # --- jobs ----------------------------------------------------------------------------------------

    async def submit(self, username: str, subject_token: str, program: Program) -> Job:
        """Starts a job.

        Raises:
            UsageError: a file's name is not permitted, or a jar has no main class.
            NotAdmittedError, FullError, LaunchError, and what identity and door raise.
        """
        check_program(program)
        run = self._new_run(await self._admitted(username, subject_token))
        job = Job(
            id=run.id,
            username=username,
            file_name=program.file_name,
            arguments=program.arguments,
            state=RunState.RUNNING,
            submitted_at=time.time(),
        )
        launch = Launch(
            run_id=run.id,
            properties={**self._credentials(run), "spark.app.name": program.file_name},
            program=program,
            credential=run.credential,
        )
        self._store.put(job)
        try:
            await self._launch(run, launch)
        except BaseException as error:
            self._finish_job(job, None, reason=f"it did not start: {error}")
            raise
        for old in self._store.surplus(username):
            self._launcher.forget(old.id)
            self._store.remove(old)
        return job

    def jobs(self, username: str) -> tuple[Job, ...]:
        """The user's jobs, newest first."""
        return self._store.of(username)

    def job(self, username: str, job_id: str) -> Job:
        """One of the user's jobs. Raises NoSuchRunError."""
        job = self._store.get(username, job_id)
        if job is None:
            raise NoSuchRunError(
                f"{username!r} has no job {job_id!r}",
                value=job_id,
                permitted=", ".join(j.id for j in self._store.of(username)[:10]) or None,
                next_command="lab spark jobs",
            )
        return job

    def show(self, username: str, job_id: str, token: str) -> None:
        """Its user asks for a job with this token: one whose identity lasts no longer than what was shown
        goes on with it."""
        run = self._runs.get(self.job(username, job_id).id)
        if run is not None and isinstance(run.sign_in, ShownToken):
            run.sign_in.show(token)

    async def kill(self, username: str, job_id: str) -> Job:
        """Ends a job; one that has ended stays as it is."""
        job = self.job(username, job_id)
        run = self._runs.get(job.id)
        if run is not None:
            await self._end(run, "its user killed it")
        return self.job(username, job_id)

    def job_log(self, username: str, job_id: str, offset: int) -> LogPart:
        """A part of a job's output."""
        job = self.job(username, job_id)
        return self._log(job.id, offset, ended=job.state.ended)

    def _finish_job(self, job: Job, code: int | None, *, reason: str | None) -> None:
        if code == 0:
            state, reason = RunState.SUCCEEDED, None
        elif reason is not None and code is not None:
            state = RunState.KILLED
        else:
            state = RunState.FAILED
            reason = reason or f"it ended with {f'signal {-code}' if code and code < 0 else code}"
        self._store.put(
            dataclasses.replace(job, state=state, ended_at=time.time(), exit_code=code, reason=reason)
        )

    # --- identities ----------------------------------------------------------------------------------

    async def catalog_token(self, run_id: str, secret: str) -> AccessToken:
        """A token for the catalog, asked for by the driver ``run_id``: it starts with one, and comes again
        before that one ends. Who may no longer use Spark gets none, and loses the driver.

        Raises:
            UnauthenticatedError: there is no such run, it is being stopped, or this is not its secret.
            ForbiddenError, UnavailableError, IdentityUnavailableError.
        """
        run = self._running(run_id, secret)
        try:
            await self._door.admit(run.sign_in)
            return await run.sign_in.token(Audience.CATALOG)
        except ForbiddenError as error:
            self._end_later(run, error.what)
            raise

    def program_file(self, run_id: str, secret: str, name: str) -> Path:
        """A file of the program of the driver ``run_id``, which asks for it.

        Raises:
            UnauthenticatedError: as :meth:`catalog_token`.
            NoSuchRunError: its program has no such file.
        """
        found = self._launcher.program_file(self._running(run_id, secret).id, name)
        if found is None:
            raise NoSuchRunError(f"the program of {run_id} has no such file", value=name)
        return found

    def run_of(self, run_id: str, secret: str, *, ending: bool = False) -> str:
        """The run whose credential this is, with ``ending`` also one that is being stopped. Raises
        UnauthenticatedError."""
        return self._running(run_id, secret, ending=ending).id

    def _running(self, run_id: str, secret: str, *, ending: bool = False) -> Run:
        run = self._runs.get(run_id)
        # Compared in any case, so that the time taken does not tell which runs there are.
        expected = run.secret if run is not None else secrets.token_urlsafe(32)
        known = hmac.compare_digest(expected.encode(), secret.encode())
        if run is None or not known or (run.stopping is not None and not ending):
            raise UnauthenticatedError("these are not the credentials of a running driver", value=run_id)
        return run

    async def _admitted(self, username: str, subject_token: str) -> Identity:
        sign_in = await self._keycloak.identity(username, subject_token)
        await self._door.admit(sign_in)
        return sign_in

    def _credentials(self, run: Run) -> dict[str, str]:
        """Iceberg's, for the gateway's own token endpoint."""
        return {f"spark.sql.catalog.{self._catalog}.credential": run.credential}

    # --- runs ----------------------------------------------------------------------------------------

    def _new_run(self, sign_in: Identity) -> Run:
        if self._closing:
            raise LaunchError("the gateway is being stopped")
        if len(self._runs) >= self._limits.max_runs:
            raise FullError(
                f"{len(self._runs)} Spark servers and jobs run already",
                permitted=f"{self._limits.max_runs} side by side (setting sparkMaxRuns)",
                next_command="lab spark stop, lab spark kill, or later again",
            )
        run = Run(id=f"{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(3)}", sign_in=sign_in)
        self._runs[run.id] = run
        return run

    async def _launch(self, run: Run, launch: Launch) -> Driver:
        try:
            run.driver = await self._launcher.launch(launch)
        except BaseException:
            self._runs.pop(run.id, None)
            raise
        run.watch = asyncio.create_task(self._watch(run, run.driver))
        run.watch.add_done_callback(_note)
        log.info("run %s of %s started", run.id, run.username)
        if run.stopping is not None:
            await self._end(run, run.stopping)
            raise LaunchError(f"it was stopped while it started: {run.stopping}")
        return run.driver

    async def _watch(self, run: Run, driver: Driver) -> None:
        """Waits for a driver's end and clears up behind it."""
        code = await driver.ended()
        self._runs.pop(run.id, None)
        log.info("run %s of %s ended with %s%s", run.id, run.username, code, _because(run.stopping))
        await self._detach(run)
        job = self._store.get(run.username, run.id)
        if job is not None and not job.state.ended:
            self._finish_job(job, code, reason=run.stopping)

    async def _end(self, run: Run, reason: str, *, hurried: bool = False) -> None:
        """Stops a run's driver; returns when all is cleared up."""
        run.stopping = run.stopping or reason
        await self._detach(run)
        if run.driver is not None:
            await run.driver.stop(hurried=hurried)
        if run.watch is not None:
            await asyncio.shield(run.watch)
        self._runs.pop(run.id, None)

    def _end_later(self, run: Run, reason: str) -> None:
        task = asyncio.get_running_loop().create_task(self._end(run, reason))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        task.add_done_callback(_note)

    async def _detach(self, run: Run) -> None:
        """Takes a server from its user, who may have another one from now on."""
        server = self._servers.get(run.username)
        if server is not None and server.run is run:
            del self._servers[run.username]
            await self._proxy.remove(server.connect_token)

    def _log(self, run_id: str, offset: int, *, ended: bool) -> LogPart:
        content = self._launcher.log(run_id, offset, LOG_PART_BYTES)
        ended = ended and len(content) < LOG_PART_BYTES
        with contextlib.suppress(UnicodeDecodeError):
            # Not in the middle of a character.
            content.decode()
            return LogPart(text=content.decode(), next_offset=offset + len(content), ended=ended)
        whole = content[: content.rfind(b"\n") + 1] or content
        return LogPart(text=whole.decode(errors="replace"), next_offset=offset + len(whole), ended=ended)


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _note(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a run could not be cleared up", exc_info=error)
