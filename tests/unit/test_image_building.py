"""``lab images build``: what goes into an image, and what the builder is told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from cli.operations import building
from cli.operations.building import build_images
from contracts.errors import LabError, PreflightError, UsageError
from contracts.versions import IMAGES, ContainerImage
from placements.kubernetes.building import dockerfile, make_context
from placements.kubernetes.layout import image_layout

ROOT = Path(__file__).resolve().parents[2]
BASE = f"registry.example/library/python:3.13-slim@sha256:{'0' * 64}"


@pytest.mark.parametrize("image", IMAGES.values(), ids=lambda image: image.name)
def test_nothing_runs_as_root_and_packages_are_compared_with_their_hashes(image: ContainerImage) -> None:
    lines = dockerfile(image).splitlines()
    assert lines[:2] == ["ARG BASE", "FROM ${BASE}"]
    assert "USER 10001:10001" in lines
    installing = [line for line in lines if " install " in line]
    assert len(installing) == bool(image.libraries)
    assert all("--require-hashes" in line and "--no-cache-dir" in line for line in installing)
    for name in image.libraries:
        assert f"-r /build/{name}" in installing[0]
    # Whoever writes after this line would write as an ordinary user.
    assert not [line for line in lines[lines.index("USER 10001:10001") :] if line.startswith(("RUN", "COPY"))]


def test_everything_lies_where_the_layout_says(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    (artifact / "lib").mkdir(parents=True)
    (artifact / "lib" / "a.jar").write_text("jar")
    (artifact / "lib" / "a.jar").chmod(0o600)
    image = ContainerImage(
        name="x",
        artifacts=("trino",),
        source=("policies", "control_plane/__init__.py"),
        libraries=("requirements.txt",),
    )
    folder = tmp_path / "context"
    folder.mkdir()
    make_context(image, folder, checkout=ROOT, artifacts={"trino": artifact})
    layout = image_layout("trino", "trino", ("https",))
    placed = folder / "root" / layout.artifact_dir.relative_to("/") / "lib" / "a.jar"
    assert placed.read_text() == "jar"
    assert placed.stat().st_mode & 0o777 == 0o644, "the image's user could not read it"
    source = folder / "root" / layout.source_dir.relative_to("/")
    assert (source / "policies" / "trino" / "entry.rego").is_file()
    assert (source / "control_plane" / "__init__.py").is_file()
    assert not (source / "control_plane" / "web").exists()
    assert not list(source.rglob("__pycache__"))
    assert (folder / "requirements.txt").read_bytes() == (ROOT / "requirements.txt").read_bytes()
    assert (folder / "Dockerfile").read_text() == dockerfile(image)


class Builder:
    """Notes what it was asked to do, and looks at the context while it is there."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.calls: list[str] = []

    def __call__(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        assert environ["SOURCE_DATE_EPOCH"] == "0"
        words = [Path(command[0]).name, *command[1:]]
        if words[1] == "build":
            assert (Path(words.pop()) / "Dockerfile").is_file()
        self.calls.append(shlex.join(words))
        return int(words[1] == self.fails)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine with docker, and artifacts that need no download."""
    for name in ("bin", "cache", "artifact"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "docker").chmod(0o755)
    monkeypatch.setattr(
        building,
        "ensure_all",
        lambda wanted, *_: {artifact.name: tmp_path / "artifact" for artifact in wanted},
    )
    return {"PATH": str(tmp_path / "bin"), "LAB_CACHE": str(tmp_path / "cache")}


def build(
    environ: Mapping[str, str], run: Builder, *names: str, base: str = BASE, push: bool = False
) -> tuple[str, ...]:
    return build_images(
        names,
        registry="registry.example/lab/",
        tag="1",
        base=base,
        push=push,
        say=lambda _: None,
        environ=environ,
        run=run,
    ).images


def test_images_are_built_on_the_base_and_pushed_when_asked(environ: dict[str, str], tmp_path: Path) -> None:
    run = Builder()
    assert build(environ, run, "opa", push=True) == ("registry.example/lab/opa:1",)
    assert run.calls == [
        f"docker build --build-arg BASE={BASE} --tag registry.example/lab/opa:1",
        "docker push registry.example/lab/opa:1",
    ]
    assert list((tmp_path / "cache").iterdir()) == [], "the context is gone"


def test_all_are_built_where_none_is_named(environ: dict[str, str]) -> None:
    run = Builder()
    assert build(environ, run) == tuple(f"registry.example/lab/{name}:1" for name in IMAGES)
    assert not [call for call in run.calls if " push " in call]


def test_a_failed_build_is_not_pushed(environ: dict[str, str]) -> None:
    run = Builder(fails="build")
    with pytest.raises(LabError, match="docker build ended with exit code 1"):
        build(environ, run, "opa", "trino", push=True)
    assert len(run.calls) == 1


@pytest.mark.parametrize(
    ("names", "base", "said"),
    [
        (("oppa",), BASE, "did you mean 'opa'"),
        (("opa",), "registry.example/library/python:3.13-slim", "no digest"),
    ],
)
def test_wrong_words_build_nothing(
    environ: dict[str, str], names: tuple[str, ...], base: str, said: str
) -> None:
    run = Builder()
    with pytest.raises(UsageError, match=said):
        build(environ, run, *names, base=base)
    assert run.calls == []


def test_without_a_builder_or_on_another_system_nothing_is_fetched(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "ensure_all", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(PreflightError, match="builds images"):
        build({**environ, "PATH": str(tmp_path)}, Builder())
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(PreflightError, match="for Linux"):
        build(environ, Builder())
