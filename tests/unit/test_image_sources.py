"""What the lab's own images hold of this project: all that the modules in them import of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.versions import IMAGES, ContainerImage

ROOT = Path(__file__).parents[2]
OWN = {path.parent.name for path in ROOT.glob("*/__init__.py")}
"""The project's packages."""


def held(image: ContainerImage) -> set[str]:
    """The modules of an image, as paths from the checkout's folder."""
    found: set[str] = set()
    for part in image.source:
        place = ROOT / part
        files = [place] if place.is_file() else place.rglob("*.py")
        found |= {file.relative_to(ROOT).as_posix() for file in files}
    return found


def imported(file: str) -> Iterator[str]:
    """Names of the project's own modules that a file imports, at its beginning or later."""
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in OWN)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in OWN:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> str | None:
    """A module's file; None for a name that is something within a module."""
    path = module.replace(".", "/")
    return next((f for f in (f"{path}.py", f"{path}/__init__.py") if (ROOT / f).is_file()), None)


@pytest.mark.parametrize(
    "image", [one for one in IMAGES.values() if one.source], ids=lambda one: str(one.name)
)
def test_an_image_holds_whatever_its_modules_import(image: ContainerImage) -> None:
    there = held(image)
    assert there
    missing = {
        f"{file} imports {module}"
        for file in there
        for module in imported(file)
        if (needed := file_of(module)) is not None and needed not in there
    }
    assert not missing
