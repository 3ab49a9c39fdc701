"""Text as tokens, so that a question and the layer's phrases meet in one form. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*'|“[^”]*”)
    |(?P<date>\d{4}-\d{2}(?:-\d{2})?(?!\d))
    |(?P<number>\d[\d,]*(?:\.\d+)?(?:%|k\b|m\b)?(?![\w#]))
    |(?P<word>[^\W_][\w#&/-]*)
    |(?P<mark>[<>]=?|=|!=)""",
    re.VERBOSE | re.IGNORECASE,
)
_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b|(?<=s)['’](?=\s|$)")
_FACTORS = {"k": 1_000, "m": 1_000_000}


class TokenKind(StrEnum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    DATE = "date"
    QUOTED = "quoted"
    MARK = "mark"


@dataclass(frozen=True, kw_only=True)
class Token:
    """One word, number, date (``1995-03``), quoted text or comparison sign; ``stem`` is what is compared."""

    text: str
    stem: str
    kind: TokenKind

    @property
    def number(self) -> float | None:
        """Its value, None for what is no number."""
        if self.kind is not TokenKind.NUMBER:
            return None
        text = self.text.lower().replace(",", "").rstrip("%")
        factor = _FACTORS.get(text[-1:], 1)
        return float(text.rstrip("km")) * factor


def tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a text, in order."""
    found = []
    for match in _TOKEN.finditer(_POSSESSIVE.sub("", text)):
        kind = TokenKind(str(match.lastgroup))
        piece = match[0][1:-1] if kind is TokenKind.QUOTED else match[0]
        found.append(Token(text=piece, stem=stem(piece) if kind is TokenKind.WORD else piece, kind=kind))
    return tuple(found)


def stem(word: str) -> str:
    """Lower case, and the plural's ending off."""
    word = word.lower().strip("-/")
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def stems(text: str) -> tuple[str, ...]:
    """What a phrase is compared by."""
    return tuple(token.stem.lower() for token in tokens(text))


def plural(noun: str) -> str:
    """The plural of an English noun that has a regular one."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
