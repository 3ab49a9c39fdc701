"""Access data in files: one YAML file per part, each in the document form of ``contracts.access``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from contracts.access import AccessData
from contracts.errors import UsageError

PARTS = ("tags", "grants", "rules")


def read_document(folder: Path) -> dict[str, Any]:
    """``tags.yaml``, ``grants.yaml`` and ``rules.yaml`` of ``folder`` as one document.

    Raises:
        UsageError: a file is missing, is not YAML, or holds something else than its own part.
    """
    return {part: _part(folder / f"{part}.yaml", part) for part in PARTS}


def read_access(folder: Path) -> AccessData:
    """The access data of ``folder``. Raises UsageError as :func:`read_document` and
    :meth:`contracts.access.AccessData.from_document` do."""
    return AccessData.from_document(read_document(folder))


def _part(path: Path, part: str) -> list[Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"{path.name} can't be read: {error.strerror}", value=str(path)) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path.name} is not YAML", value=str(path), permitted=str(error)) from None
    if not isinstance(content, Mapping) or set(content) != {part}:
        raise UsageError(f"{path.name} must hold one key", value=str(path), permitted=f"{part}: [...]")
    entries = content[part]
    if not isinstance(entries, list):
        raise UsageError(f"{part!r} in {path.name} must be a list", value=entries, permitted=f"{part}: [...]")
    return entries
