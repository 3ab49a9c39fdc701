"""Stretches of time in a question: ``in 1995``, ``since March 1996``, ``by quarter``. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from agent.semantic.plan import Grain
from agent.semantic.words import Token, TokenKind

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"), ("february", "feb"), ("march", "mar"), ("april", "apr"), ("may",),
            ("june", "jun"), ("july", "jul"), ("august", "aug"), ("september", "sep", "sept"),
            ("october", "oct"), ("november", "nov"), ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}  # fmt: skip
_QUARTERS = {"q1": 1, "q2": 2, "q3": 3, "q4": 4, "first": 1, "second": 2, "third": 3, "fourth": 4}
_GRAINS = {grain.value: grain for grain in Grain}
_ADVERBS = {
    "daily": Grain.DAY,
    "weekly": Grain.WEEK,
    "monthly": Grain.MONTH,
    "quarterly": Grain.QUARTER,
    "yearly": Grain.YEAR,
    "annual": Grain.YEAR,
    "annually": Grain.YEAR,
}
_GROUPING = {"by", "per", "each", "every", "a"}
_FROM = {"since", "from", "after", "starting"}
_UNTIL = {"before", "until", "till", "up"}
_YEARS = range(1900, 2101)
_COUNTS = frozenset(
    {"than", "above", "over", "under", "below", "least", "most", "exceeding", "top", "bottom"}
    | {">", ">=", "<", "<="}
)
"""Words before a number that make it a number, not a year."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """From ``start`` on and before ``end``; None is without a bound."""

    start: dt.date | None
    end: dt.date | None


@dataclass(frozen=True, kw_only=True)
class Times:
    """What was found: stretches, the grain to group by, and the places of the tokens that said so."""

    stretches: tuple[Stretch, ...]
    grain: Grain | None
    used: frozenset[int]


def read_times(found: Sequence[Token], taken: frozenset[int], today: dt.date) -> Times:
    """Reads the tokens that are not ``taken``. ``today`` is what "last month" counts from."""
    return _Reader(found, taken, today).read()


class _Reader:
    def __init__(self, found: Sequence[Token], taken: frozenset[int], today: dt.date) -> None:
        self._tokens, self._taken, self._today = found, taken, today
        self._used: set[int] = set()

    def read(self) -> Times:
        stretches: list[Stretch] = []
        grain: Grain | None = None
        at = 0
        while at < len(self._tokens):
            length, stretch = self._stretch(at)
            if stretch is not None:
                at, stretch = self._bounded(at, length, stretch)
                stretches.append(stretch)
                continue
            length, found = self._grain(at)
            if found is not None:
                grain = grain or found
                self._used.update(range(at, at + length))
                at += length
                continue
            at += 1
        return Times(stretches=tuple(stretches), grain=grain, used=frozenset(self._used))

    def _word(self, at: int) -> str:
        if not 0 <= at < len(self._tokens) or at in self._taken or at in self._used:
            return ""
        token = self._tokens[at]
        return token.text.lower() if token.kind in (TokenKind.WORD, TokenKind.NUMBER) else ""

    def _bounded(self, at: int, length: int, stretch: Stretch) -> tuple[int, Stretch]:
        """Takes in the words before and after that make a range of one or two stretches."""
        end = at + length
        self._used.update(range(at, end))
        before = self._word(at - 1)
        joint = self._word(end)
        if before in ("between", "from") and joint in ("and", "to", "until", "till", "through"):
            more, other = self._stretch(end + 1)
            if other is not None:
                self._used.update({at - 1, *range(end, end + 1 + more)})
                return end + 1 + more, Stretch(start=stretch.start, end=other.end)
        if before in _FROM:
            self._used.add(at - 1)
            start = stretch.end if before == "after" else stretch.start
            return end, Stretch(start=start, end=None)
        if before in _UNTIL or (before == "to" and self._word(at - 2) == "up"):
            self._used.add(at - 1)
            if before == "to":
                self._used.add(at - 2)
            last = stretch.start if before == "before" else stretch.end
            return end, Stretch(start=None, end=last)
        if before in ("in", "during", "for", "of", "on", "within"):
            self._used.add(at - 1)
        return end, stretch

    def _stretch(self, at: int) -> tuple[int, Stretch | None]:
        if at >= len(self._tokens) or at in self._taken:
            return 0, None
        token, word = self._tokens[at], self._word(at)
        if token.kind is TokenKind.DATE and at not in self._used:
            return 1, _iso(token.text)
        year = self._year(at)
        if year is not None:
            return 1, _months(year, 1, 12)
        if word in MONTHS:
            return self._month(at, MONTHS[word])
        if word in _QUARTERS and (word.startswith("q") or self._word(at + 1) == "quarter"):
            return self._quarter(at, _QUARTERS[word], 1 if word.startswith("q") else 2)
        return self._relative(at, word)

    def _year(self, at: int) -> int | None:
        word = self._word(at)
        if at > 0 and self._tokens[at - 1].text.lower() in _COUNTS:
            return None
        return int(word) if word.isdecimal() and len(word) == 4 and int(word) in _YEARS else None

    def _month(self, at: int, month: int) -> tuple[int, Stretch | None]:
        skip = 1 if self._word(at + 1) == "of" else 0
        year = self._year(at + 1 + skip)
        if year is not None:
            return 2 + skip, _months(year, month, month)
        # Alone it is a month only after a word that says so: "may" and "march" are verbs, too.
        if self._word(at - 1) in ("in", "since", "before", "during", "until", "after", "from", "to", "and"):
            return 1, _months(self._today.year, month, month)
        return 0, None

    def _quarter(self, at: int, quarter: int, length: int) -> tuple[int, Stretch | None]:
        skip = 1 if self._word(at + length) in ("of", "in") else 0
        year = self._year(at + length + skip)
        first = 3 * quarter - 2
        if year is not None:
            return length + skip + 1, _months(year, first, first + 2)
        return length, _months(self._today.year, first, first + 2)

    def _relative(self, at: int, word: str) -> tuple[int, Stretch | None]:
        today = self._today
        if word == "today":
            return 1, Stretch(start=today, end=today + dt.timedelta(days=1))
        if word == "yesterday":
            return 1, Stretch(start=today - dt.timedelta(days=1), end=today)
        if word not in ("this", "current", "last", "previous", "past"):
            return 0, None
        number = self._word(at + 1)
        if number.isdecimal() and self._tokens[at + 2 : at + 3]:
            grain = _GRAINS.get(self._tokens[at + 2].stem)
            if grain is not None and word in ("last", "past", "previous"):
                return 3, Stretch(start=_back(today, grain, int(number)), end=today + dt.timedelta(days=1))
        grain = _GRAINS.get(self._tokens[at + 1].stem) if self._word(at + 1) else None
        if grain is None:
            return 0, None
        start = start_of(today, grain)
        if word in ("this", "current"):
            return 2, Stretch(start=start, end=next_start(start, grain))
        return 2, Stretch(start=start_of(start - dt.timedelta(days=1), grain), end=start)

    def _grain(self, at: int) -> tuple[int, Grain | None]:
        word = self._word(at)
        if word in _ADVERBS:
            return 1, _ADVERBS[word]
        if word in _GROUPING and self._word(at + 1):
            grain = _GRAINS.get(self._tokens[at + 1].stem)
            return (2, grain) if grain is not None else (0, None)
        if (word == "over" and self._word(at + 1) == "time") or word in ("trend", "development", "evolution"):
            return (2 if word == "over" else 1), Grain.MONTH
        if word in _GRAINS and self._word(at - 1) in ("and", "which", "what") and self._after_grouping(at):
            return 1, _GRAINS[word]
        return 0, None

    def _after_grouping(self, at: int) -> bool:
        return self._word(at - 1) != "and" or any(t.stem in ("by", "per") for t in self._tokens[:at])


def start_of(day: dt.date, grain: Grain) -> dt.date:
    """The first day of the stretch that ``day`` lies in."""
    if grain is Grain.WEEK:
        return day - dt.timedelta(days=day.weekday())
    if grain is Grain.DAY:
        return day
    month = {Grain.YEAR: 1, Grain.QUARTER: 3 * ((day.month - 1) // 3) + 1}.get(grain, day.month)
    return day.replace(month=month, day=1)


def next_start(start: dt.date, grain: Grain) -> dt.date:
    """The first day after a stretch that begins at ``start``."""
    if grain in (Grain.DAY, Grain.WEEK):
        return start + dt.timedelta(days=7 if grain is Grain.WEEK else 1)
    return _add_months(start, {Grain.MONTH: 1, Grain.QUARTER: 3, Grain.YEAR: 12}[grain])


def _back(today: dt.date, grain: Grain, count: int) -> dt.date:
    if grain in (Grain.DAY, Grain.WEEK):
        return today - dt.timedelta(days=count * (7 if grain is Grain.WEEK else 1))
    return _add_months(today, -count * {Grain.MONTH: 1, Grain.QUARTER: 3, Grain.YEAR: 12}[grain])


def _add_months(day: dt.date, count: int) -> dt.date:
    months = day.year * 12 + day.month - 1 + count
    year, month = max(1, months // 12), months % 12 + 1
    first_of_next = dt.date(year + month // 12, month % 12 + 1, 1)
    return dt.date(year, month, min(day.day, (first_of_next - dt.timedelta(days=1)).day))


def _months(year: int, first: int, last: int) -> Stretch:
    return Stretch(start=dt.date(year, first, 1), end=next_start(dt.date(year, last, 1), Grain.MONTH))


def _iso(text: str) -> Stretch | None:
    try:
        if len(text) == 7:
            day, grain = dt.date.fromisoformat(f"{text}-01"), Grain.MONTH
        else:
            day, grain = dt.date.fromisoformat(text), Grain.DAY
    except ValueError:
        return None
    return Stretch(start=day, end=next_start(day, grain))
