"""What is built: small enough to be there at once, and complete without any other host."""

from __future__ import annotations

import re
from pathlib import Path

FIRST_LOAD_BYTES = 300_000
"""Compressed: the page, its scripts and styles, and the font of its text."""

_LINKED = re.compile(r'(?:src|href)="/([^"]+)"')
_EXTERNAL = re.compile(rb"""(?:src|href|url|import|fetch)\s*[=(]\s*["'(`]?\s*(?:https?:)?//[a-z0-9]""")


def _compressed_bytes(pages: Path, name: str) -> int:
    packed = pages / f"{name}.gz"
    return (packed if packed.is_file() else pages / name).stat().st_size


def test_the_first_load_is_small(pages: Path) -> None:
    page = (pages / "index.html").read_text(encoding="utf-8")
    linked = _LINKED.findall(page)
    fonts = [path.relative_to(pages).as_posix() for path in (pages / "assets").glob("inter-*.woff2")]
    sizes = {name: _compressed_bytes(pages, name) for name in ["index.html", *linked, *fonts]}
    assert len(fonts) == 1
    assert sum(sizes.values()) <= FIRST_LOAD_BYTES, sizes


def test_editor_and_charts_come_only_when_they_are_needed(pages: Path) -> None:
    """Told by words that no minifier changes."""
    linked = _LINKED.findall((pages / "index.html").read_text(encoding="utf-8"))
    first = "".join((pages / name).read_text(encoding="utf-8") for name in linked if name.endswith(".js"))
    everything = "".join(path.read_text(encoding="utf-8") for path in (pages / "assets").glob("*.js"))
    for word in ("cm-content", "visualMap", "markdown"):
        assert word in everything
    for word in ("cm-content", "visualMap"):
        assert word not in first


def test_nothing_is_inline(pages: Path) -> None:
    page = (pages / "index.html").read_text(encoding="utf-8")
    assert "<style" not in page
    assert not re.findall(r"<script(?![^>]*\bsrc=)", page)
    assert not re.findall(r"\son\w+=|\sstyle=", page)


def test_no_other_host_is_asked(pages: Path) -> None:
    for path in pages.rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            found = _EXTERNAL.findall(path.read_bytes())
            assert not found, f"{path.name}: {found[:3]}"


def test_every_text_is_there_compressed(pages: Path) -> None:
    for path in (pages / "assets").iterdir():
        if path.suffix in (".js", ".css"):
            assert path.with_name(f"{path.name}.br").stat().st_size < path.stat().st_size or (
                path.stat().st_size < 500
            )
