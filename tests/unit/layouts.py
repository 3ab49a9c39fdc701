"""A layout of a workload for tests of components' pure functions, as placement ``local`` gives one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from contracts.workload import Layout

_USUAL = Layout(
    artifact_dir=PurePosixPath("/checkout"),
    files_dir=PurePosixPath("/labs/my lab/files"),
    data_dir=PurePosixPath("/labs/my lab/data"),
    scratch_dir=PurePosixPath("/labs/my lab/scratch"),
    python="/venv/bin/python",
    source_dir=PurePosixPath("/checkout"),
    cache_dir=PurePosixPath("/cache/warm"),
    java_home=None,
    bind_address="127.0.0.1",
    ports={},
)


def layout(ports: dict[str, int], **changes: Any) -> Layout:
    """The usual one with these ports; ``changes`` are other fields."""
    return replace(_USUAL, ports=ports, **changes)
