"""Which software a service runs, and where it lies in the cache.

Artifacts are fetched by the ``lab`` command before the engine runs, where progress can be shown. A
``pulumi up`` by hand works as well: ``lab:Process`` asks for them again before it starts a service, which
costs nothing when they are there. One that the user has unpacked already is run where it lies: it is
neither copied nor verified.
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

_GIVEN_BY = {"polaris": "LAB_POLARIS_HOME"}
_REQUIRED_FILES = {"polaris": ("server/quarkus-run.jar", "admin/quarkus-run.jar")}


def java_of(artifact: str) -> str | None:
    """The name of the Java that an artifact runs on, None when it needs none."""
    java = _JAVA_OF.get(artifact)
    return None if java is None else java.name


def given_folder(name: str, environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder in which the user has this artifact unpacked (``LAB_POLARIS_HOME``), None when there is
    none.

    Raises:
        UsageError: the folder does not hold the artifact.
    """
    variable = _GIVEN_BY.get(name)
    value = environment(variable, environ) if variable else None
    if value is None:
        return None
    folder = Path(value).expanduser().absolute()
    absent = [file for file in _REQUIRED_FILES[name] if not (folder / file).is_file()]
    if absent:
        raise UsageError(
            f"{variable} does not hold {name}: {', '.join(absent)} is missing",
            value=str(folder),
            permitted=f"the folder of its unpacked official distribution, with {' and '.join(absent)}",
            next_command=f"{variable}=FOLDER lab up",
        )
    return folder


def given_digest(name: str) -> str:
    """Changes when a file of an artifact that the user gave does (by size or time of change); empty for
    one in the cache, whose path says what it is. Raises UsageError as :func:`given_folder`."""
    folder = given_folder(name)
    if folder is None:
        return ""
    digest = hashlib.sha256()
    rooms = sorted({file.partition("/")[0] for file in _REQUIRED_FILES[name]})
    for path in sorted(path for room in rooms for path in (folder / room).rglob("*") if path.is_file()):
        state = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def artifact_path(name: str, cache: Path, source_dir: Path) -> Path:
    """Where an artifact is or will be; a runtime's own home folder. Raises LabError for a name that is
    not in ``contracts.versions``, and as :func:`given_folder`."""
    if name == PYTHON_ARTIFACT:
        return source_dir
    given = given_folder(name)
    if given is not None:
        return given
    artifact = _artifact(name)
    path = entry_of(artifact, cache).path
    return home_of(artifact, path) if isinstance(artifact, PyPiTool) else path


def warm_dir(name: str, cache: Path, source_dir: Path) -> Path:
    """Where what makes an artifact start fast is kept for all labs that run it from the same place. Not
    made here. Raises LabError as :func:`artifact_path`."""
    path = str(artifact_path(name, cache, source_dir))
    return cache / "warm" / f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:12]}"


def ensure_artifacts(names: Sequence[str], cache: Path) -> None:
    """Fetches those that are missing or damaged and that the user did not give. Raises LabError as
    ``placements.local.artifacts`` and :func:`given_folder`."""
    for name in names:
        if given_folder(name) is not None:
            continue
        ensure(_artifact(name), cache, SilentProgress())


def _artifact(name: str) -> Artifact:
    if name not in ARTIFACTS:
        raise unknown_name("artifact", name, [*ARTIFACTS, PYTHON_ARTIFACT])
    return ARTIFACTS[name]
