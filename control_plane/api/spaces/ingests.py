"""Uploads and ingests: files into the spool, looks into them, and their rows into tables as the asking
user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import LabError
from contracts.identity import Audience
from control_plane.api.access import Caller
from control_plane.api.jobs.attempts import patiently
from control_plane.api.jobs.quotas import Quotas
from control_plane.api.problems import AbsentServiceError, ConflictError
from control_plane.api.schemas.workspaces import (
    Config,
    FileOptions,
    IngestPreview,
    IngestState,
    StartIngest,
    UploadState,
)
from control_plane.api.spaces.sources import Sources
from control_plane.api.spaces.spool import FileSpool
from control_plane.api.spaces.workers import CanceledError, work
from control_plane.api.storage.models import IngestRow, UploadRow
from control_plane.api.storage.workspaces import IngestStore, UploadStore, Within
from control_plane.api.using import Using
from governance.tasks import end
from governance.workspaces.model import Workspace

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_PREVIEW_S = 120.0
_KEPT = timedelta(days=1)
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


@dataclass(frozen=True, kw_only=True)
class CatalogPlace:
    """Where the Iceberg REST catalog is for people's own tokens."""

    uri: str
    warehouse: str


class Ingests:
    """The use cases. What an ingest writes, it writes with its owner's own token, as any engine of theirs."""

    def __init__(
        self,
        quotas: Quotas,
        uploads: UploadStore,
        ingests: IngestStore,
        spool: FileSpool,
        sources: Sources,
        catalog: CatalogPlace | None,
        using: Using | None = None,
    ) -> None:
        self._using = using
        self._quotas, self.uploads, self._store = quotas, uploads, ingests
        self.spool, self.sources, self._catalog = spool, sources, catalog
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._fetching: dict[UUID, UUID] = {}
        self._progress: dict[UUID, dict[str, Any]] = {}

    def prepare(self) -> None:
        """Begins with what an earlier process left. Raises sqlalchemy.exc.SQLAlchemyError."""
        self._store.lose_running()
        self._quotas.admit()
        for gone in self.spool.open(self.uploads.ids()):
            self.uploads.remove(gone)

    async def tidy(self) -> None:
        """Removes what is past its time."""
        for old in await to_thread.run_sync(self.uploads.older_than, _KEPT):
            if old not in self._tasks:
                await self._remove(old)
        await to_thread.run_sync(self._store.remove_old)

    async def close(self) -> None:
        """Ends what is under way; nothing of it is committed."""
        await end(*self._tasks.values())

    # --- uploads ---------------------------------------------------------------------------------------

    async def receive(
        self,
        caller: Caller,
        workspace: Workspace,
        filename: str,
        length: int | None,
        blocks: AsyncIterator[bytes],
    ) -> UploadRow:
        """A file as it comes over the wire, a block at a time in memory.

        Raises:
            TooLargeError, NoRoomError, and what ``blocks`` does: nothing of the file stays then.
        """
        self.spool.require_room(length or 0)
        upload_id = uuid4()
        add = partial(self._added, upload_id, workspace, caller, filename, {}, UploadState.RECEIVING)
        await to_thread.run_sync(add)
        file = await to_thread.run_sync(self.spool.create, upload_id)
        ended = self._used_by(caller)
        try:
            pending = bytearray()
            async for block in blocks:
                pending += block
                if len(pending) >= _BLOCK_BYTES:
                    await to_thread.run_sync(file.write, bytes(pending))
                    pending.clear()
            await to_thread.run_sync(file.write, bytes(pending))
            await to_thread.run_sync(file.close)
        except BaseException:
            # Cheap, and not to be interrupted by the cancellation that may be the reason.
            file.abandon()
            with suppress(SQLAlchemyError):
                self.uploads.remove(upload_id)
            raise
        finally:
            ended()
        ready = {"state": UploadState.READY.value, "size_bytes": file.size_bytes}
        await to_thread.run_sync(partial(self.uploads.set, upload_id, **ready))
        return await to_thread.run_sync(self.uploads.get, workspace.id, upload_id)

    async def fetch(
        self,
        caller: Caller,
        workspace: Workspace,
        connection_id: UUID,
        config: Config,
        secret: str | None,
        name: str,
    ) -> UploadRow:
        """Begins to fetch an object by a connection. Raises BusyError, NoRoomError."""
        self.spool.require_room(0)
        upload_id = uuid4()
        origin = {"connection_id": str(connection_id), "object": name}
        await to_thread.run_sync(self._quotas.note, (workspace,))
        add = partial(
            self._added,
            upload_id,
            workspace,
            caller,
            name,
            origin,
            UploadState.RECEIVING,
            within=self._room(workspace),
        )
        self._fetching[upload_id] = workspace.id
        try:
            row = await to_thread.run_sync(add)
        except BaseException:
            del self._fetching[upload_id]
            raise
        self._begin(upload_id, caller, self._fetch(upload_id, config, secret, name))
        return row

    async def list_uploads(self, workspace: Workspace) -> list[UploadRow]:
        """Those of a workspace, newest first."""
        return await to_thread.run_sync(self.uploads.all, workspace.id)

    async def upload(self, workspace: Workspace, upload_id: UUID) -> UploadRow:
        """One of them. Raises NotFoundError."""
        return await to_thread.run_sync(self.uploads.get, workspace.id, upload_id)

    async def remove(self, workspace: Workspace, upload_id: UUID) -> None:
        """Removes a file; what fetches it ends. Raises NotFoundError."""
        await to_thread.run_sync(self.uploads.get, workspace.id, upload_id)
        await self._remove(upload_id)

    async def forget(self, uploads: list[UUID]) -> None:
        """Removes files whose workspace is gone."""
        for upload_id in uploads:
            await self._remove(upload_id)

    # --- ingests ---------------------------------------------------------------------------------------

    async def preview(self, workspace: Workspace, upload_id: UUID, options: FileOptions) -> IngestPreview:
        """What a file holds. Raises NotFoundError, ConflictError, UsageError."""
        upload = await self._ready(workspace, upload_id)
        request = {"do": "preview", **self._file(upload, options)}
        return IngestPreview.model_validate(await work(request, limit_s=_PREVIEW_S))

    async def start(self, caller: Caller, workspace: Workspace, given: StartIngest) -> IngestRow:
        """Begins to bring a file into a table.

        Raises:
            NotFoundError, ConflictError (the file is not there yet), BusyError (as many run as may),
            AbsentServiceError, SignInEndedError.
        """
        place = self._place()
        upload = await self._ready(workspace, given.upload_id)
        await to_thread.run_sync(self._quotas.note, (workspace,))
        # Who has no sign-in any more hears it now.
        await caller.token(Audience.CATALOG)
        add = partial(
            self._store.add,
            within=self._room(workspace),
            workspace_id=workspace.id,
            owner=caller.username,
            table_name=f"{workspace.namespace}.{given.table}",
            mode=given.mode.value,
            source=upload.filename,
            state=IngestState.RUNNING.value,
        )
        row = await to_thread.run_sync(add)
        request = {
            "do": "load",
            **self._file(upload, given.options),
            "table": row.table_name,
            "mode": row.mode,
            "catalog": {"uri": place.uri, "warehouse": place.warehouse},
        }
        self._begin(row.id, caller, self._ingest(row.id, caller, request))
        return row

    def progress(self, ingest_id: UUID) -> dict[str, Any] | None:
        """How far a running one is; None of one that does not run here."""
        return self._progress.get(ingest_id, {}) if ingest_id in self._tasks else None

    async def cancel(self, workspace: Workspace, ingest_id: UUID) -> IngestRow:
        """Ends an ingest; one that has ended stays as it is. Raises NotFoundError."""
        await to_thread.run_sync(self._store.get, workspace.id, ingest_id)
        task = self._tasks.get(ingest_id)
        if task is not None:
            await end(task)
        return await to_thread.run_sync(self._store.get, workspace.id, ingest_id)

    async def list(self, workspace: Workspace, limit: int) -> list[IngestRow]:
        """Those of a workspace, newest first."""
        return await to_thread.run_sync(self._store.all, workspace.id, limit)

    async def get(self, workspace: Workspace, ingest_id: UUID) -> IngestRow:
        """One of them. Raises NotFoundError."""
        return await to_thread.run_sync(self._store.get, workspace.id, ingest_id)

    # --- helpers ---------------------------------------------------------------------------------------

    def _added(
        self,
        upload_id: UUID,
        workspace: Workspace,
        caller: Caller,
        filename: str,
        origin: Mapping[str, Any],
        state: UploadState,
        within: Within = lambda _: None,
    ) -> UploadRow:
        return self.uploads.add(
            within=within,
            id=upload_id,
            workspace_id=workspace.id,
            filename=filename,
            origin=dict(origin),
            types=[],
            state=state.value,
            size_bytes=0,
            created_by=caller.username,
        )

    def _used_by(self, caller: Caller) -> Callable[[], object]:
        """Says that the lab is used until what this returns is called."""
        return (lambda: None) if self._using is None else self._using.begin(caller)

    def _begin(self, key: UUID, caller: Caller, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks[key] = task
        over = self._used_by(caller)

        def ended(_: asyncio.Task[None]) -> None:
            over()
            for held in (self._tasks, self._fetching, self._progress):
                held.pop(key, None)

        task.add_done_callback(ended)

    def _room(self, workspace: Workspace) -> Within:
        """What requires room for one more in the transaction that keeps it."""
        fetches = sum(1 for one in self._fetching.values() if one == workspace.id)
        return partial(self._quotas.require_room, workspace=workspace, besides=fetches)

    def _place(self) -> CatalogPlace:
        if self._catalog is None:
            raise AbsentServiceError("this console was told of no catalog", next_command="lab up")
        return self._catalog

    async def _ready(self, workspace: Workspace, upload_id: UUID) -> UploadRow:
        upload = await to_thread.run_sync(self.uploads.get, workspace.id, upload_id)
        if upload.state != UploadState.READY.value:
            raise ConflictError(
                "the file is not there", value=upload.state, permitted="an upload that is ready"
            )
        return upload

    def _file(self, upload: UploadRow, options: FileOptions) -> dict[str, Any]:
        document = options.model_dump(mode="json")
        document["source_types"] = [] if options.all_text else upload.types
        if document["format"] is None:
            # The file in the spool has no name of its own; Parquet is known by its content.
            document["format"] = _format(PurePosixPath(upload.filename).suffixes)
        return {
            "path": str(self.spool.path(upload.id)),
            "name": upload.filename,
            "options": document,
        }

    async def _fetch(self, upload_id: UUID, config: Config, secret: str | None, name: str) -> None:
        def pour() -> tuple[int, str, list[tuple[str, str]]]:
            file = self.spool.create(upload_id)
            try:
                fetched = self.sources.fetch(config, secret, name, file.write)
                file.close()
            except BaseException:
                file.abandon()
                raise
            return file.size_bytes, fetched.filename, fetched.types

        values: dict[str, Any]
        try:
            size, filename, types = await to_thread.run_sync(pour)
            values = {"size_bytes": size, "filename": filename, "types": types}
            values["state"] = UploadState.READY.value
        except LabError as error:
            values = {"state": UploadState.FAILED.value, "error": failure(error)}
        except Exception as error:
            log.exception("a fetch failed")
            values = {"state": UploadState.FAILED.value, "error": {"title": type(error).__name__}}
        await to_thread.run_sync(partial(self.uploads.set, upload_id, **values))

    async def _ingest(self, ingest_id: UUID, caller: Caller, request: Mapping[str, Any]) -> None:
        values: dict[str, Any]
        canceled = False
        try:
            result = await work(
                request,
                token=partial(caller.token, Audience.CATALOG),
                progress=partial(self._progress.__setitem__, ingest_id),
            )
            values = {"state": IngestState.FINISHED.value, "result": result}
        except (asyncio.CancelledError, CanceledError):
            canceled = True
            values = {"state": IngestState.CANCELED.value}
        except LabError as error:
            values = {"state": IngestState.FAILED.value, "error": failure(error)}
        except Exception as error:
            log.exception("an ingest failed")
            values = {"state": IngestState.FAILED.value, "error": {"title": type(error).__name__}}
        values |= {"ended_at": datetime.now(tz=UTC), "progress": self._progress.get(ingest_id, {})}
        keep = partial(self._ended, ingest_id, values)
        try:
            if canceled:
                await asyncio.shield(to_thread.run_sync(keep))
            else:
                # It counts towards the quota until its end is kept.
                await patiently(keep)
        except SQLAlchemyError as error:
            log.warning("the end of an ingest is not kept: %s", str(error).splitlines()[0])
        if canceled:
            raise asyncio.CancelledError

    def _ended(self, ingest_id: UUID, values: Mapping[str, Any]) -> None:
        self._store.set(ingest_id, **values)
        self._quotas.admit()

    async def _remove(self, upload_id: UUID) -> None:
        await to_thread.run_sync(self.spool.remove, upload_id)
        await to_thread.run_sync(self.uploads.remove, upload_id)


def failure(error: LabError) -> dict[str, Any]:
    """An error as the database keeps it."""
    facts = error.as_dict()
    return {"title": error.what, "value": facts["value"], "permitted": facts["permitted"]}


def _format(suffixes: list[str]) -> str | None:
    return next((_FORMATS[one.lower()] for one in reversed(suffixes) if one.lower() in _FORMATS), None)
