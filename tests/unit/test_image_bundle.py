"""``lab images bundle`` and ``lab images load``, between two registries that are real servers."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.operations.bundling import BundledImages, LoadedImages, bundle_images, load_images
from cli.registry import digest_of, split_reference
from contracts.errors import LabError, PreflightError, UsageError
from contracts.versions import IMAGES
from placements.kubernetes.images import image_references
from tests.unit.registry import Registry, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source() -> Iterator[Registry]:
    """Holds every image under ``lab/NAME``; all share one layer, one is for two architectures."""
    with serving() as registry:
        registry.fill("lab")
        yield registry


@pytest.fixture
def target() -> Iterator[Registry]:
    """Empty, and wants a token for whatever it is asked."""
    with serving(token="let me in") as registry:
        yield registry


def references(registry: Registry, file: Path) -> Path:
    file.write_text(json.dumps(registry.references("lab")))
    return file


def bundle(source: Registry, tmp_path: Path, **options: Any) -> BundledImages:
    file = references(source, tmp_path / "images.json")
    return bundle_images(tmp_path / "bundle.tar", file, lambda _: None, environ={}, **options)


def load(target: Registry, tmp_path: Path, file: str = "bundle.tar") -> LoadedImages:
    return load_images(
        tmp_path / file,
        f"http://{target.host}/inside/lab",
        "1",
        tmp_path / "inside.json",
        lambda _: None,
        environ={},
    )


def test_images_arrive_as_they_were_built(source: Registry, target: Registry, tmp_path: Path) -> None:
    made = bundle(source, tmp_path)
    assert set(made.images) == set(IMAGES)
    result = load(target, tmp_path)
    assert (result.blobs, result.present) == (len(target.blobs_of("inside/lab")), 0)
    found = image_references(tmp_path / "inside.json")
    assert found == result.references
    for name, reference in found.items():
        _, repository, digest = split_reference(reference)
        assert repository == f"inside/lab/{name}"
        assert digest == made.images[name] == source.references("lab")[name].partition("@")[2]
        assert target.manifests[repository, "1"] == target.manifests[repository, digest]
    assert target.blobs_of("inside/lab") == source.blobs_of("lab")

    again = load(target, tmp_path)
    assert again.present == again.blobs, "what is there is not sent again"


def test_other_tools_read_the_file(source: Registry, tmp_path: Path) -> None:
    bundle(source, tmp_path)
    with tarfile.open(tmp_path / "bundle.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["oci-layout", "index.json"]
        assert len(names) == len(set(names)), "each part once"
        for name in names[2:]:
            content = tar.extractfile(name)
            assert content is not None
            assert name == f"blobs/sha256/{digest_of(content.read())[7:]}"
        index = json.load(tar.extractfile("index.json") or io.BytesIO())
    for one in index["manifests"]:
        name = one["annotations"]["org.opencontainers.image.ref.name"]
        assert one["annotations"]["io.containerd.image.name"] == source.references("lab")[name]


def test_the_same_images_are_the_same_file(source: Registry, tmp_path: Path) -> None:
    bundle(source, tmp_path)
    first = (tmp_path / "bundle.tar").read_bytes()
    bundle(source, tmp_path, replace=True)
    assert (tmp_path / "bundle.tar").read_bytes() == first


def test_a_file_that_is_there_is_kept(source: Registry, tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_text("mine")
    with pytest.raises(UsageError, match="--replace"):
        bundle(source, tmp_path)
    assert (tmp_path / "bundle.tar").read_text() == "mine"


@pytest.mark.parametrize("broken", ["manifest", "blob", "changed"])
def test_what_cannot_be_read_leaves_no_file(source: Registry, tmp_path: Path, broken: str) -> None:
    _, repository, digest = split_reference(source.references("lab")["opa"])
    if broken == "manifest":
        del source.manifests[repository, digest]
    else:
        blob = next(iter(source.blobs_of("lab/opa")))
        content = source.blobs[blob]
        assert content is not None
        source.blobs[blob] = content[:-1] if broken == "changed" else None
    with pytest.raises(LabError, match="another blob" if broken == "changed" else "can't be read"):
        bundle(source, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.json"]


def test_an_image_without_a_reference_is_named(source: Registry, tmp_path: Path) -> None:
    known = source.references("lab")
    known.pop("trino")
    (tmp_path / "images.json").write_text(json.dumps(known))
    with pytest.raises(PreflightError, match="trino"):
        bundle_images(tmp_path / "bundle.tar", tmp_path / "images.json", lambda _: None, environ={})


def rewritten(tmp_path: Path, *, lacks: str = "", changed: str = "") -> str:
    """The bundle with a member left out or changed."""
    with (
        tarfile.open(tmp_path / "bundle.tar") as before,
        tarfile.open(tmp_path / "other.tar", "w") as after,
    ):
        for member in before.getmembers():
            content = before.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name == changed:
                data = bytes([data[0] ^ 1]) + data[1:]
            if member.name != lacks:
                after.addfile(member, io.BytesIO(data))
    return "other.tar"


@pytest.mark.parametrize("how", ["lacks", "changed"])
def test_a_bundle_that_is_not_whole_puts_nothing_anywhere(
    source: Registry, target: Registry, tmp_path: Path, how: str
) -> None:
    bundle(source, tmp_path)
    with tarfile.open(tmp_path / "bundle.tar") as tar:
        members = tar.getnames()[2:]
    for name in (members[0], members[-1]):
        with pytest.raises(LabError, match="not whole"):
            load(target, tmp_path, rewritten(tmp_path, **{how: name}))
    assert not target.manifests
    assert not target.blobs
    assert not (tmp_path / "inside.json").exists()


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\0" * 20480])
def test_what_is_no_bundle_is_said_to_be_none(target: Registry, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.tar").write_bytes(content)
    with pytest.raises(LabError, match=r"can't be read|not whole"):
        load(target, tmp_path)


def test_a_bundle_of_another_version_is_refused(source: Registry, target: Registry, tmp_path: Path) -> None:
    bundle(source, tmp_path)
    with tarfile.open(tmp_path / "bundle.tar") as before:
        index = json.load(before.extractfile("index.json") or io.BytesIO())
    index["manifests"] = [
        one for one in index["manifests"] if one["annotations"]["org.opencontainers.image.ref.name"] != "opa"
    ]
    text = json.dumps(index).encode()
    info = tarfile.TarInfo("index.json")
    info.size = len(text)
    with tarfile.open(tmp_path / "bundle.tar", "a") as after:
        after.addfile(info, io.BytesIO(text))
    with pytest.raises(LabError, match=r"lacks images(.|\n)*opa"):
        load(target, tmp_path)


def test_a_registry_that_refuses_says_so(source: Registry, tmp_path: Path) -> None:
    bundle(source, tmp_path)
    with serving(read_only=True) as closed, pytest.raises(LabError, match="can't be written"):
        load(closed, tmp_path)
    assert not (tmp_path / "inside.json").exists()


def test_the_guide_is_followed_between_two_registries(
    source: Registry, target: Registry, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "guides" / "air-gapped.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S)
    assert len(blocks) >= 4
    env = {
        **os.environ,
        "OUTSIDE": f"http://{source.host}/lab",
        "INSIDE": f"http://{target.host}/lab",
        "CARRIED": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path),
    }
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    found = image_references(tmp_path / "inside-images.json")
    assert all(reference.startswith(f"{target.host}/lab/") for reference in found.values())
    assert {n: r.partition("@")[2] for n, r in found.items()} == {
        n: r.partition("@")[2] for n, r in source.references("lab").items()
    }
