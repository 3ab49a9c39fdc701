"""Where rules apply: each rule's tags and objects, resolved to tables and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.access import AccessData, Grant, Privilege, Rule, RuleKind
from contracts.errors import UsageError

EVERY_COLUMN = "*"
EVERY_TABLE = "*"
EVERY_NAMESPACE = "*"


@dataclass(frozen=True, kw_only=True, order=True)
class Target:
    """What a rule is about: one table or one of its columns, every table of a namespace (``table`` is
    ``*``), or every table (``namespace`` is ``*``, too). Names are lower-case, as in Trino."""

    namespace: str
    table: str
    column: str | None = None

    @property
    def name(self) -> str:
        """``namespace.table``."""
        return f"{self.namespace}.{self.table}"


def split_object(name: str) -> Target:
    """``*``, ``ns.*``, ``ns.table`` or ``ns.table.column`` as a target.

    Raises:
        UsageError: it has more parts, or an empty one.
    """
    if name == EVERY_TABLE:
        return Target(namespace=EVERY_NAMESPACE, table=EVERY_TABLE)
    pieces = name.lower().split(".")
    wild = [index for index, piece in enumerate(pieces) if piece == EVERY_TABLE]
    if len(pieces) not in (2, 3) or not all(pieces) or (wild and (wild, len(pieces)) != ([1], 2)):
        raise UsageError(
            "an object of a tag or rule must name one table or one column",
            value=name,
            permitted="namespace.table or namespace.table.column, namespace.* or * for every table",
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


class RulesByTable:
    """The rules about each table, those of its namespace and of the whole catalog included."""

    def __init__(self, access: AccessData) -> None:
        targets = rule_targets(access)
        self._filed: dict[str, dict[str, Rule]] = {}
        for rule in sorted(access.rules, key=lambda r: r.id):
            for target in targets[rule.id]:
                self._filed.setdefault(target.name, {})[rule.id] = rule

    def on(self, table: str) -> list[Rule]:
        """Rules about ``ns.table``, in order of id."""
        found: dict[str, Rule] = {}
        for place in places(table):
            found |= self._filed.get(place, {})
        return [found[rule_id] for rule_id in sorted(found)]

    def in_namespace(self, namespace: str) -> list[Rule]:
        """Rules about any table that is or may be in ``namespace``."""
        found: dict[str, Rule] = {}
        for place, rules in self._filed.items():
            if place.rpartition(".")[0] in (namespace.lower(), EVERY_NAMESPACE):
                found |= rules
        return list(found.values())


def places(table: str) -> tuple[str, str, str]:
    """Where what concerns ``ns.table`` may be filed: itself, its namespace, the catalog."""
    name = table.lower()
    return name, f"{name.rpartition('.')[0]}.{EVERY_TABLE}", f"{EVERY_NAMESPACE}.{EVERY_TABLE}"


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
