"""Connections: tried out before they are kept, their secrets sealed and never read again."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID, uuid4

from anyio import to_thread
from pydantic import TypeAdapter

from contracts.errors import UsageError
from control_plane.api.identity.sealing import Sealer, UnsealError
from control_plane.api.problems import ConflictError
from control_plane.api.schemas.workspaces import Config, Connection, SaveConnection, SourceObject
from control_plane.api.spaces.sources import Sources
from control_plane.api.storage.models import ConnectionRow
from control_plane.api.storage.workspaces import ConnectionStore

_CONFIG: TypeAdapter[Any] = TypeAdapter(Config)


class Connections:
    """The use cases, of workspaces that the caller was let into."""

    def __init__(self, store: ConnectionStore, sealer: Sealer, sources: Sources) -> None:
        self._store, self._sealer, self._sources = store, sealer, sources

    async def all(self, workspace_id: UUID) -> list[Connection]:
        """Those of a workspace, by name."""
        return [shown(row) for row in await to_thread.run_sync(self._store.all, workspace_id)]

    async def get(self, workspace_id: UUID, connection_id: UUID) -> Connection:
        """One of them. Raises NotFoundError."""
        return shown(await to_thread.run_sync(self._store.get, workspace_id, connection_id))

    async def create(self, workspace_id: UUID, given: SaveConnection, author: str) -> Connection:
        """Tries a connection out and keeps it. Raises DestinationError, SourceError, ConflictError."""
        secret = None if given.secret is None else given.secret.get_secret_value()
        await to_thread.run_sync(self._sources.check, given.config, secret)
        connection_id = uuid4()
        create = partial(
            self._store.create,
            workspace_id,
            connection_id,
            name=given.name,
            config=given.config.model_dump(mode="json"),
            secret=self._sealed(connection_id, secret),
            author=author,
        )
        return shown(await to_thread.run_sync(create))

    async def update(
        self, workspace_id: UUID, connection_id: UUID, version: int, given: SaveConnection, author: str
    ) -> Connection:
        """Tries the changed connection out and keeps it. Raises as :meth:`create`, and NotFoundError,
        StaleError, UsageError: the secret of one place is not sent to another."""
        row = await to_thread.run_sync(self._store.get, workspace_id, connection_id)
        config = given.config.model_dump(mode="json")
        secret = None if given.secret is None else given.secret.get_secret_value()
        if secret is None and row.secret is not None:
            if config != row.config:
                raise UsageError(
                    "a connection that leads elsewhere, or as somebody else, needs its secret anew",
                    permitted="the secret, or a change of the name alone",
                )
            secret = self._opened(row)
        await to_thread.run_sync(self._sources.check, given.config, secret)
        update = partial(
            self._store.update,
            workspace_id,
            connection_id,
            version,
            name=given.name,
            config=config,
            secret=self._sealed(connection_id, secret),
            author=author,
        )
        return shown(await to_thread.run_sync(update))

    async def delete(self, workspace_id: UUID, connection_id: UUID, version: int) -> None:
        """Removes it with its secret. Raises NotFoundError, StaleError."""
        await to_thread.run_sync(self._store.delete, workspace_id, connection_id, version)

    async def objects(self, workspace_id: UUID, connection_id: UUID) -> list[SourceObject]:
        """What can be fetched by it. Raises NotFoundError, DestinationError, SourceError."""
        config, secret = await self.opened(workspace_id, connection_id)
        return await to_thread.run_sync(self._sources.objects, config, secret)

    async def opened(self, workspace_id: UUID, connection_id: UUID) -> tuple[Config, str | None]:
        """Place and secret, for use here alone. Raises NotFoundError, ConflictError."""
        row = await to_thread.run_sync(self._store.get, workspace_id, connection_id)
        return _CONFIG.validate_python(row.config), self._opened(row)

    def _sealed(self, connection_id: UUID, secret: str | None) -> bytes | None:
        return None if secret is None else self._sealer.seal(secret.encode(), str(connection_id))

    def _opened(self, row: ConnectionRow) -> str | None:
        if row.secret is None:
            return None
        try:
            return self._sealer.unseal(row.secret, str(row.id)).decode()
        except UnsealError as error:
            raise ConflictError(
                "the secret of this connection can't be read: the console's key is another one",
                value=row.name,
                permitted="the secret, given anew",
            ) from error


def shown(row: ConnectionRow) -> Connection:
    """A connection without its secret."""
    return Connection(
        id=row.id,
        name=row.name,
        config=_CONFIG.validate_python(row.config),
        has_secret=row.secret is not None,
        version=row.version,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_by=row.updated_by,
        updated_at=row.updated_at,
    )
