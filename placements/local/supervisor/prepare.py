"""What happens on disk before a service starts: its folders, its files, its one-off steps."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from pathlib import Path

from contracts.errors import LabError
from placements.local.supervisor import logs
from placements.local.supervisor.model import ServiceSpec, Step
from placements.local.supervisor.paths import PRIVATE_DIR, make_passable, remove_tree, write_private
from placements.local.supervisor.processes import UNPRIVILEGED_USER, remove_stale_pid_file

_log = logging.getLogger(__name__)
Ids = tuple[int, int] | None


def prepare(spec: ServiceSpec, env: dict[str, str], log: Path, done_dir: Path, ids: Ids) -> None:
    """Makes a service's folders and files and runs its steps, blocking.

    Raises:
        LabError: a folder can't be reached by the service's user, or a step failed (with its output).
        OSError: the disk refuses.
    """
    for target, source in spec.copies.items():
        copy_for_everybody(Path(source), Path(target))
    for shared in spec.shared_dirs:
        Path(shared).mkdir(parents=True, exist_ok=True)
    folders = [
        Path(spec.files_dir),
        Path(spec.scratch_dir),
        *([Path(spec.data_dir)] if spec.data_dir else []),
    ]
    for folder in folders:
        if ids is None:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            make_passable(folder)
        folder.chmod(PRIVATE_DIR)
        if ids is not None:
            os.chown(folder, *ids)
    if ids is not None:
        for path in [*folders, Path(spec.argv[0])]:
            _require_reachable(spec.name, path, ids[0])
    write_files(spec, ids)
    if spec.pid_file is not None and remove_stale_pid_file(Path(spec.pid_file)):
        _log.warning("%s: deleted %s, which a crash left", spec.name, spec.pid_file)
    for step in spec.steps:
        _run_step(spec, step, env, log, done_dir, ids)


def write_files(spec: ServiceSpec, ids: Ids) -> None:
    """Writes the generated files, each in one step, and deletes files of an earlier version."""
    root = Path(spec.files_dir)
    for name, content in spec.files.items():
        write_private(root / name, content, ids)
    wanted = {root / name for name in spec.files}
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if ids is not None:
                os.chown(path, *ids)
            if not any(path in file.parents for file in wanted):
                remove_tree(path)
        elif path not in wanted:
            path.unlink()


def copy_for_everybody(source: Path, target: Path) -> None:
    """Makes ``target`` a copy of ``source`` that every user can read, unless it is there already. Hard
    links where the two are on one file system."""
    if target.is_dir():
        return
    unfinished = target.with_name(f"{target.name}.new")
    remove_tree(unfinished)
    make_passable(target.parent)
    shutil.copytree(source, unfinished, symlinks=True, copy_function=_link_or_copy)
    for path in [unfinished, *unfinished.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    unfinished.rename(target)


def _link_or_copy(source: str, target: str) -> None:
    mode = Path(source).stat().st_mode
    for_everybody = mode | (0o555 if mode & 0o100 else 0o444)
    if mode == for_everybody:
        try:
            os.link(source, target)
            return
        except OSError as error:
            # Another file system, or one without hard links.
            _log.debug("%s is copied, not linked: %s", source, error)
    shutil.copy2(source, target)
    Path(target).chmod(for_everybody & 0o7777)


def _require_reachable(service: str, path: Path, uid: int) -> None:
    blocked = first_unreachable(path, uid)
    if blocked is not None:
        raise LabError(
            f"{service} runs as user {UNPRIVILEGED_USER!r}, who can't pass through a folder on its way",
            value=str(blocked),
            permitted="a lab home and cache that every user may pass through (mode 711 or 755)",
            next_command="LAB_HOME=/var/lib/lakehouse-lab lab up",
        )


def first_unreachable(path: Path, uid: int) -> Path | None:
    """The outermost existing folder above ``path`` that the user ``uid`` may not pass through."""
    for folder in reversed(path.parents):
        if not folder.exists():
            return None
        info = folder.stat()
        needed = 0o100 if info.st_uid == uid else 0o001
        if not info.st_mode & needed:
            return folder
    return None


def _run_step(
    spec: ServiceSpec, step: Step, env: dict[str, str], log: Path, done_dir: Path, ids: Ids
) -> None:
    new = f"{step.creates}.new" if step.creates else ""
    if step.creates:
        if Path(step.creates).is_dir():
            return
        remove_tree(Path(new))
    content = None
    stamp = done_dir / f"step-{step.name}.sha256"
    if step.stdin_file is not None:
        content = spec.files[step.stdin_file].encode()
        # The stamp belongs to the data it was applied to: new data needs the step again.
        digest = hashlib.sha256(content + _inode(spec.data_dir)).hexdigest()
        if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
            return
    start = logs.size(log)
    with log.open("ab") as output:
        log.chmod(0o600)
        try:
            result = subprocess.run(
                [argument.replace("{new}", new) for argument in step.argv],
                env=env,
                cwd=spec.cwd or spec.scratch_dir,
                input=content if content is not None else b"",
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=step.timeout_s,
                umask=0o077,
                # As a service: should the supervisor be killed meanwhile, the next one finds and ends it.
                start_new_session=True,
                user=None if ids is None else ids[0],
                group=None if ids is None else ids[1],
                extra_groups=None if ids is None else [],
                check=False,
            )
            failure = f"it ended with status {result.returncode}" if result.returncode else None
        except subprocess.TimeoutExpired:
            failure = f"it did not end within {step.timeout_s:g} s"
        except OSError as error:
            failure = str(error)
    if failure:
        shown = "\n".join(f"    {line}" for line in logs.tail(log, since=start))
        raise LabError(
            f"{spec.name}: step {step.name!r} failed: {failure}\n{shown}",
            next_command=f"lab logs {spec.name}",
        )
    if step.creates:
        Path(new).rename(step.creates)
    if content is not None:
        write_private(stamp, digest)


def _inode(data_dir: str | None) -> bytes:
    if data_dir is None:
        return b""
    info = Path(data_dir).stat()
    return f"{info.st_dev}:{info.st_ino}".encode()
