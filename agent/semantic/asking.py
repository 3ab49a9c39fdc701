"""Words about the answer's form: how many, top 5, the highest, above 100, by what, as a share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.semantic.matching import Span, aggregate_at
from agent.semantic.model import Aggregate
from agent.semantic.plan import Comparison, Order
from agent.semantic.words import Token, TokenKind

_COUNTING = (("how", "many"), ("number", "of"), ("count", "of"), ("count",), ("no", "of"))
_GROUPING = (
    ("for", "each"), ("for", "every"), ("broken", "down", "by"), ("split", "by"), ("grouped", "by"),
    ("by",), ("per",), ("across",), ("each",), ("every",),
)  # fmt: skip
_COMPARING: tuple[tuple[tuple[str, ...], Comparison], ...] = (
    (("more", "than"), Comparison.ABOVE),
    (("greater", "than"), Comparison.ABOVE),
    (("higher", "than"), Comparison.ABOVE),
    (("larger", "than"), Comparison.ABOVE),
    (("at", "least"), Comparison.AT_LEAST),
    (("less", "than"), Comparison.BELOW),
    (("fewer", "than"), Comparison.BELOW),
    (("lower", "than"), Comparison.BELOW),
    (("smaller", "than"), Comparison.BELOW),
    (("at", "most"), Comparison.AT_MOST),
    (("up", "to"), Comparison.AT_MOST),
    (("above",), Comparison.ABOVE),
    (("over",), Comparison.ABOVE),
    (("exceeding",), Comparison.ABOVE),
    (("under",), Comparison.BELOW),
    (("below",), Comparison.BELOW),
    ((">=",), Comparison.AT_LEAST),
    (("<=",), Comparison.AT_MOST),
    ((">",), Comparison.ABOVE),
    (("<",), Comparison.BELOW),
)
_FIRST = {"top", "best", "first", "largest", "biggest", "highest", "greatest", "most", "leading"}
_LAST = {"bottom", "worst", "lowest", "smallest", "fewest", "least", "last"}
_SUPERLATIVES = {
    **dict.fromkeys(
        ("most", "highest", "largest", "biggest", "greatest", "best", "top", "maximum"), Order.DESCENDING
    ),
    **dict.fromkeys(("least", "lowest", "smallest", "fewest", "worst", "minimum"), Order.ASCENDING),
}
_RECENCY = {
    **dict.fromkeys(("latest", "newest", "recent"), Order.DESCENDING),
    **dict.fromkeys(("oldest", "earliest"), Order.ASCENDING),
}
_SHARES = {"share", "percentage", "percent", "proportion", "fraction", "distribution"}
_EXCLUDING = {"excluding", "except", "without", "not", "exclude"}
_NUMBERS = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
MAX_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class Limit:
    """``at``: where the number stands. A number below a comparison."""

    comparison: Comparison
    value: float
    places: range


@dataclass(frozen=True, kw_only=True)
class Top:
    """``top 5``: where it stands, how many, from which end. ``ranked``: it asks for the largest or smallest,
    not just for some ("first 5")."""

    at: int
    count: int
    order: Order
    ranked: bool


@dataclass(kw_only=True)
class Form:
    """What was said about the form. Places are of tokens."""

    counting: list[int] = field(default_factory=list)
    grouping: list[int] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    aggregates: dict[int, Aggregate] = field(default_factory=dict)
    superlatives: dict[int, Order] = field(default_factory=dict)
    recency: tuple[Order, int | None] | None = None
    top: Top | None = None
    share: bool = False
    excluding: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)


def read_form(found: Sequence[Token], spans: Sequence[Span], taken: frozenset[int]) -> Form:
    """Reads the words that no phrase and no time took."""
    form = Form()
    covered = {place for span in spans for place in span.places} | set(taken)
    words = ["" if place in covered else token.text.lower() for place, token in enumerate(found)]
    at = 0
    while at < len(found):
        at += max(1, _one(found, words, at, form)) if at not in covered else 1
    return form


def _one(found: Sequence[Token], words: list[str], at: int, form: Form) -> int:
    """Reads what begins at a place; the number of tokens it took."""
    compared = _comparison(found, words, at)
    if compared is not None:
        form.limits.append(compared)
        form.used.update(compared.places)
        return len(compared.places)
    for parts in _COUNTING:
        if words[at : at + len(parts)] == [*parts]:
            form.counting.append(at + len(parts) - 1)
            form.used.update(range(at, at + len(parts)))
            return len(parts)
    recent = _recent(found, words, at)
    if recent is not None:
        form.recency = (recent[0], recent[1])
        form.used.update(range(at, at + recent[2]))
        return recent[2]
    ranked = _top(found, words, at)
    if ranked is not None:
        form.top = form.top or ranked
        form.used.update((at, at + 1))
        return 2
    for several in _GROUPING:
        if words[at : at + len(several)] == [*several]:
            form.grouping.append(at + len(several) - 1)
            form.used.update(range(at, at + len(several)))
            return len(several)
    return _single(found, words, at, form)


def _single(found: Sequence[Token], words: list[str], at: int, form: Form) -> int:
    word = words[at]
    if word in _SHARES:
        form.share = True
    elif word in _EXCLUDING:
        form.excluding.append(at)
    elif word in ("last", "first"):
        form.recency = (Order.DESCENDING if word == "last" else Order.ASCENDING, None)
    else:
        if word in _SUPERLATIVES:
            form.superlatives[at] = _SUPERLATIVES[word]
        named = aggregate_at(found, at) if word else None
        if named is not None:
            form.aggregates[at + named[1] - 1] = named[0]
            form.used.update(range(at, at + named[1]))
            return named[1]
        if word not in _SUPERLATIVES:
            return 1
    form.used.add(at)
    return 1


def _comparison(found: Sequence[Token], words: list[str], at: int) -> Limit | None:
    for parts, comparison in _COMPARING:
        after = at + len(parts)
        given = tuple(words[place] or found[place].text for place in range(at, min(after, len(found))))
        if given == parts and after < len(found) and words[after]:
            value = found[after].number
            if value is not None:
                return Limit(comparison=comparison, value=value, places=range(at, after + 1))
    return None


def _top(found: Sequence[Token], words: list[str], at: int) -> Top | None:
    """``top 5``, ``5 largest``, ``first three``: two words."""
    for here, there in ((at, at + 1), (at + 1, at)):
        if max(here, there) >= len(found):
            continue
        order = (
            Order.DESCENDING if words[here] in _FIRST else Order.ASCENDING if words[here] in _LAST else None
        )
        number = _count(found, words, there)
        if order is not None and number is not None:
            return Top(at=at, count=number, order=order, ranked=words[here] not in ("first", "last"))
    return None


def _recent(found: Sequence[Token], words: list[str], at: int) -> tuple[Order, int | None, int] | None:
    """``latest``, ``latest 5``, ``5 oldest``: the order, the number, and how many words."""
    following = words[at + 1] if at + 1 < len(words) else ""
    if words[at] in _RECENCY:
        number = _count(found, words, at + 1) if following else None
        return _RECENCY[words[at]], number, 1 if number is None else 2
    number = _count(found, words, at) if following in _RECENCY else None
    return None if number is None else (_RECENCY[following], number, 2)


def _count(found: Sequence[Token], words: list[str], at: int) -> int | None:
    token = found[at]
    if not words[at]:
        return None
    value = token.number if token.kind is TokenKind.NUMBER else _NUMBERS.get(words[at])
    return int(value) if value is not None and value == int(value) and 1 <= value <= MAX_LIMIT else None
