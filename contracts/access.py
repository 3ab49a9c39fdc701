"""Access data: tags, grants, rules and exceptions, as values (DESIGN §7).

Names of objects are ``namespace.table`` or ``namespace.table.column`` within the lab's one catalog;
``namespace.*`` stands for every table of a namespace and ``*`` for every table of the catalog, those
that come later included. The meaning in one place:

- A **grant** gives a group privileges on an object. Nothing is granted otherwise.
- A **tag** labels the catalog, a namespace, a table or a column. What a tag on a catalog or namespace
  means holds for each table in it.
- A **rule** says what a tag or an object means. It holds for every reader but those in one of its
  ``exempt`` groups: who has any exempt group is exempt. Row filters with ``values`` give each group
  its share; a reader in several groups sees the union, a reader in none of them sees no row.
- An **exception** gives one user privileges on an object, lifts rules there, or both, until it expires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from contracts.errors import UsageError, unknown_name

E = TypeVar("E", bound=StrEnum)


class Privilege(StrEnum):
    """What a grant may give."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    CREATE = "create"
    ALTER = "alter"
    DROP = "drop"
    MAINTAIN = "maintain"


READ_PRIVILEGES: frozenset[Privilege] = frozenset({Privilege.SELECT})
WRITE_PRIVILEGES: frozenset[Privilege] = frozenset(Privilege) - READ_PRIVILEGES


class RuleKind(StrEnum):
    """What a rule does."""

    ROW_FILTER = "row_filter"
    COLUMN_MASK = "column_mask"
    COLUMN_DENY = "column_deny"


class Mask(StrEnum):
    """The masks the lab knows; each keeps the column's type."""

    EMAIL_DOMAIN = "email_domain"
    LAST_4 = "last_4"
    NULL = "null"
    HASH = "hash"


@dataclass(frozen=True, kw_only=True, order=True)
class Grant:
    """``group`` may use ``privileges`` on ``object`` (``ns.*`` or ``ns.table``)."""

    group: str
    object: str
    privileges: tuple[Privilege, ...]


@dataclass(frozen=True, kw_only=True, order=True)
class TagAssignment:
    """``object`` (``*``, ``ns.*``, ``ns.table`` or ``ns.table.column``) carries ``tag``, for example
    ``pii.email``."""

    object: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. Exactly one of ``tag`` and ``object`` names what it is about.

    ``expression`` (row filters) is a Trino SQL predicate; placeholders: ``{column}`` the tagged column,
    ``{values}`` the reader's values as a literal list, ``{user}`` the reader's name as a literal,
    ``{catalog}`` the catalog's name in Trino. ``values`` maps group → values (strings or integers).
    ``as_filter_user`` runs the predicate with the identity ``$row-filter``, for predicates that read
    other tables or columns the reader may not read.

    Engines evaluate a predicate that reads other tables after conditions of the reader's own, which can be
    made to tell of rows that it hides (docs/adr/0014). ``accept_leak`` says that this is accepted; such a
    predicate is refused without.
    """

    id: str
    kind: RuleKind
    tag: str | None = None
    object: str | None = None
    exempt: tuple[str, ...] = ()
    mask: Mask | None = None
    expression: str | None = None
    values: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    as_filter_user: bool = False
    accept_leak: bool = False
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class MaskKey:
    """Where the key of the hash mask lies for Trino: one column of one row."""

    catalog: str
    schema: str
    table: str
    column: str


MASK_KEY = MaskKey(catalog="masking", schema="public", table="hash_key", column="key")
"""A database of its own, which ``$row-filter`` alone may read: the key is in no plan, answer or bundle."""

EVERY_RULE = "*"
"""Among an exception's ``lifts``: every rule there is."""


