"""What is in the cache, and removal of what no longer serves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from cli import virtualenv
from cli.project import existing_labs
from cli.provider_plugins import cloud_plugins
from cli.session import Session
from contracts.settings import labs_home
from contracts.versions import ARTIFACTS
from placements.local.artifacts import entry_of
from placements.local.artifacts.gomodules import build_caches
from placements.local.artifacts.npm import packages_cache
from placements.local.artifacts.store import STAMP, remove_tree


@dataclass(frozen=True, kw_only=True)
class CacheItem:
    """One thing in the cache. ``kind``: artifact, environment, wheels, download, build cache, leftover.
    ``use``: by what it is used; ``removable`` when by nothing."""

    kind: str
    name: str
    path: str
    size_bytes: int
    use: str
    removable: bool


def cache_contents(session: Session) -> tuple[CacheItem, ...]:
    """Everything in the cache, by kind and name. Changes nothing."""
    cache = session.lab.cache
    if not cache.is_dir():
        return ()
    named = _named(session)
    users = _Users(session)
    return tuple(_item(cache, kind, path, named, users) for kind, path in _found(cache))


def clean_cache(session: Session, confirm: Callable[[tuple[CacheItem, ...]], None]) -> tuple[CacheItem, ...]:
    """Removes what neither this version of the lab names nor a lab uses, once ``confirm`` has returned;
    it raises to refuse. Returns what was removed.

    A lab is known by its folder below LAB_HOME or by its running processes.
    """
    items = tuple(one for one in cache_contents(session) if one.removable)
    confirm(items)
    return tuple(item for item in items if _remove(session.lab.cache, Path(item.path)))


def _remove(cache: Path, path: Path) -> bool:
    """Removes one item unless somebody makes it right now. Returns whether it was removed."""
    lock = FileLock(_lock_of(cache, path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        remove_tree(path)
    finally:
        lock.release()
    return True


def _lock_of(cache: Path, path: Path) -> Path:
    """The lock that whoever makes ``path`` holds."""
    if path.parent.name == "venv":
        return path.with_suffix(".lock")
    if path.parent.name == "downloads":
        for room in cache.iterdir():
            if path.name.startswith(f"{room.name}-"):
                return room / f".{path.name.removeprefix(f'{room.name}-')}.lock"
    made = re.fullmatch(r"\.(?:staging-|removed-)?(.+)-[0-9a-f]{8}", path.name)
    return path.with_name(f".{made[1] if made else path.name}.lock")


def _found(cache: Path) -> Iterator[tuple[str, Path]]:
    for room in sorted(path for path in cache.iterdir() if path.is_dir()):
        for path in sorted(path for path in room.iterdir() if path.is_dir()):
            if room.name == "venv":
                yield "environment", path
            elif path.name.startswith("."):
                yield "leftover", path
            elif room.name == "wheels":
                yield "wheels", path
            elif room.name == "downloads":
                yield "download", path
            elif room in (build_caches(cache), packages_cache(cache)):
                yield "build cache", path
            elif (path / STAMP).exists():
                yield "artifact", path


def _named(session: Session) -> set[Path]:
    """What this version of the lab uses."""
    from cli.toolchain import engine_entries

    cache, root = session.lab.cache, session.lab.root
    entries = [*(entry_of(artifact, cache) for artifact in ARTIFACTS.values()), *engine_entries(cache)]
    entries += [plugin.entry(cache) for plugin in cloud_plugins(root)]
    named = {path for entry in entries for path in (entry.path, entry.downloads)}
    for kind in virtualenv.REQUIREMENTS:
        name = virtualenv.environment_name(root, kind)
        named |= {cache / "venv" / name, virtualenv.wheels_folder(cache, name)}
    return named


class _Users:
    """Which labs and processes use a path of the cache."""

    def __init__(self, session: Session) -> None:
        self._labs: dict[str, str] = {}
        folder = labs_home(session.environ)
        for name in existing_labs(folder):
            files = [folder / name / "project" / "Pulumi.yaml"]
            files += (folder / name / "run" / "services").glob("*/spec.json")
            self._labs[name] = "\n".join(_text(file) for file in files)
        self._commands: dict[int, str] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                self._commands[process.pid] = " ".join([process.exe(), *process.cmdline()])

    def of(self, path: Path) -> str:
        """Who uses it, empty when nobody does."""
        inside = f"{path}/"
        for name, text in self._labs.items():
            if inside in text:
                return f"lab {name}"
        return next((f"process {pid}" for pid, text in self._commands.items() if inside in text), "")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _item(cache: Path, kind: str, path: Path, named: set[Path], users: _Users) -> CacheItem:
    use = users.of(path)
    if path in named:
        use = "by this version"
    elif kind == "build cache" and not path.name.startswith("."):
        use = "by builds"
    return CacheItem(
        kind=kind,
        name=path.relative_to(cache).as_posix(),
        path=str(path),
        size_bytes=_size_bytes(path),
        use=use or "no longer",
        removable=not use,
    )


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            total += status.st_size
    return total
