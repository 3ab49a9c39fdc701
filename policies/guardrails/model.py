"""What a rule sees of a resource, free of the engine's own types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Unknown:
    """The value of a property that is known only once another resource has been made."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN = Unknown()
"""Not judged while a change is previewed; the engine asks again, with the value, before it makes it."""

THROW_AWAY = "throwAwayLabs"
"""What the pack's configuration calls the labs that may be deleted by one command. No setting of a lab says
so: a change that takes a lab's protection away would permit itself."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource as the program declares it.

    Args:
        type: the engine's type, such as ``aws:s3/bucket:Bucket``.
        props: inputs by the provider's own names; secrets are opened, what is not known is ``UNKNOWN``.
        role: ``persistent`` or ``lab``, of its stack.
        protect: whether the engine refuses to delete it.
        refers_to: by property, the URNs of the resources that its value comes from.
        provider_tags: tags that the provider adds to each resource.
        throw_away: whether the pack's own setting names its lab as one that may be deleted by one command.
    """

    type: str
    name: str
    urn: str = ""
    props: Mapping[str, Any] = field(default_factory=dict)
    role: str = "persistent"
    protect: bool = False
    refers_to: Mapping[str, Sequence[str]] = field(default_factory=dict)
    provider_tags: Mapping[str, Any] = field(default_factory=dict)
    throw_away: bool = False

    def get(self, path: str) -> Any:
        """The value at a dotted path, None when it is not set; the first entry of each list on the way."""
        value: Any = self.props
        for key in path.split("."):
            if isinstance(value, list):
                value = value[0] if value else None
            if isinstance(value, Unknown):
                return UNKNOWN
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with which resource of a stack."""

    urn: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. ``check`` looks at a resource alone, ``check_stack`` at all of a stack together; either
    gives what is wrong in words that say what to do. ``settings``: JSON schemas of what the pack's
    configuration may say of it, by name."""

    name: str
    description: str
    check: Callable[[Resource], Iterable[str]] | None = None
    check_stack: Callable[[Sequence[Resource]], Iterable[Finding]] | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def items(value: Any) -> list[Any]:
    """A list, a single value as a list of one, nothing as none."""
    if value is None or isinstance(value, Unknown):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def is_true(value: Any) -> bool:
    """Whether a flag is on; some properties hold flags as text."""
    return value is True or value == "true"


def on_or_unknown(value: Any) -> bool:
    """Whether a flag that has to be on is, or can't be judged yet."""
    return isinstance(value, Unknown) or is_true(value)


def statements(document: Any) -> Iterator[Mapping[str, Any]]:
    """The statements of an IAM policy document, text or structure; none while it is not known. A document
    that can't be read raises ValueError, so that it is not taken for a harmless one."""
    if document is None or isinstance(document, Unknown) or document == "":
        return
    parsed = json.loads(document) if isinstance(document, str) else document
    if not isinstance(parsed, Mapping):
        raise ValueError("not a policy document")
    for statement in items(parsed.get("Statement")):
        if not isinstance(statement, Mapping):
            raise ValueError("not a statement")
        yield statement


ANYWHERE = frozenset({"0.0.0.0/0", "::/0"})


def open_to_all(cidrs: Any) -> bool:
    """Whether networks include all addresses."""
    return bool(ANYWHERE & {cidr for cidr in items(cidrs) if isinstance(cidr, str)})


def anybody(principal: Any) -> bool:
    """Whether a statement's principal is everybody."""
    if principal == "*":
        return True
    if isinstance(principal, Mapping):
        return any("*" in items(value) for value in principal.values())
    return False