@dataclass(frozen=True, kw_only=True, order=True)
class AccessException:
    """Until ``expires_at`` (UTC), ``user`` holds ``privileges`` on ``object`` (``ns.*`` or ``ns.table``),
    and the rules named in ``lifts`` do not hold for them there; ``*`` lifts every rule."""

    id: str
    user: str
    object: str
    expires_at: datetime
    reason: str
    privileges: tuple[Privilege, ...] = ()
    lifts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AccessData:
    """The whole of what is declared; a revision is one of these."""

    grants: tuple[Grant, ...] = ()
    tags: tuple[TagAssignment, ...] = ()
    rules: tuple[Rule, ...] = ()
    exceptions: tuple[AccessException, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """The JSON form, deterministically ordered: what the database, the bundle and diffs hold.
        ``exceptions`` is there only when there are any."""
        document: dict[str, Any] = {
            "grants": [
                {"group": g.group, "object": g.object, "privileges": sorted(p.value for p in g.privileges)}
                for g in sorted(self.grants)
            ],
            "tags": [{"object": t.object, "tag": t.tag} for t in sorted(self.tags)],
            "rules": [_rule_document(r) for r in sorted(self.rules, key=lambda r: r.id)],
        }
        if self.exceptions:
            document["exceptions"] = [_exception_document(e) for e in sorted(self.exceptions)]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> AccessData:
        """The reverse of :meth:`as_document`. Raises UsageError on an unknown key, privilege, kind or
        mask, naming it and the nearest known one."""
        _only(document, {"grants", "tags", "rules", "exceptions"}, "access data")
        return cls(
            grants=tuple(_grant(g) for g in document.get("grants") or ()),
            tags=tuple(_tag(t) for t in document.get("tags") or ()),
            rules=tuple(_rule(r) for r in document.get("rules") or ()),
            exceptions=tuple(_exception(e) for e in document.get("exceptions") or ()),
        )


def object_matches(pattern: str, table: str) -> bool:
    """Whether a grant's object covers ``ns.table``."""
    if pattern.endswith(".*"):
        return table.rpartition(".")[0] == pattern[:-2]
    return pattern == table


def _rule_document(rule: Rule) -> dict[str, Any]:
    document: dict[str, Any] = {"id": rule.id, "kind": rule.kind.value}
    if rule.tag is not None:
        document["tag"] = rule.tag
    if rule.object is not None:
        document["object"] = rule.object
    if rule.exempt:
        document["exempt"] = sorted(rule.exempt)
    if rule.mask is not None:
        document["mask"] = rule.mask.value
    if rule.expression is not None:
        document["expression"] = rule.expression
    if rule.values:
        document["values"] = {group: list(values) for group, values in sorted(rule.values.items())}
    if rule.as_filter_user:
        document["as_filter_user"] = True
    if rule.accept_leak:
        document["accept_leak"] = True
    if rule.description:
        document["description"] = rule.description
    return document


def _exception_document(exception: AccessException) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": exception.id,
        "user": exception.user,
        "object": exception.object,
        "expires_at": exception.expires_at.astimezone(UTC).isoformat(timespec="seconds"),
        "reason": exception.reason,
    }
    if exception.privileges:
        document["privileges"] = sorted(p.value for p in exception.privileges)
    if exception.lifts:
        document["lifts"] = sorted(exception.lifts)
    return document


def _only(document: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    if not isinstance(document, Mapping):
        raise UsageError(f"{what} must be a mapping", value=document)
    for key in document:
        if key not in set(known):
            raise unknown_name(f"key of {what}", str(key), known)


def _required(document: Mapping[str, Any], key: str, what: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what} needs {key!r}, a non-empty string", value=dict(document))
    return value


def _enum(kind: type[E], value: Any, what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise unknown_name(what, str(value), [member.value for member in kind]) from None


def _grant(document: Mapping[str, Any]) -> Grant:
    _only(document, {"group", "object", "privileges"}, "a grant")
    privileges = document.get("privileges")
    if not isinstance(privileges, list) or not privileges:
        raise UsageError("a grant needs 'privileges', a non-empty list", value=dict(document))
    return Grant(
        group=_required(document, "group", "a grant"),
        object=_required(document, "object", "a grant"),
        privileges=tuple(sorted({_enum(Privilege, p, "privilege") for p in privileges})),
    )


def _tag(document: Mapping[str, Any]) -> TagAssignment:
    _only(document, {"object", "tag"}, "a tag")
    return TagAssignment(
        object=_required(document, "object", "a tag"), tag=_required(document, "tag", "a tag")
    )


def _rule(document: Mapping[str, Any]) -> Rule:
    known = {
        "id",
        "kind",
        "tag",
        "object",
        "exempt",
        "mask",
        "expression",
        "values",
        "as_filter_user",
        "accept_leak",
        "description",
    }
    _only(document, known, "a rule")
    mask = document.get("mask")
    return Rule(
        id=_required(document, "id", "a rule"),
        kind=_enum(RuleKind, document.get("kind"), "kind of rule"),
        tag=document.get("tag"),
        object=document.get("object"),
        exempt=tuple(sorted(document.get("exempt") or ())),
        mask=None if mask is None else _enum(Mask, mask, "mask"),
        expression=document.get("expression"),
        values={group: tuple(values) for group, values in (document.get("values") or {}).items()},
        as_filter_user=bool(document.get("as_filter_user", False)),
        accept_leak=bool(document.get("accept_leak", False)),
        description=document.get("description", ""),
    )


def _exception(document: Mapping[str, Any]) -> AccessException:
    known = {"id", "user", "object", "expires_at", "reason", "privileges", "lifts"}
    _only(document, known, "an exception")
    text = _required(document, "expires_at", "an exception")
    try:
        expires_at = datetime.fromisoformat(text)
    except ValueError:
        expires_at = datetime.min
    if expires_at.tzinfo is None:
        raise UsageError(
            "'expires_at' of an exception must be a time with its zone",
            value=text,
            permitted="2026-01-31T17:00:00+00:00",
        )
    return AccessException(
        id=_required(document, "id", "an exception"),
        user=_required(document, "user", "an exception"),
        object=_required(document, "object", "an exception"),
        expires_at=expires_at.astimezone(UTC),
        reason=_required(document, "reason", "an exception"),
        privileges=tuple(
            sorted({_enum(Privilege, p, "privilege") for p in document.get("privileges") or ()})
        ),
        lifts=tuple(sorted(set(document.get("lifts") or ()))),
    )
