"""Which words of a question are phrases of the layer, and which are words of the language. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from agent.semantic.layer import AGGREGATE_WORDS, Meaning, SemanticLayer
from agent.semantic.model import Aggregate
from agent.semantic.words import Token, TokenKind, stems

_ENGLISH = yaml.safe_load(Path(__file__).with_name("english.yaml").read_text(encoding="utf-8"))

FILLERS: frozenset[str] = frozenset(_ENGLISH["fillers"].split())
MEANINGFUL: frozenset[str] = frozenset(_ENGLISH["meaningful"].split())
WRITES: frozenset[str] = frozenset(_ENGLISH["writes"].split())
FORECASTS: frozenset[str] = frozenset(_ENGLISH["forecasts"].split())


@dataclass(frozen=True, kw_only=True)
class Span:
    """Tokens ``start`` to before ``end`` and what they may mean."""

    start: int
    end: int
    meanings: tuple[Meaning, ...]

    def of(self, *kinds: str) -> tuple[Meaning, ...]:
        """Those of its meanings that are of one of the kinds."""
        return tuple(meaning for meaning in self.meanings if meaning.kind in kinds)

    @property
    def places(self) -> range:
        return range(self.start, self.end)


def match_phrases(
    layer: SemanticLayer,
    found: Sequence[Token],
    taken: frozenset[int],
    more: Mapping[tuple[str, ...], tuple[Meaning, ...]] | None = None,
) -> tuple[Span, ...]:
    """The longest phrases from left to right. ``more`` are phrases that hold for this question alone."""
    keys = [token.stem.lower() for token in found]
    extra = more or {}
    longest = max(layer.longest, max((len(key) for key in extra), default=1))
    spans: list[Span] = []
    at = 0
    while at < len(found):
        for length in range(min(longest, len(found) - at), 0, -1):
            places = range(at, at + length)
            if taken.intersection(places):
                continue
            meanings = _meanings(layer, extra, found[at : at + length], tuple(keys[at : at + length]))
            if meanings:
                spans.append(Span(start=at, end=at + length, meanings=meanings))
                at += length
                break
        else:
            at += 1
    return tuple(spans)


def _meanings(
    layer: SemanticLayer,
    extra: Mapping[tuple[str, ...], tuple[Meaning, ...]],
    found: Sequence[Token],
    key: tuple[str, ...],
) -> tuple[Meaning, ...]:
    if len(found) == 1 and found[0].kind is TokenKind.QUOTED:
        # What somebody quotes is a value, whatever else it could mean.
        key = stems(found[0].text)
        known = (*layer.phrases.get(key, ()), *extra.get(key, ()))
        return tuple(meaning for meaning in known if meaning.kind == "value")
    if any(token.kind in (TokenKind.DATE, TokenKind.MARK, TokenKind.QUOTED) for token in found):
        return ()
    known = (*layer.phrases.get(key, ()), *extra.get(key, ()))
    if len(found) == 1 and found[0].text.lower() in FILLERS and not found[0].text.isupper():
        # "in" is no country, and "us" is one only as US.
        return tuple(meaning for meaning in known if meaning.kind != "value")
    return known


def value_phrases(
    values: Mapping[tuple[str, str], Iterable[str]],
) -> dict[tuple[str, ...], tuple[Meaning, ...]]:
    """Phrases for values that were looked up, by table and dimension."""
    found: dict[tuple[str, ...], list[Meaning]] = {}
    for (table, name), texts in values.items():
        for text in texts:
            key = stems(text)
            if key:
                meaning = Meaning(kind="value", table=table, name=name, values=(text,))
                found.setdefault(key, []).append(meaning)
    return {key: tuple(meanings) for key, meanings in found.items()}


def value_beside(spans: Sequence[Span], span: Span) -> Span | None:
    """The span next to it that makes column and value: "market segment BUILDING", "status is open", "AIR ship
    mode"."""
    for other in spans:
        if other is span or bool(other.of("value")) == bool(span.of("value")):
            continue
        value, column = (span, other) if span.of("value") else (other, span)
        if not (value.end == column.start or 0 <= value.start - column.end <= 1):
            continue
        names = {(m.table, m.name) for m in span.of("dimension", "value")}
        if names & {(m.table, m.name) for m in other.of("dimension", "value")}:
            return other
    return None


def aggregate_at(found: Sequence[Token], at: int) -> tuple[Aggregate, int] | None:
    """The aggregate that the words at a place name, and how many words they are."""
    for aggregate, words in AGGREGATE_WORDS.items():
        for word in words:
            parts = word.split()
            if [token.text.lower() for token in found[at : at + len(parts)]] == parts:
                return aggregate, len(parts)
    return None


def unknown_words(found: Sequence[Token], used: Iterable[int]) -> Iterator[Token]:
    """Tokens that nothing took and that are no filler: what would be ignored if it were not said."""
    taken = set(used)
    for place, token in enumerate(found):
        if place in taken or token.kind is TokenKind.MARK:
            continue
        said = {token.stem, token.text.lower()}
        if token.kind is TokenKind.WORD and said & FILLERS and not said & MEANINGFUL:
            continue
        yield token


def nearest_phrases(layer: SemanticLayer, words: Iterable[Token]) -> tuple[str, ...]:
    """Phrases of the layer that look like the words."""
    known = {" ".join(key): None for key in layer.phrases}
    found: dict[str, None] = {}
    for token in words:
        for close in difflib.get_close_matches(token.stem, known, n=2, cutoff=0.72):
            found[close] = None
    return tuple(found)
