"""Java runtimes from the Python package index."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import UsageError
from contracts.versions import JAVA_21, JAVA_25
from placements.local.artifacts import FetchOptions, Progress, ensure, home_of

_RUNTIMES = {21: JAVA_21, 25: JAVA_25}


def java_home(version: int, cache: Path, progress: Progress, *, options: FetchOptions | None = None) -> Path:
    """The ``JAVA_HOME`` of a Java feature version, installed first when it is missing.

    Raises:
        UsageError: the lab brings no such version along.
        LabError: it can't be fetched.
    """
    runtime = _RUNTIMES.get(version)
    if runtime is None:
        raise UsageError(
            "the lab brings no such Java version along",
            value=version,
            permitted=", ".join(str(known) for known in sorted(_RUNTIMES)),
        )
    return home_of(runtime, ensure(runtime, cache, progress, options=options))
