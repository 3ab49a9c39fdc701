"""Which software a service runs, and where it lies in the cache.

Artifacts are fetched by the ``lab`` command before the engine runs, where progress can be shown. A
``pulumi up`` by hand works as well: ``lab:Process`` asks for them again before it starts a service, which
costs nothing when they are there. One that the user has unpacked already is run where it lies: it is
neither copied nor verified (:func:`check_given`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.errors import UsageError, unknown_name
from contracts.settings import environment
from contracts.versions import ARTIFACTS, JAVA_21, JAVA_25, Artifact, PyPiTool
from placements.local.artifacts import SilentProgress, ensure, entry_of, home_of

PYTHON_ARTIFACT = "python"
"""What services that run this checkout's own code name as their artifact."""

_JAVA_OF = {
    "keycloak": JAVA_25,
    "nessie": JAVA_25,
    "polaris": JAVA_25,
    "trino": JAVA_25,
    "spark": JAVA_21,
}

_GIVEN_BY = {"polaris": ("LAB_POLARIS_HOME", "polarisHome")}
"""Variable and setting that name the folder of an artifact the user has unpacked."""

_REQUIRED_FILES = {"polaris": ("server/quarkus-run.jar", "admin/quarkus-run.jar")}


def java_of(artifact: str) -> str | None:
    """The name of the Java that an artifact runs on, None when it needs none."""
    java = _JAVA_OF.get(artifact)
    return None if java is None else java.name


def check_given(name: str, folder: Path, environ: Mapping[str, str] | None = None) -> None:
    """Checks that ``folder`` holds the artifact unpacked, which the user said it does by the variable or
    once before, so that the lab remembers it.

    Raises:
        UsageError: the folder is gone, or does not hold the artifact; says who named it.
    """
    variable, setting = _GIVEN_BY[name]
    named_by = variable if environment(variable, environ) else f"the lab's setting {setting!r}"
    required = _REQUIRED_FILES[name]
    absent = [file for file in required if not (folder / file).is_file()]
    if absent:
        raise UsageError(
            f"{named_by} does not hold {name}: {', '.join(absent)} is missing"
            if folder.is_dir()
            else f"{named_by} names a folder that is gone",
            value=str(folder),
            permitted=f"the folder of its unpacked official distribution, with {' and '.join(required)}",
            next_command=f"{variable}=FOLDER lab up",
        )


def given_digest(name: str, folder: Path) -> str:
    """Changes when a file of an artifact that the user gave does (by size or time of change)."""
    digest = hashlib.sha256()
    rooms = sorted({file.partition("/")[0] for file in _REQUIRED_FILES[name]})
    for path in sorted(path for room in rooms for path in (folder / room).rglob("*") if path.is_file()):
        state = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def artifact_path(name: str, cache: Path, source_dir: Path) -> Path:
    """Where an artifact is or will be; a runtime's own home folder. Raises LabError for a name that is
    not in ``contracts.versions``."""
    if name == PYTHON_ARTIFACT:
        return source_dir
    artifact = _artifact(name)
    path = entry_of(artifact, cache).path
    return home_of(artifact, path) if isinstance(artifact, PyPiTool) else path


def warm_dir(name: str, path: Path, cache: Path) -> Path:
    """Where what makes an artifact start fast is kept for all labs that run it from ``path``. Not made
    here."""
    return cache / "warm" / f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def ensure_artifacts(names: Sequence[str], cache: Path) -> None:
    """Fetches those that are missing or damaged. Raises LabError as ``placements.local.artifacts``."""
    for name in names:
        ensure(_artifact(name), cache, SilentProgress())


def _artifact(name: str) -> Artifact:
    if name not in ARTIFACTS:
        raise unknown_name("artifact", name, [*ARTIFACTS, PYTHON_ARTIFACT])
    return ARTIFACTS[name]
