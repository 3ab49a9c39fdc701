"""Catalogs, namespaces, tables and columns, through Trino as the asking user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from contracts.identity import Audience
from control_plane.api.access import Caller
from control_plane.api.explorer.cache import Cache
from control_plane.api.governor import Governor
from control_plane.api.problems import NotFoundError
from control_plane.api.queries.keywords import KEYWORDS
from control_plane.api.queries.service import Queries
from control_plane.api.queries.trino import DeniedError, NoSuchObjectError, TrinoError, quoted, text
from control_plane.api.schemas.common import Row, Rows
from control_plane.api.schemas.explorer import (
    Catalog,
    Found,
    FoundKind,
    Namespace,
    TableSummary,
    TableType,
)
from control_plane.api.schemas.queries import Completion, CompletionNamespace, CompletionTable
from governance.client import GovernorError

INFORMATION_SCHEMA = "information_schema"
_FUNCTIONS_LIFE_S = 3600.0
_FORBIDDEN = 403
_TYPES = {
    "BASE TABLE": TableType.TABLE,
    "VIEW": TableType.VIEW,
    "MATERIALIZED VIEW": TableType.MATERIALIZED_VIEW,
}


@dataclass(frozen=True)
class ColumnRow:
    """A column as ``information_schema`` lists it."""

    namespace: str
    table: str
    name: str
    type: str
    nullable: bool
    comment: str | None


class Catalogs:
    """Lists what the asking user may see.

    Args:
        governed: the lab's own catalog, the one that tags and rules are about.
    """

    def __init__(self, queries: Queries, governor: Governor, cache: Cache, *, governed: str) -> None:
        self._queries, self._governor, self._cache, self.governed = queries, governor, cache, governed

    async def rows(self, caller: Caller, statement: str, **given: Any) -> Rows:
        """A small result as the caller. Raises as ``Trino.rows`` does."""
        return await self._queries.trino.rows(statement, partial(caller.token, Audience.TRINO), **given)

    async def catalogs(self, caller: Caller) -> list[Catalog]:
        """Those that the caller may see, the governed one first."""
        ask = partial(self.rows, caller, "SHOW CATALOGS")
        names = [str(row[0]) for row in await self._listed(caller, "catalogs", ask)]
        names.sort(key=lambda name: (name != self.governed, name))
        return [Catalog(name=name, governed=name == self.governed) for name in names]

    async def namespaces(self, caller: Caller, catalog: str) -> list[Namespace]:
        """Namespaces of a catalog. Raises NoSuchObjectError."""
        ask = partial(self.rows, caller, f"SHOW SCHEMAS FROM {quoted(catalog)}")
        if catalog == self.governed:
            found = await self._listed(caller, ("namespaces", catalog), ask)
        else:
            found = (await self._known(caller, ("namespaces", catalog), ask)).rows
        tags = await self.tags(caller, catalog)
        return [
            Namespace(name=name, tags=tags.get(f"{name}.*".lower(), []))
            for name in sorted(str(row[0]) for row in found)
            if name != INFORMATION_SCHEMA
        ]

    async def tables(self, caller: Caller, catalog: str, namespace: str) -> list[TableSummary]:
        """Tables and views of a namespace. Raises NoSuchObjectError."""
        listed = (
            f"SELECT table_name, table_type FROM {quoted(catalog)}.{INFORMATION_SCHEMA}.tables "
            f"WHERE table_schema = {text(namespace)} ORDER BY table_name"
        )
        found = await self._known(caller, ("tables", catalog, namespace), partial(self.rows, caller, listed))
        if not found.rows and namespace not in [n.name for n in await self.namespaces(caller, catalog)]:
            raise NotFoundError("there is no such namespace", value=f"{catalog}.{namespace}")
        comments = await self._comments(caller, catalog, namespace)
        tags = await self.tags(caller, catalog)
        return [
            TableSummary(
                name=str(name),
                type=_TYPES.get(str(kind), TableType.TABLE),
                comment=comments.get(str(name)),
                tags=tags.get(f"{namespace}.{name}".lower(), []),
            )
            for name, kind in found.rows
        ]

    async def columns(self, caller: Caller, catalog: str, namespace: str, table: str) -> Sequence[ColumnRow]:
        """The columns of a table that the caller may see. Raises NotFoundError when there are none."""
        ask = partial(self._columns, caller, catalog, namespace, table)
        found: Sequence[ColumnRow] = await self._known(caller, ("columns", catalog, namespace, table), ask)
        if not found:
            raise NotFoundError(
                "there is no such table, or none of it is yours to see",
                value=f"{catalog}.{namespace}.{table}",
            )
        return found

    async def tags(self, caller: Caller, catalog: str) -> Mapping[str, list[str]]:
        """Object of access data (lower case) → its tags, as far as the caller may read the objects."""
        if catalog != self.governed:
            return {}
        return await self._cache.get(caller, "tags", partial(self._tags, caller))

    async def completion(self, caller: Caller, catalog: str) -> Completion:
        """What an editor offers."""
        found = await self._all_columns(caller, catalog)
        grouped: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        for column in found:
            grouped[column.namespace][column.table][column.name] = column.type
        functions = []
        if found:
            functions = await self._cache.get(
                caller, "functions", partial(self._functions, caller), life_s=_FUNCTIONS_LIFE_S
            )
        return Completion(
            catalog=catalog,
            namespaces=[
                CompletionNamespace(
                    name=namespace,
                    tables=[
                        CompletionTable(name=table, columns=columns) for table, columns in tables.items()
                    ],
                )
                for namespace, tables in grouped.items()
            ],
            functions=functions,
            keywords=list(KEYWORDS),
        )

    async def search(self, caller: Caller, wanted: str, limit: int) -> list[Found]:
        """Namespaces, tables and columns of the governed catalog by name or tag; the best matches first."""
        catalog = self.governed
        columns = await self._all_columns(caller, catalog)
        tags = await self.tags(caller, catalog)
        needle = wanted.lower()
        found: dict[tuple[str, str | None, str | None], tuple[int, Found]] = {}

        def consider(kind: FoundKind, namespace: str, table: str | None, column: str | None) -> None:
            name = column or table or namespace
            key = (namespace, table, column)
            obj = ".".join(part for part in key if part) + (".*" if table is None else "")
            held = tags.get(obj.lower(), [])
            by_name = _rank(name.lower(), needle)
            if by_name is None and not any(needle in tag.lower() for tag in held):
                return
            order = list(FoundKind).index(kind)
            rank = (4 if by_name is None else by_name) * len(FoundKind) + order
            found[key] = (
                rank,
                Found(kind=kind, catalog=catalog, namespace=namespace, table=table, column=column, tags=held),
            )

        for one in columns:
            consider(FoundKind.NAMESPACE, one.namespace, None, None)
            consider(FoundKind.TABLE, one.namespace, one.table, None)
            consider(FoundKind.COLUMN, one.namespace, one.table, one.name)
        ranked = sorted(found.values(), key=lambda pair: (pair[0], pair[1].namespace, pair[1].table or ""))
        return [one for _, one in ranked[:limit]]

    async def visible_tables(self, caller: Caller) -> frozenset[str]:
        """``ns.table`` of the governed catalog's tables of which the caller may see a column."""
        columns = await self._all_columns(caller, self.governed)
        return frozenset(f"{one.namespace}.{one.table}" for one in columns)

    def forget(self, username: str | None = None) -> None:
        """Something changed: what was told is old, to a person or to everybody."""
        self._cache.forget(username)

    async def cached(self, caller: Caller, question: Any, ask: Any) -> Any:
        """An answer that may be a moment old. Raises what ``ask`` does."""
        return await self._cache.get(caller, question, ask)

    async def _listed(
        self, caller: Caller, question: Any, ask: Callable[[], Awaitable[Rows]]
    ) -> Sequence[Row]:
        """Rows of a list; none for who may not even ask: somebody in no group."""
        try:
            return (await self._cache.get(caller, question, ask)).rows
        except DeniedError:
            return ()

    async def _known(self, caller: Caller, question: Any, ask: Any) -> Any:
        try:
            return await self._cache.get(caller, question, ask)
        except DeniedError as denied:
            # What one may not see does not exist.
            raise NotFoundError("there is nothing of that name", value=_named(question)) from denied
        except NoSuchObjectError as absent:
            raise NotFoundError(absent.what, value=_named(question)) from absent

    async def _columns(
        self, caller: Caller, catalog: str, namespace: str | None = None, table: str | None = None
    ) -> Sequence[ColumnRow]:
        named = [
            *([] if namespace is None else [f"table_schema = {text(namespace)}"]),
            *([] if table is None else [f"table_name = {text(table)}"]),
        ]
        where = " AND ".join(named or [f"table_schema <> {text(INFORMATION_SCHEMA)}"])
        found = await self.rows(
            caller,
            "SELECT table_schema, table_name, column_name, data_type, is_nullable, comment "
            f"FROM {quoted(catalog)}.{INFORMATION_SCHEMA}.columns WHERE {where} "
            "ORDER BY table_schema, table_name, ordinal_position",
        )
        return [
            ColumnRow(str(row[0]), str(row[1]), str(row[2]), str(row[3]), row[4] != "NO", row[5] or None)
            for row in found.rows
        ]

    async def _all_columns(self, caller: Caller, catalog: str) -> Sequence[ColumnRow]:
        ask = partial(self._columns, caller, catalog)
        if catalog != self.governed:
            found: Sequence[ColumnRow] = await self._known(caller, ("all columns", catalog), ask)
            return found
        try:
            return await self._cache.get(caller, ("all columns", catalog), ask)
        except DeniedError:
            return ()

    async def _comments(self, caller: Caller, catalog: str, namespace: str) -> Mapping[str, str]:
        statement = (
            "SELECT table_name, comment FROM system.metadata.table_comments "
            f"WHERE catalog_name = {text(catalog)} AND schema_name = {text(namespace)}"
        )

        async def ask() -> Mapping[str, str]:
            try:
                found = await self.rows(caller, statement)
            except DeniedError:
                return {}
            return {str(name): str(comment) for name, comment in found.rows if comment}

        try:
            comments: Mapping[str, str] = await self._cache.get(caller, ("comments", catalog, namespace), ask)
        except TrinoError:
            # A list without comments is better than no list.
            return {}
        return comments

    async def _functions(self, caller: Caller) -> list[str]:
        found = await self.rows(caller, "SHOW FUNCTIONS")
        return sorted({str(row[0]) for row in found.rows})

    async def _tags(self, caller: Caller) -> Mapping[str, list[str]]:
        try:
            uses = await self._governor.ask(caller, lambda client: client.tags())
        except GovernorError as error:
            if error.status != _FORBIDDEN:
                raise
            # A person in no group is told nothing.
            return {}
        found: dict[str, list[str]] = defaultdict(list)
        for use in uses:
            found[use.object.lower()].append(use.tag)
        return dict(found)


def _rank(name: str, needle: str) -> int | None:
    if name == needle:
        return 0
    if name.startswith(needle):
        return 1
    return 2 if needle in name else None


def _named(question: Any) -> str:
    return ".".join(str(part) for part in question[1:]) if isinstance(question, tuple) else str(question)
