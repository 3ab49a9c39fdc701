"""What the application is made of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from sqlalchemy.exc import SQLAlchemyError

from control_plane.api.directory import Directory
from control_plane.api.explorer.catalogs import Catalogs
from control_plane.api.explorer.tables import Tables
from control_plane.api.governor import Governor
from control_plane.api.identity.keycloak import Realm
from control_plane.api.identity.sealing import Sealer
from control_plane.api.identity.sessions import Sessions
from control_plane.api.jobs.service import Jobs
from control_plane.api.logs import Logs
from control_plane.api.queries.service import Queries
from control_plane.api.settings import ConsoleSettings
from control_plane.api.spaces.connections import Connections
from control_plane.api.spaces.entry import Workspaces
from control_plane.api.spaces.ingests import Ingests
from control_plane.api.storage.database import Database
from control_plane.api.storage.kept import KeptStore
from control_plane.api.storage.workspaces import DatasetStore
from control_plane.api.using import Using
from governance.tasks import end

WAITS_FOR_DATABASE = "waiting for the database"


@dataclass(frozen=True)
class CookieNames:
    """Names of this console's cookies. Cookies know no ports: those of two labs on one machine must not
    bear the same name."""

    session: str
    sign_in: str

    @classmethod
    def of(cls, public_url: str) -> CookieNames:
        """For the console at that address. ``__Host-``: Secure, for the whole host, from it alone."""
        place = urlsplit(public_url).port or urlsplit(public_url).scheme
        return cls(session=f"__Host-console-{place}", sign_in=f"__Host-console-sign-in-{place}")


@dataclass(kw_only=True)
class Console:
    """The services behind the routes. ``http`` asks other services; ``waits_for`` says what stands in the
    way until it is ``prepared``."""

    settings: ConsoleSettings
    database: Database
    realm: Realm
    sessions: Sessions
    sealer: Sealer
    http: httpx.AsyncClient
    queries: Queries
    governor: Governor
    catalogs: Catalogs
    tables: Tables
    directory: Directory
    workspaces: Workspaces
    connections: Connections
    ingests: Ingests
    datasets: DatasetStore
    saved_queries: KeptStore
    charts: KeptStore
    dashboards: KeptStore
    logs: Logs
    jobs: Jobs
    using: Using | None = None
    prepared: bool = field(default=False)
    waits_for: str = field(default=WAITS_FOR_DATABASE)

    @property
    def public_url(self) -> str:
        return self.settings.public_url

    @property
    def cookies(self) -> CookieNames:
        return CookieNames.of(self.settings.public_url)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the application serves; ends what is under way."""
        watching = asyncio.create_task(self.queries.watch())
        working = asyncio.create_task(self.jobs.work(lambda: self.prepared))
        try:
            yield
        finally:
            await end(watching, working)
            if self.using is not None:
                await self.using.close()
            await self.ingests.close()
            await self.queries.close()
            self.jobs.spark.close()
            await self.http.aclose()
            self.governor.close()
            self.database.close()

    def prepare(self) -> None:
        """Brings the database's schema up to date.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer.
            NewerSchemaError: a newer release was here.
            OSError: files of uploads can't be read.
        """
        self.database.upgrade()
        self.queries.lose_running()
        self.ingests.prepare()
        self.prepared = True

    def ready(self) -> bool:
        """Whether people can sign in and work, as far as it is the console's own."""
        try:
            if self.prepared:
                self.database.ping()
        except SQLAlchemyError:
            return False
        return self.prepared

    async def tidy(self) -> None:
        """Removes what is past its time."""
        await self.sessions.forget_expired()
        await self.queries.tidy()
        await self.ingests.tidy()
        await self.jobs.tidy()
