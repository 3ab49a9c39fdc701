"""Where rules apply: each rule's tags and objects, resolved to tables and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.access import AccessData, Grant, Privilege, Rule, RuleKind
from contracts.errors import UsageError

EVERY_COLUMN = "*"


@dataclass(frozen=True, kw_only=True, order=True)
class Target:
    """One table, or one of its columns, that a rule is about. Names are lower-case, as in Trino."""

    namespace: str
    table: str
    column: str | None = None

    @property
    def name(self) -> str:
        """``namespace.table``."""
        return f"{self.namespace}.{self.table}"


def split_object(name: str) -> Target:
    """``ns.table`` or ``ns.table.column`` as a target.

    Raises:
        UsageError: it has fewer or more parts, or an empty one.
    """
    pieces = name.lower().split(".")
    if len(pieces) not in (2, 3) or not all(pieces) or "*" in pieces:
        raise UsageError(
            "an object of a tag or rule must name one table or one column",
            value=name,
            permitted="namespace.table or namespace.table.column",
        )
    return Target(namespace=pieces[0], table=pieces[1], column=pieces[2] if len(pieces) == 3 else None)


def rule_targets(access: AccessData) -> dict[str, tuple[Target, ...]]:
    """For each rule id: what the rule is about. A column rule on a whole table has column ``*``.

    Raises:
        UsageError: a malformed object.
    """
    tagged: dict[str, list[Target]] = {}
    for tag in access.tags:
        tagged.setdefault(tag.tag, []).append(split_object(tag.object))
    found: dict[str, tuple[Target, ...]] = {}
    for rule in access.rules:
        targets = list(tagged.get(rule.tag, ())) if rule.tag is not None else []
        if rule.object is not None:
            targets.append(split_object(rule.object))
        found[rule.id] = tuple(sorted({_fitting(rule, target) for target in targets}, key=_order))
    return found


def rules_by_table(access: AccessData) -> dict[str, list[Rule]]:
    """For each table that any rule is about: those rules, in order of id."""
    targets = rule_targets(access)
    found: dict[str, list[Rule]] = {}
    for rule in sorted(access.rules, key=lambda r: r.id):
        for table in sorted({target.name for target in targets[rule.id]}):
            found.setdefault(table, []).append(rule)
    return found


class Holdings:
    """What each group holds by grants and by owning tables, rules apart; each lookup is constant time."""

    def __init__(self, grants: Iterable[Grant], owners: Mapping[str, str]) -> None:
        self.tables: dict[str, dict[str, set[Privilege]]] = {}
        self.namespaces: dict[str, dict[str, set[Privilege]]] = {}
        for grant in grants:
            name = grant.object.lower()
            wide = name.endswith(".*")
            held = (self.namespaces if wide else self.tables).setdefault(grant.group, {})
            held.setdefault(name.removesuffix(".*"), set()).update(grant.privileges)
        for table, group in owners.items():
            self.tables.setdefault(group, {}).setdefault(table.lower(), set()).update(Privilege)

    def groups(self) -> list[str]:
        """Groups that hold anything, sorted."""
        return sorted({*self.tables, *self.namespaces})

    def on_table(self, group: str, table: str) -> frozenset[Privilege]:
        """Privileges of ``group`` on ``ns.table``."""
        name = table.lower()
        held = self.tables.get(group, {}).get(name, set())
        return frozenset(held | self.namespaces.get(group, {}).get(name.rpartition(".")[0], set()))

    def listed_namespaces(self, group: str) -> list[str]:
        """Namespaces in which ``group`` holds anything, sorted."""
        inside = {table.rpartition(".")[0] for table in self.tables.get(group, {})}
        return sorted(inside | set(self.namespaces.get(group, {})))


def _fitting(rule: Rule, target: Target) -> Target:
    if rule.kind is RuleKind.ROW_FILTER or target.column is not None:
        return target
    return Target(namespace=target.namespace, table=target.table, column=EVERY_COLUMN)


def _order(target: Target) -> tuple[str, str, str]:
    return (target.namespace, target.table, target.column or "")
