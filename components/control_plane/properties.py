"""The console's generated file as pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A service that the console asks after: ``probe_url`` answers with one of ``statuses`` while it is
    well, None where the lab runs without it; people reach it at ``url``."""

    name: str
    title: str
    probe_url: str | None
    statuses: tuple[int, ...] = (200,)
    url: str | None = None
    version: str | None = None


def components_json(components: Sequence[Probed]) -> str:
    """``components.json``, as ``control_plane.api.health`` reads it."""
    return json.dumps([asdict(component) for component in components], indent=1)


def host_of(url: str) -> str:
    """Host and port of a URL, as the header ``Host`` has them."""
    return urlsplit(url).netloc
