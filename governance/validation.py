"""Whether access data makes sense: what the contract's types can't say (DESIGN §7)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.access import EVERY_RULE, AccessData, AccessException, Rule, RuleKind
from contracts.errors import UsageError, nearest
from contracts.identity import GROUPS
from governance.predicates import PLACEHOLDERS, columns_read, placeholders, subqueries, tables_read

_NAME = r"[a-z0-9_][a-z0-9_-]*"
_GRANT_OBJECT = re.compile(rf"{_NAME}\.(\*|{_NAME})")
_OBJECT = re.compile(rf"\*|{_NAME}\.(\*|{_NAME}(\.{_NAME})?)")
_USER = re.compile(r"[^\s$*][^\s*]*")
_SERVICE_ACCOUNT_PREFIX = "service-account-"
_ID = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class KnownObjects:
    """What exists. ``tables`` maps ``ns.table`` → column names; ``namespaces`` are the catalog's, those
    without a table included. None: nobody was asked."""

    groups: frozenset[str] = frozenset(group.name for group in GROUPS)
    tables: Mapping[str, Sequence[str]] | None = None
    namespaces: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: where, what, and what would do."""

    where: str
    what: str
    permitted: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" (permitted: {self.permitted})" if self.permitted else "")


class InvalidAccessData(UsageError):
    """Access data that must not be published; ``problems`` lists why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "the access data is not valid:\n" + "\n".join(f"  - {problem}" for problem in problems),
            next_command="lab policy test",
        )


def validate(access: AccessData, known: KnownObjects | None = None) -> list[Problem]:
    """All problems of ``access``, in a stable order; an empty list means that it may be published."""
    check = _Check(known or KnownObjects())
    for grant in sorted(access.grants):
        where = f"grant of {grant.object} to {grant.group}"
        check.group(where, grant.group)
        check.grant_object(where, grant.object)
        if not grant.privileges:
            check.add(where, "it gives no privilege")
    for tag in sorted(access.tags):
        where = f"tag {tag.tag} on {tag.object}"
        check.object(where, tag.object)
        if not _ID.fullmatch(tag.tag):
            check.add(where, f"{tag.tag!r} is not a tag's name", "lower-case letters, digits, '.', '_', '-'")
    counted = Counter(rule.id for rule in access.rules)
    for rule_id, times in sorted(counted.items()):
        if times > 1:
            check.add(f"rule {rule_id}", f"the id is used {times} times", "an id of its own for each rule")
    tagged: dict[str, list[str]] = {}
    for tag in access.tags:
        tagged.setdefault(tag.tag, []).append(tag.object)
    for rule in sorted(access.rules, key=lambda r: r.id):
        check.rule(rule, tagged)
    rule_ids = frozenset(rule.id for rule in access.rules)
    for exception in sorted(access.exceptions):
        check.exception(exception, rule_ids)
    return check.problems


def require_valid(access: AccessData, known: KnownObjects | None = None) -> None:
    """Raises InvalidAccessData, with every problem, unless ``access`` is valid."""
    problems = validate(access, known)
    if problems:
        raise InvalidAccessData(problems)


class _Check:
    def __init__(self, known: KnownObjects) -> None:
        self.known = known
        self.tables = (
            None
            if known.tables is None
            else {table.lower(): {c.lower() for c in columns} for table, columns in known.tables.items()}
        )
        self.problems: list[Problem] = []

    def add(self, where: str, what: str, permitted: str | None = None) -> None:
        self.problems.append(Problem(where=where, what=what, permitted=permitted))

    def group(self, where: str, name: str) -> None:
        if name not in self.known.groups:
            what = f"there is no group named {name!r}{_hint(name, self.known.groups)}"
            self.add(where, what, ", ".join(sorted(self.known.groups)))

    def grant_object(self, where: str, name: str) -> None:
        if not _GRANT_OBJECT.fullmatch(name):
            self.add(
                where, f"{name!r} is not an object of a grant", "namespace.* or namespace.table, lower-case"
            )
        elif name.endswith(".*"):
            self.namespace(where, name.removesuffix(".*"))
        else:
            self.table(where, name)

    def namespace(self, where: str, name: str) -> None:
        known = self.known.namespaces
        if known is not None and name not in known:
            self.add(where, f"there is no namespace {name!r}{_hint(name, known)}", ", ".join(sorted(known)))

    def object(self, where: str, name: str) -> bool:
        if not _OBJECT.fullmatch(name):
            permitted = "namespace.table or namespace.table.column, namespace.* or *, lower-case"
            self.add(where, f"{name!r} is not a table or column", permitted)
            return False
        if name == "*":
            return True
        namespace, table, *column = name.split(".")
        if table == "*":
            self.namespace(where, namespace)
            return True
        if self.table(where, f"{namespace}.{table}") and column:
            self.column(where, f"{namespace}.{table}", column[0])
        return True

    def table(self, where: str, name: str) -> bool:
        if self.tables is None or name in self.tables:
            return True
        self.add(where, f"there is no table {name!r}{_hint(name, self.tables)}", "lab status lists tables")
        return False

    def column(self, where: str, table: str, name: str) -> None:
        columns = None if self.tables is None else self.tables[table]
        if columns is not None and name not in columns:
            self.add(
                where, f"{table} has no column {name!r}{_hint(name, columns)}", ", ".join(sorted(columns))
            )

    def rule(self, rule: Rule, tagged: Mapping[str, Sequence[str]]) -> None:
        where = f"rule {rule.id}"
        if not _ID.fullmatch(rule.id):
            self.add(where, f"{rule.id!r} is not a rule's id", "lower-case letters, digits, '.', '_', '-'")
        if (rule.tag is None) == (rule.object is None):
            count = "neither" if rule.tag is None else "both"
            self.add(where, f"it names {count} of 'tag' and 'object'", "exactly one of them")
        objects = list(tagged.get(rule.tag, ())) if rule.tag is not None else []
        if rule.object is not None and self.object(where, rule.object):
            objects.append(rule.object)
        for group in (*rule.exempt, *sorted(rule.values)):
            self.group(where, group)
        if rule.kind is RuleKind.ROW_FILTER:
            self._row_filter(where, rule, [name for name in objects if _OBJECT.fullmatch(name)])
        else:
            self._column_rule(where, rule)

    def _column_rule(self, where: str, rule: Rule) -> None:
        if rule.kind is RuleKind.COLUMN_MASK and rule.mask is None:
            self.add(where, "it masks a column and names no mask", "email_domain, hash, last_4, null")
        if rule.kind is RuleKind.COLUMN_DENY and rule.mask is not None:
            self.add(where, "it denies a column and names a mask, too", "no mask")
        for name, value in (("expression", rule.expression), ("values", rule.values)):
            if value:
                self.add(where, f"{name!r} belongs to row filters", "no such key here")
        for name, given in (("as_filter_user", rule.as_filter_user), ("accept_leak", rule.accept_leak)):
            if given:
                self.add(where, f"{name!r} belongs to row filters", "no such key here")

    def _row_filter(self, where: str, rule: Rule, objects: Sequence[str]) -> None:
        if rule.mask is not None:
            self.add(where, "it filters rows and names a mask", "no mask")
        if not rule.expression:
            self.add(where, "it filters rows and has no 'expression'", "a Trino SQL predicate")
            return
        used = placeholders(rule.expression)
        for name in sorted(set(used) - set(PLACEHOLDERS)):
            permitted = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
            self.add(where, f"there is no placeholder {{{name}}}{_hint(name, PLACEHOLDERS)}", permitted)
        if "values" in used and not rule.values:
            self.add(where, "it uses {values} and has none", "values: {group: [...]}")
        if rule.values and "values" not in used:
            self.add(where, "it has 'values' that its expression does not use", "{values} in the expression")
        self._values(where, rule)
        if "column" in used:
            for name in (name for name in objects if name.count(".") < 2):
                self.add(where, f"it uses {{column}}, and {name} is not a column", "a tag on a column")
        if self._expression(where, rule.expression, objects):
            self._other_tables(where, rule, objects)

    def _values(self, where: str, rule: Rule) -> None:
        for group, values in sorted(rule.values.items()):
            if not values:
                self.add(where, f"group {group!r} has an empty list of values", "one or more, or no entry")
            for value in values:
                if isinstance(value, bool) or not isinstance(value, int | str):
                    self.add(where, f"{value!r} is not a value", "texts and whole numbers")
            if len({isinstance(value, int) for value in values}) > 1:
                self.add(where, f"the values of group {group!r} mix texts and numbers", "one kind of value")

    def _other_tables(self, where: str, rule: Rule, objects: Sequence[str]) -> None:
        reads_others = subqueries(rule.expression or "")
        if reads_others and not rule.accept_leak:
            own = ", ".join(sorted({".".join(name.split(".")[:2]) for name in objects})) or "its own table"
            self.add(
                where,
                "the filter reads another table, so that engines evaluate conditions of a reader's own "
                "before it: one that is made to fail shows a hidden row's value in its error",
                f"columns of {own} alone, which may carry what the filter asks for, or --accept-leak",
            )
        if rule.accept_leak and not reads_others:
            self.add(where, "'accept_leak' is for filters that read another table", "no such key here")

    def _expression(self, where: str, expression: str, objects: Sequence[str]) -> bool:
        """Whether it can be used as far as its form goes."""
        for name in objects or [""]:
            try:
                read = tables_read(expression, catalog="lake", namespace=name.split(".")[0])
            except ValueError as error:
                self.add(where, f"the expression is not usable: {error}", "one Trino SQL predicate")
                return False
            for table in sorted(read):
                self.table(where, table)
            self._columns_read(where, expression, name)
        return True

    def _columns_read(self, where: str, expression: str, name: str) -> None:
        """Columns of the filtered table itself; those in subqueries are Trino's to resolve."""
        table = ".".join(name.split(".")[:2])
        if self.tables is not None and table in self.tables:
            for column in columns_read(expression, table=table):
                self.column(where, table, column)

    def exception(self, exception: AccessException, rule_ids: frozenset[str]) -> None:
        where = f"exception {exception.id}"
        if not _ID.fullmatch(exception.id):
            self.add(where, f"{exception.id!r} is not an id", "lower-case letters, digits, '.', '_', '-'")
        if not _USER.fullmatch(exception.user) or exception.user.startswith(_SERVICE_ACCOUNT_PREFIX):
            self.add(where, f"{exception.user!r} is not a person's user name", "a user who signs in")
        self.grant_object(where, exception.object)
        if not exception.privileges and not exception.lifts:
            self.add(where, "it gives no privilege and lifts no rule", "one of them, or both")
        for rule_id in exception.lifts:
            if rule_id not in {EVERY_RULE, *rule_ids}:
                hint = _hint(rule_id, rule_ids)
                self.add(where, f"there is no rule {rule_id!r}{hint}", ", ".join(sorted(rule_ids)) or None)
        if not exception.reason.strip():
            self.add(where, "it has no reason", "one line that says why")


def _hint(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""
