"""Where the supervisor keeps its state below a lab's home, and safe writing to it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600
PASSABLE_DIR = 0o711


@dataclass(frozen=True, kw_only=True)
class HomePaths:
    """Paths below one lab's home."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def control(self) -> Path:
        """Port and token of the running supervisor."""
        return self.run / "supervisor.json"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def services(self) -> Path:
        return self.run / "services"

    def service(self, name: str) -> Path:
        return self.services / name

    def spec(self, name: str) -> Path:
        return self.service(name) / "spec.json"

    def state(self, name: str) -> Path:
        return self.service(name) / "state.json"

    def last_spec(self, name: str) -> Path:
        """What a service that was removed last was, for a head start when it is declared again."""
        return self.run / "last" / f"{name}.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def declared(self) -> list[str]:
        """Names of the services that have a specification here, sorted."""
        if not self.services.is_dir():
            return []
        return sorted(path.parent.name for path in self.services.glob("*/spec.json"))

    def prepare(self) -> None:
        """Makes the folders; they are the user's alone."""
        make_passable(self.home)
        for folder in (self.run, self.services, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.run, self.services, self.logs):
            folder.chmod(PRIVATE_DIR)


def make_passable(folder: Path) -> None:
    """Makes a folder and those above it that are missing. As root, other users may pass through the new
    ones and list none of them: a service that must not be root lies below; an ordinary user's new
    folders follow the umask."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        for path in missing:
            path.chmod(PASSABLE_DIR)


def write_private(path: Path, content: str, owner: tuple[int, int] | None = None) -> None:
    """Replaces ``path`` in one step with a file that only its owner may read, so that a reader sees the
    old or the new content and never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
        temporary.replace(path)
    except OSError:
        # A full disk: half a file would take of what is left.
        temporary.unlink(missing_ok=True)
        raise


def remove_tree(path: Path) -> None:
    """Deletes a directory if it is there. Raises OSError when part of it can't be deleted."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
