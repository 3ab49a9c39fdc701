"""What access data means for one reader on one table: pure, and equal to what the Rego decides.

``policies/trino`` answers Trino from the compiled bundle; this answers people, also about access data
that is not published. tests/policies/test_effects.py holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.access import EVERY_RULE, AccessData, AccessException, Mask, Rule, RuleKind
from contracts.identity import ROW_FILTER_USER
from governance.bundle import MASK_RANK, Required
from governance.predicates import guarded, literals, parts, placeholders, quote_literal
from governance.reach import EVERY_COLUMN, Holdings, Target, places, rule_targets
from governance.reports import ColumnUse, Exemption, FilterUse, GrantUse, TableView, Visibility

NO_ROW = "false"
"""The predicate of a reader that no value of a filter is given to."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A user with the groups of their token."""

    username: str
    groups: frozenset[str]


class Effects:
    """The access data of one moment, asked reader by reader.

    Args:
        owners: ``ns.table`` → the group with all privileges on it.
        catalog: the catalog's name in Trino.
        now: exceptions that ended before it do not count.
        required: as for ``governance.bundle.compile_data``.
    """

    def __init__(
        self,
        access: AccessData,
        owners: Mapping[str, str],
        *,
        catalog: str,
        now: datetime,
        required: Required | None = None,
    ) -> None:
        self._catalog = catalog
        self._required = required or {}
        self._owners = {table.lower(): group for table, group in owners.items()}
        self._holdings = Holdings(access.grants, owners)
        self._exceptions = [exception for exception in access.exceptions if exception.expires_at > now]
        self._filed: dict[str, list[tuple[Rule, Target]]] = {}
        targets = rule_targets(access)
        for rule in sorted(access.rules, key=lambda r: r.id):
            for target in targets[rule.id]:
                self._filed.setdefault(target.name, []).append((rule, target))

    def view(self, reader: Reader, table: str, columns: Sequence[str]) -> TableView:
        """``ns.table`` with these columns as ``reader`` has it."""
        name = table.lower()
        exceptions = self._exceptions_of(reader, name)
        reaching: list[tuple[Rule, Target]] = []
        exemptions: dict[str, Exemption] = {}
        for rule, target in self._about(name):
            by = _exempted(rule, reader, exceptions)
            if by is None:
                reaching.append((rule, target))
            else:
                exemptions[rule.id] = Exemption(rule=rule.id, by=by)
        return TableView(
            table=name,
            grants=tuple(self._grants(reader, name, exceptions)),
            filters=tuple(
                _filter(rule, target, reader, self._catalog, self._required.get(target.name, ()))
                for rule, target in reaching
                if rule.kind is RuleKind.ROW_FILTER
            ),
            columns=tuple(_column(column.lower(), reaching) for column in columns),
            exemptions=tuple(exemptions.values()),
        )

    def tables(self) -> set[str]:
        """Tables that grants, owners, rules and exceptions name one by one."""
        named = {table for held in self._holdings.tables.values() for table in held}
        named |= {*self._filed, *(exception.object.lower() for exception in self._exceptions)}
        return {table for table in named if not table.endswith(".*")}

    def _about(self, table: str) -> list[tuple[Rule, Target]]:
        return [found for place in places(table) for found in self._filed.get(place, ())]

    def _exceptions_of(self, reader: Reader, table: str) -> list[AccessException]:
        here = places(table)[:2]
        return [e for e in self._exceptions if e.user == reader.username and e.object.lower() in here]

    def _grants(
        self, reader: Reader, table: str, exceptions: Iterable[AccessException]
    ) -> Iterable[GrantUse]:
        namespace = table.rpartition(".")[0]
        for group in sorted(reader.groups):
            owned = self._owners.get(table) == group
            by_table = self._holdings.tables.get(group, {}).get(table, set())
            by_namespace = self._holdings.namespaces.get(group, {}).get(namespace, set())
            for privilege in sorted(by_table):
                by = f"{group} owns the table" if owned else f"grant to {group} on {table}"
                yield GrantUse(privilege=privilege.value, by=by)
            for privilege in sorted(by_namespace):
                yield GrantUse(privilege=privilege.value, by=f"grant to {group} on {namespace}.*")
        for exception in exceptions:
            for privilege in exception.privileges:
                yield GrantUse(privilege=privilege.value, by=_named(exception))


def _named(exception: AccessException) -> str:
    return f"exception {exception.id} until {exception.expires_at.isoformat(timespec='seconds')}"


def _exempted(rule: Rule, reader: Reader, exceptions: Iterable[AccessException]) -> str | None:
    """Why the rule does not hold for the reader; None when it does."""
    groups = sorted(reader.groups & set(rule.exempt))
    if groups:
        return f"{groups[0]} is exempt"
    lifting = [e for e in exceptions if rule.id in e.lifts or EVERY_RULE in e.lifts]
    return _named(lifting[0]) if lifting else None


def share(rule: Rule, groups: Iterable[str]) -> list[str]:
    """The SQL literals that a filter gives to members of ``groups``, ordered."""
    held = literals(rule.values)
    return sorted({literal for group in groups for literal in held.get(group, ())})


def _filter(rule: Rule, target: Target, reader: Reader, catalog: str, required: Collection[str]) -> FilterUse:
    expression = rule.expression or ""
    identity = ROW_FILTER_USER if rule.as_filter_user else None
    by_group = bool(rule.values) or "values" in placeholders(expression)
    values = share(rule, reader.groups)
    if by_group and not values:
        return FilterUse(rule=rule.id, predicate=NO_ROW, identity=identity)
    given = {"values": ", ".join(values), "user": quote_literal(reader.username)}
    predicate = "".join(
        piece.get("sql") or given[piece["placeholder"]]
        for piece in parts(expression, catalog=catalog, column=target.column)
    )
    return FilterUse(
        rule=rule.id,
        predicate=predicate,
        identity=identity,
        guarded=guarded(expression, column=target.column, required=required),
    )


def _column(column: str, reaching: Iterable[tuple[Rule, Target]]) -> ColumnUse:
    here = [rule for rule, target in reaching if target.column in (column, EVERY_COLUMN)]
    denying = tuple(rule.id for rule in here if rule.kind is RuleKind.COLUMN_DENY)
    if denying:
        return ColumnUse(column=column, visibility=Visibility.DENIED, rules=tuple(dict.fromkeys(denying)))
    masking = [rule for rule in here if rule.kind is RuleKind.COLUMN_MASK and rule.mask is not None]
    if not masking:
        return ColumnUse(column=column, visibility=Visibility.PLAIN)
    taken = min((rule.mask for rule in masking if rule.mask is not None), key=lambda m: MASK_RANK[Mask(m)])
    ids = tuple(dict.fromkeys(rule.id for rule in masking if rule.mask is taken))
    return ColumnUse(column=column, visibility=Visibility.MASKED, mask=taken.value, rules=ids)
