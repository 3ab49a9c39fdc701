"""Raw grants, derived from the access data so that no engine bypasses the rules (DESIGN §7).

A raw engine (Spark, pyiceberg) reads a table's files: it knows no row filter, mask or denied column. So a
group reads a table raw only when it may select from it and no rule reaches the group there; writing raw
needs reading raw, since whoever writes a table's files can read them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from contracts.access import AccessData, Privilege, Rule
from governance.reach import Holdings, RulesByTable

READS_AND_WRITES = frozenset({Privilege.SELECT, Privilege.INSERT})


@dataclass(frozen=True, kw_only=True)
class NamespaceRights:
    """Namespaces a group may list, those in which it may create tables, and those in which it may read
    and write every table raw, whether there is one or not; all sorted."""

    listed: tuple[str, ...]
    creatable: tuple[str, ...]
    writable: tuple[str, ...]


def derive_raw_grants(
    access: AccessData, tables: Mapping[str, Sequence[str]], owners: Mapping[str, str]
) -> dict[str, dict[str, frozenset[Privilege]]]:
    """For each group, the tables that raw engines may use in its name, and with which privileges.

    Args:
        tables: ``ns.table`` → column names, as the catalog lists them. A rule on a column that is not
            there counts all the same: the column may be added later, the grant would stay.
        owners: ``ns.table`` → the group with all privileges on it; rules hold for owners, too.

    Raises:
        UsageError: a malformed object in a tag or rule.
    """
    holdings = Holdings(access.grants, owners)
    rules = RulesByTable(access)
    derived: dict[str, dict[str, frozenset[Privilege]]] = {}
    for group in holdings.groups():
        raw = {table: _raw(holdings.on_table(group, table), group, rules.on(table)) for table in tables}
        derived[group] = {table: privileges for table, privileges in sorted(raw.items()) if privileges}
    return {group: granted for group, granted in derived.items() if granted}


class RawRights:
    """What raw engines may do on a catalog without grants of its own, asked object by object: all that
    :func:`derive_raw_grants` gives, but only where it is reading and writing, since such a catalog hands
    out no credentials that only read. Nothing in ``closed`` namespaces.

    Args:
        owners: as for :func:`derive_raw_grants`.
        revision: the access data's, None for none that was published.

    Raises:
        UsageError: a malformed object in a tag or rule.
    """

    def __init__(
        self,
        access: AccessData,
        owners: Mapping[str, str],
        closed: Collection[str] = frozenset(),
        *,
        revision: int | None = None,
    ) -> None:
        self.revision = revision
        self._holdings = Holdings(access.grants, owners)
        self._rules = RulesByTable(access)
        self._namespaces = namespace_rights(access, owners)
        self._closed = frozenset(closed)

    def on_table(self, groups: Collection[str], table: str) -> frozenset[Privilege]:
        """Privileges of a member of ``groups`` on ``ns.table``, whether there is one or not."""
        if table.lower().rpartition(".")[0] in self._closed:
            return frozenset()
        rules = self._rules.on(table)
        held = frozenset[Privilege]().union(
            *(_raw(self._holdings.on_table(group, table), group, rules) for group in groups)
        )
        return held if held >= READS_AND_WRITES else frozenset()

    def may_create(self, groups: Collection[str], namespace: str) -> bool:
        """Whether a member of ``groups`` may make a table in ``namespace``, and read and write it."""
        name = namespace.lower()
        rights = (self._namespaces[group] for group in groups if group in self._namespaces)
        return name not in self._closed and any(
            name in found.creatable and name in found.writable for found in rights
        )

    def lists(self, groups: Collection[str], namespace: str) -> bool:
        """Whether a member of ``groups`` sees that there is ``namespace``."""
        name = namespace.lower()
        listed = {
            one for group in groups if group in self._namespaces for one in self._namespaces[group].listed
        }
        return any(one == name or one.startswith(f"{name}.") for one in listed - self._closed)

    def ruled(self, table: str) -> bool:
        """Whether any rule is about the table, whomever it reaches: rules are about names."""
        return bool(self._rules.on(table))


def restrictions(
    access: AccessData,
    tables: Mapping[str, Sequence[str]],
    owners: Mapping[str, str],
    groups: Collection[str],
) -> dict[str, tuple[str, ...]]:
    """For a member of ``groups``: the tables that one of them may select from and that a rule changes for
    this member, with the ids of those rules; ``ns.*`` where it is only tables that may come. As in Trino, a
    rule spares whom any of the groups exempts. Exceptions don't count: raw engines know none.

    Args:
        tables: as for :func:`derive_raw_grants`.

    Raises:
        UsageError: a malformed object in a tag or rule.
    """
    holdings = Holdings(access.grants, owners)
    rules = RulesByTable(access)

    def reaching(about: Sequence[Rule]) -> tuple[str, ...]:
        return tuple(sorted(rule.id for rule in about if not set(groups) & set(rule.exempt)))

    found: dict[str, tuple[str, ...]] = {}
    for table in sorted({*tables, *owners}):
        if any(Privilege.SELECT in holdings.on_table(group, table) for group in groups):
            found[table] = reaching(rules.on(table))
    whole = {
        namespace
        for group in groups
        for namespace, held in holdings.namespaces.get(group, {}).items()
        if Privilege.SELECT in held
    }
    for namespace in sorted(whole):
        met = {rule for table, ids in found.items() if table.startswith(f"{namespace}.") for rule in ids}
        found[f"{namespace}.*"] = tuple(
            rule for rule in reaching(rules.in_namespace(namespace)) if rule not in met
        )
    return {table: ids for table, ids in found.items() if ids}


def namespace_rights(access: AccessData, owners: Mapping[str, str]) -> dict[str, NamespaceRights]:
    """For each group: namespaces it may list (it holds anything there), create tables in (it holds
    ``create`` on ``ns.*``) and write as a whole (``select`` and ``insert`` on ``ns.*``, and no rule on any
    table of it, or on all of them, reaches the group).

    Raises:
        UsageError: a malformed object in a tag or rule.
    """
    holdings = Holdings(access.grants, owners)
    rules = RulesByTable(access)

    def holding(group: str, *privileges: Privilege) -> list[str]:
        held = holdings.namespaces.get(group, {})
        return sorted(namespace for namespace, found in held.items() if found >= set(privileges))

    return {
        group: NamespaceRights(
            listed=tuple(holdings.listed_namespaces(group)),
            creatable=tuple(holding(group, Privilege.CREATE)),
            writable=tuple(
                namespace
                for namespace in holding(group, Privilege.SELECT, Privilege.INSERT)
                if not _reached(group, rules.in_namespace(namespace))
            ),
        )
        for group in holdings.groups()
    }


def _raw(held: frozenset[Privilege], group: str, rules: Sequence[Rule]) -> frozenset[Privilege]:
    if Privilege.SELECT not in held or _reached(group, rules):
        return frozenset()
    return held


def _reached(group: str, rules: Sequence[Rule]) -> bool:
    return any(group not in rule.exempt for rule in rules)
