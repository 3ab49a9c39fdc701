"""Whether a change of rules and tags lets somebody see more than before. Pure; errs towards yes.

A grant widens on purpose and says to whom. A rule that is changed, dropped, or loses its tag may widen
without anybody having meant it: this finds for which group, where and what. Groups suffice: what a
reader in several groups gains, one of the groups gains, since exemptions and shares add up by group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from contracts.access import AccessData, Privilege, Rule, RuleKind
from governance.bundle import MASK_RANK
from governance.effects import share
from governance.predicates import VALUES_STAND_IN, parse, placeholders
from governance.reach import EVERY_COLUMN, EVERY_NAMESPACE, EVERY_TABLE, Holdings, Target, rule_targets

_DENIED, _PLAIN = -1, len(MASK_RANK)
_LOOKS = {_DENIED: "denied", **{rank: f"masked by {mask}" for mask, rank in MASK_RANK.items()}}


@dataclass(frozen=True, kw_only=True, order=True)
class Widening:
    """``group`` sees more of ``object`` (``ns.table``, ``ns.table.column``, ``*`` for each): why."""

    group: str
    object: str
    what: str

    def __str__(self) -> str:
        return f"{self.group} on {self.object}: {self.what}"


def widenings(old: AccessData, new: AccessData, owners: Mapping[str, str]) -> list[Widening]:
    """What rules and tags of ``new`` no longer keep from groups that could and can read there.

    Raises:
        UsageError: a malformed object in a tag or rule.
    """
    before, after = _Rules(old, owners), _Rules(new, owners)
    points = sorted(before.points | after.points, key=lambda p: (p.namespace, p.table, p.column or ""))
    found: set[Widening] = set()
    for group in before.holdings.groups():
        for point in points:
            if before.readable(group, point) and after.readable(group, point):
                found.update(_gained(group, point, before, after))
    return sorted(found)


def _gained(group: str, point: Target, before: _Rules, after: _Rules) -> Iterable[Widening]:
    if point.column is None:
        kept = after.filters(group, point)
        for filtering in before.filters(group, point):
            if not any(one.implies(filtering) for one in kept):
                what = f"row filter {filtering.rule} is gone or lets more rows through"
                yield Widening(group=group, object=point.name, what=what)
        return
    was, now = before.look(group, point), after.look(group, point)
    if now > was:
        name = point.name if point.column == EVERY_COLUMN else f"{point.name}.{point.column}"
        what = f"{_LOOKS[was]} before, {_LOOKS.get(now, 'plain')} after"
        yield Widening(group=group, object=name, what=what)


@dataclass(frozen=True, kw_only=True)
class _Filter:
    """A filter for one group; ``values`` are its share, None when the filter has none by group."""

    rule: str
    predicate: exp.Expression | None
    values: frozenset[str] | None
    own_identity: bool

    def implies(self, other: _Filter) -> bool:
        """Whether every row that passes this one passes ``other``, as far as their form shows."""
        if self.values is not None and not self.values:
            return True
        if other.values is not None and (self.values is None or not self.values <= other.values):
            return False
        if self.predicate is None or other.predicate is None:
            return False
        if other.predicate.find(exp.Query) and self.own_identity != other.own_identity:
            return False
        if self.values != other.values and not _narrows_with_values(other.predicate):
            return False
        mine = _conjuncts(self.predicate)
        return all(part in mine for part in _conjuncts(other.predicate))


def _conjuncts(predicate: exp.Expression) -> list[Any]:
    return list(predicate.flatten()) if isinstance(predicate, exp.And) else [predicate]


_NARROWING = (exp.In, exp.Paren, exp.And, exp.Or, exp.Query, exp.Where, exp.Exists, exp.Join)


def _narrows_with_values(predicate: exp.Expression) -> bool:
    """Whether fewer values let fewer rows through: their list stands under nothing but conjunctions,
    disjunctions and subqueries."""
    for literal in predicate.find_all(exp.Literal):
        if literal.name == VALUES_STAND_IN:
            node = literal.parent
            while node is not None and node is not predicate.parent:
                if not isinstance(node, _NARROWING):
                    return False
                node = node.parent
    return True


class _Rules:
    """The rules of one document, asked by group and point."""

    def __init__(self, access: AccessData, owners: Mapping[str, str]) -> None:
        self.holdings = Holdings(access.grants, owners)
        targets = rule_targets(access)
        self._rules = [(rule, target) for rule in access.rules for target in targets[rule.id]]
        self.points = {target for _, target in self._rules}
        # Rows are a matter of tables, whatever column a filter's tag is on.
        self.points |= {
            Target(namespace=target.namespace, table=target.table)
            for rule, target in self._rules
            if rule.kind is RuleKind.ROW_FILTER
        }

    def readable(self, group: str, point: Target) -> bool:
        """Whether the group may select from the table, or from any where the point stands for several."""
        if point.namespace != EVERY_NAMESPACE and point.table != EVERY_TABLE:
            return Privilege.SELECT in self.holdings.on_table(group, point.name)
        held = {**self.holdings.tables.get(group, {})}
        held |= {f"{name}.*": given for name, given in self.holdings.namespaces.get(group, {}).items()}
        return any(
            Privilege.SELECT in given and point.namespace in (EVERY_NAMESPACE, name.rpartition(".")[0])
            for name, given in held.items()
        )

    def filters(self, group: str, point: Target) -> list[_Filter]:
        """Row filters that reach the group there."""
        return [
            _filter(rule, target, group)
            for rule, target in self._about(group, point)
            if rule.kind is RuleKind.ROW_FILTER
        ]

    def look(self, group: str, point: Target) -> int:
        """How a column looks to the group: the lower, the more is hidden."""
        found = _PLAIN
        for rule, target in self._about(group, point):
            if target.column not in (point.column, EVERY_COLUMN):
                continue
            if rule.kind is RuleKind.COLUMN_DENY:
                return _DENIED
            if rule.kind is RuleKind.COLUMN_MASK and rule.mask is not None:
                found = min(found, MASK_RANK[rule.mask])
        return found

    def _about(self, group: str, point: Target) -> Iterable[tuple[Rule, Target]]:
        for rule, target in self._rules:
            if group not in rule.exempt and _covers(target, point):
                yield rule, target


def _covers(target: Target, point: Target) -> bool:
    namespace = target.namespace in (EVERY_NAMESPACE, point.namespace)
    return namespace and target.table in (EVERY_TABLE, point.table)


def _filter(rule: Rule, target: Target, group: str) -> _Filter:
    expression = rule.expression or ""
    by_group = bool(rule.values) or "values" in placeholders(expression)
    try:
        predicate: exp.Expression | None = parse(expression, column=target.column or "some_column").copy()
    except ValueError:
        predicate = None
    if predicate is not None:
        # Trino tells names apart neither by case nor by quotes.
        for identifier in predicate.find_all(exp.Identifier):
            identifier.replace(exp.to_identifier(identifier.name.lower(), quoted=False))
    return _Filter(
        rule=rule.id,
        predicate=predicate,
        values=frozenset(share(rule, [group])) if by_group else None,
        own_identity=rule.as_filter_user,
    )
