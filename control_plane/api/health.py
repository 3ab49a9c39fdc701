"""How each service answers, asked from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Component:
    """A service of the lab. ``probe_url`` answers with one of ``statuses`` while it is well; ``url`` is
    where people reach it, ``version`` what was deployed."""

    name: str
    title: str
    probe_url: str | None = None
    statuses: tuple[int, ...] = (200,)
    url: str | None = None
    version: str | None = None
