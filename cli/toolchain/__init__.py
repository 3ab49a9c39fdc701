"""The deployment engine and the language runtimes the lab brings along."""

from __future__ import annotations

from cli.toolchain.engine import Engine, EngineSource, engine_artifacts, pulumi_engine
from cli.toolchain.java import java_home

__all__ = ["Engine", "EngineSource", "engine_artifacts", "java_home", "pulumi_engine"]
