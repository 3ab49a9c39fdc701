"""Which software a service runs, and where it lies in the cache.

Artifacts are fetched by the ``lab`` command before the engine runs, where progress can be shown. A
``pulumi up`` by hand works as well: ``lab:Process`` asks for them again before it starts a service, which
costs nothing when they are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.errors import unknown_name
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


def java_of(artifact: str) -> str | None:
    """The name of the Java that an artifact runs on, None when it needs none."""
    java = _JAVA_OF.get(artifact)
    return None if java is None else java.name


def artifact_path(name: str, cache: Path, source_dir: Path) -> Path:
    """Where an artifact is or will be; a runtime's own home folder. Raises LabError for a name that is
    not in ``contracts.versions``."""
    if name == PYTHON_ARTIFACT:
        return source_dir
    artifact = _artifact(name)
    path = entry_of(artifact, cache).path
    return home_of(artifact, path) if isinstance(artifact, PyPiTool) else path


def ensure_artifacts(names: Sequence[str], cache: Path) -> None:
    """Fetches those that are missing or damaged. Raises LabError as ``placements.local.artifacts``."""
    for name in names:
        ensure(_artifact(name), cache, SilentProgress())


def _artifact(name: str) -> Artifact:
    if name not in ARTIFACTS:
        raise unknown_name("artifact", name, [*ARTIFACTS, PYTHON_ARTIFACT])
    return ARTIFACTS[name]
