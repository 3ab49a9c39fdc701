"""Which image a workload runs, by digest. A tag alone is refused: it may be another image tomorrow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from contracts.errors import PreflightError, UsageError
from contracts.versions import IMAGES

_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}")
LOCK_COMMAND = "lab images lock --registry HOST/PREFIX --file FILE"


def image_references(path: Path | None) -> Mapping[str, str]:
    """References by the image's name, from a JSON object that ``lab images lock`` writes; none without it.

    Raises:
        UsageError: the file can't be read, names an image that there is not, or one without a digest.
    """
    if path is None:
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the file of image references can't be read: {error}",
            value=str(path),
            permitted='a JSON object such as {"opa": "registry.example/lab/opa@sha256:…"}',
            next_command=LOCK_COMMAND,
        ) from error
    if not isinstance(document, dict):
        raise UsageError("the file of image references holds no JSON object", value=str(path))
    for name, reference in document.items():
        if name not in IMAGES:
            raise UsageError(
                f"{path.name} names an image that no workload runs", value=name, permitted=", ".join(IMAGES)
            )
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise UsageError(
                f"the reference of image {name} has no digest",
                value=reference,
                permitted="REGISTRY/REPOSITORY@sha256:…",
                next_command=LOCK_COMMAND,
            )
    return document


def require_images(wanted: Iterable[str], references: Mapping[str, str]) -> None:
    """Raises PreflightError unless every one of ``wanted`` has a reference; names those that have none."""
    absent = sorted({name for name in wanted if name not in references})
    if absent:
        raise PreflightError(
            "images whose digest is not known can't be deployed",
            value=", ".join(absent),
            permitted="a digest for each, in the file that the setting imagesFile names",
            next_command=LOCK_COMMAND,
        )
