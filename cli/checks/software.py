"""Python, the engine, artifacts, and the way to where they come from."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence

from cli.checks.findings import FIX, Finding, fixed, of_error, ok, problem, warning
from cli.components import artifacts_of
from cli.session import Session
from cli.steps import polaris_home_of
from components.registry import ComponentInfo
from contracts.errors import LabError
from contracts.versions import Artifact, MavenArtifact
from placements.local import artifacts as artifact_cache
from placements.local.software import check_given


def python() -> Iterator[Finding]:
    """The interpreter and the SDK it runs."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield ok("python", f"{version} in {sys.prefix}, pulumi {importlib.metadata.version('pulumi')}")


def engine(session: Session, fix: bool) -> Iterator[Finding]:
    """The Pulumi engine; ``fix`` obtains it."""
    from cli.toolchain import engine_artifacts, pulumi_engine

    absent = engine_artifacts(session.lab.cache, session.progress, use_installer=fix)
    if absent and not fix:
        yield warning("engine", "not in the cache yet", "lab up")
        return
    found = pulumi_engine(session.lab.cache, session.progress)
    detail = f"pulumi {found.version} ({found.source.value}) at {found.program}"
    yield fixed("engine", detail) if absent else ok("engine", detail)


def artifacts(session: Session, chosen: Sequence[ComponentInfo], fix: bool) -> Iterator[Finding]:
    """Everything the services run, each file compared with its checksum; ``fix`` fetches what is missing
    or damaged. Where something has to be fetched, also the room for it and the way to it."""
    polaris_home = polaris_home_of(session)
    if polaris_home and "polaris" in {info.name for info in chosen}:
        check_given("polaris", polaris_home, session.environ)
    wanted = artifacts_of(chosen, polaris_home=polaris_home)
    cache = session.lab.cache
    absent = artifact_cache.missing(wanted, cache)
    damaged = [one for one in artifact_cache.missing(wanted, cache, verify=True) if one not in absent]
    if not absent and not damaged:
        yield ok("artifacts", f"{len(wanted)} verified")
        return
    if fix:
        options = artifact_cache.FetchOptions(verify=True)
        artifact_cache.ensure_all(wanted, cache, session.progress, options=options)
        yield fixed("artifacts", f"fetched again: {_names([*damaged, *absent])}")
        return
    if damaged:
        yield problem("artifacts", f"damaged: {_names(damaged)}", FIX)
    if absent:
        yield warning("artifacts", f"not fetched yet: {_names(absent)}", "lab up")
    yield from _obstacles(session, [*damaged, *absent])


def _obstacles(session: Session, wanted: Sequence[Artifact]) -> Iterator[Finding]:
    try:
        artifact_cache.require_room(wanted, session.lab.cache)
    except LabError as error:
        yield of_error("cache", error)
    if any(isinstance(artifact, MavenArtifact) for artifact in wanted):
        silent = artifact_cache.silent_repositories()
        for name, reason in silent.items():
            yield problem(
                "registry",
                f"the Maven repository {name!r} can't be reached: {reason}",
                "network access, HTTPS_PROXY, a mirror in jgo's settings, or lab cache import FILE",
            )
        if not silent:
            yield ok("registry", "the Maven repository answers")


def _names(found: Sequence[Artifact]) -> str:
    return ", ".join(artifact.name for artifact in found)
