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


def writer_groups(
    access: AccessData, tables: Mapping[str, Sequence[str]], owners: Mapping[str, str]
) -> frozenset[str]:
    """Groups for a catalog without table grants: they may write some table, and no rule reaches them on
    any table they can read. What else the catalog holds is for the catalog's own rules to keep from them:
    see :func:`unreadable_namespaces`."""
    holdings = Holdings(access.grants, owners)
    rules = RulesByTable(access)
    return frozenset(
        group
        for group in holdings.groups()
        if any(_writes(holdings.on_table(group, table)) for table in tables)
        and not any(
            Privilege.SELECT in holdings.on_table(group, table) and _reached(group, rules.on(table))
            for table in tables
        )
    )


def unreadable_namespaces(
    access: AccessData,
    tables: Mapping[str, Sequence[str]],
    owners: Mapping[str, str],
    groups: Collection[str],
) -> frozenset[str]:
    """Namespaces that hold a table which one of ``groups`` may not read raw.

    A role that all of ``groups`` share on a catalog without table grants must not reach them.
    """
    raw = derive_raw_grants(access, tables, owners)
    return frozenset(
        table.rpartition(".")[0]
        for table in tables
        if any(Privilege.SELECT not in raw.get(group, {}).get(table, frozenset()) for group in groups)
    )


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


def _writes(held: frozenset[Privilege]) -> bool:
    return bool(held - {Privilege.SELECT})


def _reached(group: str, rules: Sequence[Rule]) -> bool:
    return any(group not in rule.exempt for rule in rules)
