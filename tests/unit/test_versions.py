"""The record of versions is complete and well-formed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.registry import COMPONENTS
from contracts.versions import (
    ARTIFACTS,
    BASE_IMAGE,
    FOUNDATION_IMAGES,
    IMAGES,
    Artifact,
    GoTool,
    HostPlatform,
    MavenArtifact,
    Packing,
    PyPiLibraries,
    PyPiSource,
    PyPiTool,
    UrlDistribution,
)

CHECKOUT = Path(__file__).parents[2]
SHA256 = re.compile(r"[0-9a-f]{64}")


def artifacts_of(kind: type[Artifact]) -> list[Artifact]:
    return [artifact for artifact in ARTIFACTS.values() if isinstance(artifact, kind)]


@pytest.mark.parametrize("artifact", artifacts_of(MavenArtifact), ids=lambda a: str(a.name))
def test_maven_artifacts_have_checksums_for_every_platform(artifact: MavenArtifact) -> None:
    assert set(artifact.files) in ({None}, set(HostPlatform))
    for file in artifact.files.values():
        assert SHA256.fullmatch(file.sha256)
        assert file.size_bytes > 0
    assert len({file.sha256 for file in artifact.files.values()}) == len(artifact.files)
    assert (artifact.packing is Packing.FILE) == bool(artifact.file_name)
    assert artifact.version not in artifact.file_name


@pytest.mark.parametrize("artifact", artifacts_of(PyPiTool), ids=lambda a: str(a.name))
def test_wheels_have_checksums_for_every_platform(artifact: PyPiTool) -> None:
    assert set(artifact.wheels) == set(HostPlatform)
    assert all(SHA256.fullmatch(wheel.sha256) for wheel in artifact.wheels.values())
    assert len({wheel.sha256 for wheel in artifact.wheels.values()}) == len(artifact.wheels)


@pytest.mark.parametrize("artifact", artifacts_of(PyPiSource), ids=lambda a: str(a.name))
def test_source_archives_are_verified_and_keep_their_licence(artifact: PyPiSource) -> None:
    assert SHA256.fullmatch(artifact.sha256)
    assert artifact.size_bytes > 0
    assert "LICENSE" in artifact.keep


@pytest.mark.parametrize("artifact", artifacts_of(GoTool), ids=lambda a: str(a.name))
def test_go_tools_are_pinned_by_their_module_files(artifact: GoTool) -> None:
    for build in artifact.builds:
        directory = CHECKOUT / build.module_directory
        module = (directory / "go.mod").read_text()
        assert f"tool {build.package}\n" in module
        assert "replace " not in module
        sums = (directory / "go.sum").read_text()
        assert all(re.fullmatch(r"\S+ v\S+ h1:[A-Za-z0-9+/]{43}=", line) for line in sums.splitlines())
    main = artifact.builds[0]
    pinned = dict(
        re.findall(
            r"^\s*(?:require )?(\S+) v(\S+)", (CHECKOUT / main.module_directory / "go.mod").read_text(), re.M
        )
    )
    assert any(
        version == artifact.version and main.package.startswith(module) for module, version in pinned.items()
    )


def test_distributions_are_verified_or_refused() -> None:
    for artifact in artifacts_of(UrlDistribution):
        assert isinstance(artifact, UrlDistribution)
        assert artifact.sha512 is None or re.fullmatch(r"[0-9a-f]{128}", artifact.sha512)
        assert artifact.version in artifact.url


def test_the_base_image_has_a_digest_or_none() -> None:
    assert BASE_IMAGE.digest is None or re.fullmatch(r"sha256:[0-9a-f]{64}", BASE_IMAGE.digest)


def test_images_hold_what_there_is() -> None:
    for image in IMAGES.values():
        assert set(image.artifacts) <= set(ARTIFACTS)
        assert all((CHECKOUT / folder).exists() for folder in image.source)
        assert all((CHECKOUT / file).is_file() for file in image.libraries)


def test_every_image_is_one_that_a_component_runs_in_and_holds_what_that_needs() -> None:
    by_image = {info.image: info for info in COMPONENTS.values() if "kubernetes" in info.placements}
    for name, image in IMAGES.items():
        if name in FOUNDATION_IMAGES:
            assert image.artifacts == (name,)
            continue
        # Python packages are installed for the image's own Python.
        needed = {a for a in by_image[name].artifacts if not isinstance(ARTIFACTS[a], PyPiLibraries)}
        assert set(image.artifacts) == needed, name


def test_every_tool_module_belongs_to_an_artifact() -> None:
    recorded = {
        build.module_directory
        for artifact in ARTIFACTS.values()
        if isinstance(artifact, GoTool)
        for build in artifact.builds
    }
    present = {f"cli/toolchain/go/{path.name}" for path in (CHECKOUT / "cli/toolchain/go").iterdir()}
    assert present == recorded
