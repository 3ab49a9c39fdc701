"""Builds the lab's images with docker or buildah, and pushes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.project import ROOT
from contracts.errors import LabError, PreflightError, UsageError, unknown_name
from contracts.settings import cache_home
from contracts.versions import ARTIFACTS, BASE_IMAGE, IMAGES
from placements.local.artifacts import Progress, SilentProgress, ensure_all

BUILDERS = ("buildah", "docker")
_BASE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}")

Run = Callable[[Sequence[str], Mapping[str, str]], int]


def _run_here(command: Sequence[str], environ: Mapping[str, str]) -> int:
    return subprocess.run(command, env=environ, check=False).returncode


@dataclass(frozen=True, kw_only=True)
class BuiltImages:
    """Names with their tags, in the order in which they were built, and whether they were pushed."""

    images: tuple[str, ...]
    pushed: bool


def build_images(
    names: Sequence[str],
    *,
    registry: str,
    tag: str,
    base: str,
    push: bool,
    say: Callable[[str], None],
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    run: Run = _run_here,
) -> BuiltImages:
    """Builds the images of ``names``, all where there are none, as ``registry/NAME:tag``.

    Args:
        base: the reference of ``library/python`` by digest, from a registry or mirror of one's own.
        push: also push each one.

    Raises:
        UsageError: an unknown image, or a base without a digest.
        PreflightError: no builder is installed, or this machine is no Linux.
        LabError: a build or push failed; what was built before stays.
    """
    env = dict(os.environ if environ is None else environ)
    for name in names:
        if name not in IMAGES:
            raise unknown_name("image", name, IMAGES, next_command="lab images list")
    if not _BASE.fullmatch(base):
        raise UsageError(
            "the base image has no digest",
            value=base,
            permitted=f"REGISTRY/{BASE_IMAGE.repository}:{BASE_IMAGE.tag}@sha256:…",
            next_command="docker pull, then docker images --digests",
        )
    if not sys.platform.startswith("linux"):
        raise PreflightError(
            "images hold programs for Linux, which are fetched and built on Linux", value=sys.platform
        )
    builder = next((found for name in BUILDERS if (found := shutil.which(name, path=env.get("PATH")))), None)
    if builder is None:
        raise PreflightError(
            "nothing that builds images is on PATH",
            permitted=" or ".join(BUILDERS),
            next_command="apt install buildah",
        )
    chosen = [IMAGES[name] for name in names or IMAGES]
    wanted = [ARTIFACTS[name] for name in dict.fromkeys(n for image in chosen for n in image.artifacts)]
    cache = cache_home(env)
    folders = ensure_all(wanted, cache, progress or SilentProgress())
    from placements.kubernetes.building import make_context

    built = []
    # A fixed time, so that the same content is the same image.
    env["SOURCE_DATE_EPOCH"] = "0"
    for image in chosen:
        name = f"{registry.rstrip('/')}/{image.name}:{tag}"
        say(f"building {name}")
        with tempfile.TemporaryDirectory(prefix=f"lab-image-{image.name}-", dir=cache) as folder:
            make_context(image, Path(folder), checkout=ROOT, artifacts=folders)
            _do(run, [builder, "build", "--build-arg", f"BASE={base}", "--tag", name, folder], env)
        if push:
            say(f"pushing {name}")
            _do(run, [builder, "push", name], env)
        built.append(name)
    return BuiltImages(images=tuple(built), pushed=push)


def _do(run: Run, command: Sequence[str], environ: Mapping[str, str]) -> None:
    code = run(command, environ)
    if code != 0:
        raise LabError(
            f"{Path(command[0]).name} {command[1]} ended with exit code {code}",
            next_command=" ".join(command),
        )
