"""How the lab's images are made: a folder with everything in its place, and what a builder does with it.

An image has no other user than its own, no package manager's cache, and nothing that is not run from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from contracts.versions import ARTIFACTS, ContainerImage, PyPiTool
from placements.kubernetes.layout import ARTIFACTS_DIR, ROOT, SCRATCH_DIR, SOURCE_DIR, USER_ID
from placements.local.artifacts import home_of
from placements.local.supervisor.prepare import copy_for_everybody

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules")
_TREE = "root"
ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    f"lab:x:{USER_ID}:{USER_ID}:lab:{SCRATCH_DIR}:/usr/sbin/nologin\n",
    "group": f"root:x:0:\nlab:x:{USER_ID}:\n",
}
"""``/etc/passwd`` and ``/etc/group`` of an image whose user has a name: nobody signs in
(https://man7.org/linux/man-pages/man5/passwd.5.html)."""


def dockerfile(image: ContainerImage) -> str:
    """What ``docker build`` or ``buildah build`` reads. The base image comes by the argument ``BASE``."""
    python = ROOT / "python"
    lines = ["ARG BASE", "FROM ${BASE}"]
    if image.libraries:
        install = f"{python}/bin/python -m pip install --no-cache-dir --no-deps --require-hashes"
        files = " ".join(f"-r /build/{name}" for name in image.libraries)
        lines += [
            f"COPY {' '.join(image.libraries)} /build/",
            f"RUN python -m venv {python} && {install} {files} && rm -rf /build",
        ]
    else:
        lines.append(f"RUN python -m venv --without-pip {python}")
    lines += [
        f"COPY {_TREE}/ /",
        f"USER {USER_ID}:{USER_ID}",
        f"WORKDIR {SCRATCH_DIR}",
        f'LABEL org.opencontainers.image.title="lakehouse-lab {image.name}"',
    ]
    return "\n".join(lines) + "\n"


def make_context(
    image: ContainerImage,
    folder: Path,
    *,
    checkout: Path,
    artifacts: Mapping[str, Path],
    copy: Callable[[Path, Path], None] = copy_for_everybody,
) -> None:
    """Fills ``folder``, which is empty, for a build of ``image``. ``artifacts`` are folders by the artifact's
    name, as ``ensure_all`` gives them; what is copied can be read by everybody, since the image's user owns
    none of it."""
    (folder / "Dockerfile").write_text(dockerfile(image), encoding="utf-8")
    for name in image.libraries:
        shutil.copy(checkout / name, folder / name)
    for name in image.artifacts:
        target = _inside(folder, ARTIFACTS_DIR / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(_home(name, artifacts[name]), target)
    if image.account:
        accounts = _inside(folder, PurePosixPath("/etc"))
        accounts.mkdir(parents=True)
        for name, text in ACCOUNTS.items():
            (accounts / name).write_text(text, encoding="utf-8")
            (accounts / name).chmod(0o644)
    source = _inside(folder, SOURCE_DIR)
    source.mkdir(parents=True, exist_ok=True)
    for name in image.source:
        _copy_source(checkout / name, source / name)


def _home(name: str, folder: Path) -> Path:
    """What of an artifact's folder is its own: a runtime lies below what it is packed in."""
    artifact = ARTIFACTS[name]
    return home_of(artifact, folder) if isinstance(artifact, PyPiTool) else folder


def _inside(folder: Path, path: PurePosixPath) -> Path:
    return folder / _TREE / path.relative_to("/")


def _copy_source(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT)
    else:
        shutil.copy(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
