"""The cache as one file: what is in it, whom it fits, and that a damaged one leaves nothing behind."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
import zstandard

from cli import operations, project, provider_plugins, virtualenv, wheelhouse
from cli.operations import carrying
from cli.project import Lab
from cli.session import Session
from contracts.errors import LabError, PreflightError, UsageError
from contracts.versions import MavenArtifact
from placements.local.artifacts import FetchOptions, ensure, entry_of
from placements.local.artifacts.store import STAMP, problems
from tests.unit.artifact_fakes import FakeSource, RecordingProgress, archive, tar_artifact
from tests.unit.test_lab_script import make_wheel


class Side:
    """A machine: a checkout with one pinned package, and a cache."""

    def __init__(self, folder: Path, requirement: str) -> None:
        self.root, self.cache = folder / "check out", folder / "cache"
        self.root.mkdir(parents=True)
        for file in virtualenv.REQUIREMENTS.values():
            (self.root / file).write_text(requirement)
        lab = Lab(name="lab", home=folder / "labs" / "lab", root=self.root, cache=self.cache)
        self.session = Session(lab, progress=RecordingProgress(), environ={"LAB_HOME": str(folder / "labs")})

    @property
    def environment(self) -> str:
        return wheelhouse.environment_name(self.root)

    @property
    def wheels(self) -> Path:
        return virtualenv.wheels_folder(self.cache, self.environment)

    def files(self) -> dict[str, str]:
        """Every file of the cache but locks, with its digest."""
        return {
            path.relative_to(self.cache).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.cache.rglob("*"))
            if path.is_file() and path.suffix != ".lock" and path.name != STAMP
        }


CONTENTS = {name: archive([(f"{name}-1.0/bin/{name}", name.encode() * 4000)]) for name in ("one", "two")}
ARTIFACTS: list[MavenArtifact] = [tar_artifact(content, name=name) for name, content in CONTENTS.items()]
ENGINE_CONTENT = archive([("engine-1.0/bin/engine", b"engine")], links=[])
ENGINE = tar_artifact(ENGINE_CONTENT, name="engine")


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Side, Side]:
    """One with everything, one with nothing; both name the same versions. No index, no network."""
    requirement = make_wheel(tmp_path / "wheels")
    here, there = Side(tmp_path / "here", requirement), Side(tmp_path / "there", requirement)
    for artifact, content in [*zip(ARTIFACTS, CONTENTS.values(), strict=True), (ENGINE, ENGINE_CONTENT)]:
        ensure(artifact, here.cache, RecordingProgress(), options=FetchOptions(maven=FakeSource(content)))
    (here.wheels).mkdir(parents=True)
    for wheel in (tmp_path / "wheels").iterdir():
        (here.wheels / wheel.name).write_bytes(wheel.read_bytes())
    for noise in (
        "go-caches/build/x",
        "venv/local-abc/bin/python",
        "downloads/y/partial",
        "one/.staging-z/f",
    ):
        (here.cache / noise).parent.mkdir(parents=True)
        (here.cache / noise).write_text("not to be carried")
    monkeypatch.setattr(carrying, "carried_artifacts", lambda: list(ARTIFACTS))
    monkeypatch.setattr("cli.toolchain.carried_engine", lambda cache, _: entry_of(ENGINE, cache))
    monkeypatch.setattr("cli.toolchain.engine_entries", lambda cache: (entry_of(ENGINE, cache),))
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    return here, there


@pytest.fixture
def export(machines: tuple[Side, Side], tmp_path: Path) -> Path:
    file = tmp_path / "lab cache.zip"
    operations.export_cache(machines[0].session, file)
    return file


def rewrite(file: Path, change: Callable[[str, bytes], bytes]) -> None:
    """The zip with the content of its members changed; its own checksums are right again."""
    with zipfile.ZipFile(file) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(file, "w") as new:
        for name, content in members:
            new.writestr(name, change(name, content))


def rewrite_manifest(file: Path, **changes: object) -> None:
    def change(name: str, content: bytes) -> bytes:
        return json.dumps(json.loads(content) | changes).encode() if name == "manifest.json" else content

    rewrite(file, change)


def test_an_import_gives_the_same_artifacts_and_wheels(machines: tuple[Side, Side], export: Path) -> None:
    here, there = machines
    result = operations.import_cache(there.session, export)
    assert set(result.artifacts) == {"one 1.0", "two 1.0", "engine 1.0"}
    for artifact in (*ARTIFACTS, ENGINE):
        assert problems(entry_of(artifact, there.cache), verify=True) == []
    assert there.files().items() <= here.files().items()
    assert [path.name for path in there.wheels.iterdir()] == ["lab_probe-1.0-py3-none-any.whl"]
    again = operations.import_cache(there.session, export)
    assert again.artifacts == ()
    assert set(again.present) == set(result.artifacts)


def test_the_packages_of_labs_elsewhere_come_along_when_asked_for(
    machines: tuple[Side, Side], tmp_path: Path
) -> None:
    here, there = machines
    more = make_wheel(tmp_path / "more", name="lab_more")
    for side in machines:
        with (side.root / virtualenv.REQUIREMENTS["cloud"]).open("a") as pinned:
            pinned.write(more)
    held = virtualenv.wheels_folder(here.cache, wheelhouse.environment_name(here.root, "cloud"))
    held.mkdir(parents=True)
    for wheel in (*here.wheels.iterdir(), *(tmp_path / "more").iterdir()):
        (held / wheel.name).write_bytes(wheel.read_bytes())
    file = tmp_path / "cloud.zip"
    assert operations.export_cache(here.session, file, cloud=True).wheels == 2
    with zipfile.ZipFile(file) as found:
        assert len(found.namelist()) == len(set(found.namelist())), "what both need is there once"
    assert operations.import_cache(there.session, file).wheels == 2
    taken = virtualenv.wheels_folder(there.cache, wheelhouse.environment_name(there.root, "cloud"))
    assert {path.name for path in taken.iterdir()} == {path.name for path in held.iterdir()}
    assert [path.name for path in there.wheels.iterdir()] == ["lab_probe-1.0-py3-none-any.whl"]
    rewrite_manifest(file, cloud_environment="cloud-of-another")
    with pytest.raises(LabError, match="another version of the lab"):
        operations.import_cache(there.session, file)


def test_only_named_entries_are_carried(machines: tuple[Side, Side], export: Path) -> None:
    with zipfile.ZipFile(export) as found:
        names = found.namelist()
        content = b"".join(
            zstandard.ZstdDecompressor().stream_reader(found.open(name)).read()
            for name in names
            if name.endswith(".zst")
        )
    assert [name.partition("/")[0] for name in names] == ["wheels", *["artifacts"] * 3, "manifest.json"]
    assert b"not to be carried" not in content


def test_who_exported_is_not_told(machines: tuple[Side, Side], export: Path) -> None:
    with zipfile.ZipFile(export) as found:
        member = next(name for name in found.namelist() if name.startswith("artifacts/one"))
        with (
            zstandard.ZstdDecompressor().stream_reader(found.open(member)) as stream,
            tarfile.open(fileobj=stream, mode="r|") as packed,
        ):
            assert {(m.uid, m.gid, m.uname, m.gname) for m in packed} == {(0, 0, "", "")}


def test_a_file_that_is_there_is_kept_unless_told(
    machines: tuple[Side, Side], export: Path, tmp_path: Path
) -> None:
    before = export.read_bytes()
    with pytest.raises(UsageError, match="--replace"):
        operations.export_cache(machines[0].session, export)
    with pytest.raises(UsageError, match="does not exist"):
        operations.export_cache(machines[0].session, tmp_path / "nowhere" / "x.zip")
    assert export.read_bytes() == before
    operations.export_cache(machines[0].session, export, replace=True)
    assert export.read_bytes() == before, "the same cache gives the same file"


def test_a_failed_export_leaves_no_file(
    machines: tuple[Side, Side], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(carrying, "pack", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(LabError, match="No space left"):
        operations.export_cache(machines[0].session, tmp_path / "out" / "x.zip")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"system": "darwin arm64"}, PreflightError, "darwin arm64"),
        ({"python": "cpython-399"}, PreflightError, "python3.99 ./lab cache import"),
        ({"environment": "local-0123"}, LabError, "another version of the lab"),
        ({"format": "something else"}, LabError, "no export of a lab's cache"),
        ({"artifacts": []}, LabError, "lacks one 1.0, two 1.0, an engine"),
    ],
)
def test_an_export_for_something_else_is_refused_before_anything_is_written(
    machines: tuple[Side, Side], export: Path, change: dict[str, object], error: type[LabError], said: str
) -> None:
    rewrite_manifest(export, **change)
    with pytest.raises(error) as caught:
        operations.import_cache(machines[1].session, export)
    assert said in str(caught.value)
    assert not machines[1].cache.exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999], ids=["nothing", "a few bytes", "half", "nearly all"])
def test_a_file_that_was_cut_short_is_refused(machines: tuple[Side, Side], export: Path, keep: float) -> None:
    content = export.read_bytes()
    export.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(LabError, match="damaged or no export"):
        operations.import_cache(machines[1].session, export)
    assert not machines[1].cache.exists()


def test_no_file_is_said(machines: tuple[Side, Side], tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        operations.import_cache(machines[1].session, tmp_path / "none.zip")


@pytest.mark.parametrize("part", ["wheels/", "artifacts/two"])
def test_a_changed_member_is_not_installed_and_what_was_before_stays(
    machines: tuple[Side, Side], export: Path, part: str
) -> None:
    here, there = machines
    good = export.read_bytes()

    def change(name: str, content: bytes) -> bytes:
        if not name.startswith(part):
            return content
        if name.endswith(".whl"):
            return content + b"\0"
        plain = zstandard.ZstdDecompressor().stream_reader(content).read().replace(b"twotwo", b"badbad", 1)
        return zstandard.ZstdCompressor().compress(plain)

    rewrite(export, change)
    with pytest.raises(LabError, match="differs from its checksum"):
        operations.import_cache(there.session, export)
    assert not [path for path in there.cache.rglob("*") if ".staging" in path.name]
    assert problems(entry_of(ARTIFACTS[1], there.cache), verify=False) == ["not installed"]
    assert there.files().items() <= here.files().items()
    export.write_bytes(good)
    result = operations.import_cache(there.session, export)
    assert "two 1.0" in result.artifacts
    assert ("one 1.0" in result.present) == (part != "wheels/"), "it goes on with what is missing"


def test_a_bit_that_flipped_is_told(machines: tuple[Side, Side], export: Path) -> None:
    with zipfile.ZipFile(export) as found:
        member = next(one for one in found.infolist() if "artifacts/two" in one.filename)
    content = bytearray(export.read_bytes())
    content[member.header_offset + len(member.filename) + 120] ^= 1
    export.write_bytes(content)
    with pytest.raises(LabError):
        operations.import_cache(machines[1].session, export)
    assert problems(entry_of(ARTIFACTS[1], machines[1].cache), verify=False) == ["not installed"]


@pytest.mark.parametrize(
    ("name", "target"), [("../../outside", ""), ("link", "../../outside"), ("link", "/")]
)
def test_a_member_that_leaves_its_folder_is_refused(
    machines: tuple[Side, Side], export: Path, name: str, target: str, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
        tar.addfile(info)
    evil = zstandard.ZstdCompressor().compress(stream.getvalue())
    digest = hashlib.sha256(evil).hexdigest()

    def change(member: str, content: bytes) -> bytes:
        if member.startswith("artifacts/one"):
            return evil
        if member == "manifest.json":
            document = json.loads(content)
            document["artifacts"][0] |= {"sha256": digest, "size_bytes": len(evil)}
            return json.dumps(document).encode()
        return content

    rewrite(export, change)
    with pytest.raises(LabError, match="leaves the target folder"):
        operations.import_cache(machines[1].session, export)
    assert not list(tmp_path.rglob("outside"))
    assert not entry_of(ARTIFACTS[0], machines[1].cache).path.exists()


@pytest.mark.parametrize("name", ["wheels/../../x.whl", "wheels/a/b.whl", "/x.whl", "wheels/x.sh"])
def test_a_wheel_that_leaves_its_folder_is_refused(
    machines: tuple[Side, Side], export: Path, name: str, tmp_path: Path
) -> None:
    wheel = dataclasses.asdict(wheelhouse.Member(member=name, size_bytes=1, sha256="0"))
    rewrite_manifest(export, wheels=[wheel])
    with pytest.raises(LabError, match="whose name is not one"):
        operations.import_cache(machines[1].session, export)
    assert not list(tmp_path.rglob("x.whl")) + list(tmp_path.rglob("x.sh"))


def test_too_little_room_is_refused_first(
    machines: tuple[Side, Side], export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(export) as found:
        document = json.loads(found.read("manifest.json"))
    for one in document["artifacts"]:
        one["installed_bytes"] = 1 << 60
    rewrite_manifest(export, artifacts=document["artifacts"])
    with pytest.raises(PreflightError, match="too little free space"):
        operations.import_cache(machines[1].session, export)
    assert machines[1].files() == {}


def test_damaged_wheels_in_the_cache_are_replaced(machines: tuple[Side, Side], export: Path) -> None:
    _, there = machines
    operations.import_cache(there.session, export)
    (wheel,) = there.wheels.iterdir()
    before = wheel.read_bytes()
    wheel.write_bytes(b"?" * len(before))
    operations.import_cache(there.session, export)
    assert wheel.read_bytes() == before


def test_what_is_carried_runs_every_component_but_polaris(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {artifact.name for artifact in carrying.carried_artifacts()}
    assert names >= {"postgresql", "minio", "keycloak", "nessie", "opa", "trino", "java25"}
    assert not names & {"polaris", "go", "regal"}


def test_the_system_is_that_of_the_interpreter() -> None:
    assert sys.platform in wheelhouse.system()


# --- the engine's providers of labs elsewhere

KUBERNETES = "resource-kubernetes-v4.34.2"


def with_provider(side: Side, *, whole: bool = True) -> None:
    """The provider as the engine installs it, for the lab or for whoever runs it by hand."""
    folder = side.session.lab.pulumi_home / "plugins" / KUBERNETES
    folder.mkdir(parents=True)
    (folder / "pulumi-resource-kubernetes").write_text("#!/bin/sh\necho provider\n")
    (folder / "pulumi-resource-kubernetes").chmod(0o700)
    if not whole:
        folder.with_name(f"{KUBERNETES}.partial").touch()


@pytest.fixture
def pinned(machines: tuple[Side, Side]) -> tuple[Side, Side]:
    """Both name two providers for labs elsewhere, and one that the checkout serves itself."""
    here, there = machines
    for side in machines:
        with (side.root / virtualenv.REQUIREMENTS["local"]).open("a") as file:
            file.write("pulumi-random==4.21.4 \\\n")
        with (side.root / virtualenv.REQUIREMENTS["cloud"]).open("a") as file:
            file.write("pulumi-random==4.21.4 \\\npulumi-aws==7.51.1 \\\npulumi-kubernetes==4.34.2 \\\n")
    for side, kinds in ((here, ("local", "cloud")), (there, ())):
        for kind in kinds:
            held = virtualenv.wheels_folder(side.cache, wheelhouse.environment_name(side.root, kind))
            held.mkdir(parents=True, exist_ok=True)
            for wheel in (side.root.parent.parent / "wheels").iterdir():
                (held / wheel.name).write_bytes(wheel.read_bytes())
    return here, there


def test_a_provider_that_is_here_comes_along_and_the_others_project_names_it(
    pinned: tuple[Side, Side], tmp_path: Path
) -> None:
    here, there = pinned
    with_provider(here)
    file = tmp_path / "cloud.zip"
    made = operations.export_cache(here.session, file, cloud=True)
    assert "pulumi-resource-kubernetes 4.34.2" in made.artifacts
    (said,) = [one for one in made.left_out if "provider" in one]
    assert said.startswith(
        "the engine's provider aws 7.51.1: it is not on this machine; pulumi plugin install"
    )

    taken = operations.import_cache(there.session, file)
    assert "pulumi-resource-kubernetes 4.34.2" in taken.artifacts
    folder = provider_plugins.cached(there.root, there.cache)["kubernetes"]
    program = folder / "pulumi-resource-kubernetes"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "provider\n"
    described = yaml.safe_load(project._project_yaml(there.session.lab, tmp_path / "venv", "file:///state"))
    assert {"name": "kubernetes", "path": str(folder)} in described["plugins"]["providers"]
    assert {one["name"] for one in described["plugins"]["providers"]} == {"keycloak", "random", "kubernetes"}
    kept = {one.name: one for one in operations.cache_contents(there.session)}
    assert kept[folder.relative_to(there.cache).as_posix()].use == "by this version"

    shutil.rmtree(here.session.lab.pulumi_home)
    again = operations.export_cache(here.session, file, cloud=True, replace=True)
    assert "pulumi-resource-kubernetes 4.34.2" in again.artifacts, "the cache has it now"


def test_a_provider_that_is_nowhere_or_not_whole_is_said(pinned: tuple[Side, Side], tmp_path: Path) -> None:
    here, there = pinned
    with_provider(here, whole=False)
    made = operations.export_cache(here.session, tmp_path / "cloud.zip", cloud=True)
    assert [one.split(":")[0] for one in made.left_out if "provider" in one] == [
        "the engine's provider aws 7.51.1",
        "the engine's provider kubernetes 4.34.2",
    ]
    operations.import_cache(there.session, tmp_path / "cloud.zip")
    assert provider_plugins.cached(there.root, there.cache) == {}
    assert not [
        one for one in operations.export_cache(here.session, tmp_path / "own.zip").left_out if "prov" in one
    ]


def test_providers_are_those_whose_packages_are_pinned_for_labs_elsewhere() -> None:
    found = {plugin.name: plugin for plugin in provider_plugins.cloud_plugins(project.ROOT)}
    assert set(found) == {"aws", "eks", "kubernetes"}
    assert provider_plugins.cloud_plugins(Path("/nonexistent")) == ()
    homes = provider_plugins.pulumi_homes(Path("/lab"), {"HOME": "/somebody"})
    assert homes == (Path("/lab"), Path("/somebody/.pulumi"))
    assert provider_plugins.pulumi_homes(Path("/lab"), {"PULUMI_HOME": "/own"})[1] == Path("/own")
