"""The deployment engine and the language runtimes the lab brings along."""

from __future__ import annotations

from cli.toolchain.engine import (
    Engine,
    EngineSource,
    carried_engine,
    engine_artifacts,
    engine_entries,
    pulumi_engine,
)
from cli.toolchain.java import java_home

__all__ = [
    "Engine",
    "EngineSource",
    "carried_engine",
    "engine_artifacts",
    "engine_entries",
    "java_home",
    "pulumi_engine",
]
