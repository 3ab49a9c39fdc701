"""Pages built with npm, by a Node.js that only records what it is asked to do."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LabError
from contracts.versions import NODE, WEB, WEB_TOOLS, HostPlatform, NpmProject
from placements.local.artifacts import Cancellation, Cancelled, entry_of
from placements.local.artifacts.command import CommandFailed
from placements.local.artifacts.gomodules import CHECKOUT
from placements.local.artifacts.npm import (
    LOCK_FILE,
    _explained,
    build_project,
    environment,
    package_count,
    project_files,
    sources_digest,
)
from placements.local.artifacts.recipes import fingerprint
from tests.unit.artifact_fakes import RecordingProgress

PROJECT = NpmProject(
    name="pages",
    version="1.0",
    directory="pages",
    sources=("index.html", "src"),
    command=("node_modules/builder/cli.js", "build"),
    target="dist",
    download_bytes=1,
    installed_bytes=1,
    scratch_bytes=1,
)

NODE_SCRIPT = """
import json, os, pathlib, sys
here = pathlib.Path(os.environ["FAKE_FOLDER"])
calls = here / "calls.jsonl"
count = len(calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as stream:
    stream.write(json.dumps({"argv": sys.argv[1:], "cache": os.environ.get("npm_config_cache"),
                             "files": sorted(p.name for p in pathlib.Path(".").rglob("*"))}) + "\\n")
if "ci" in sys.argv:
    if count < int(os.environ.get("FAKE_FAILURES", "0")):
        print(os.environ["FAKE_TAIL"])
        sys.exit(1)
    for name in ("a", "b", "c"):
        print(f"npm http fetch GET 200 https://registry.example/{name}/-/{name}-1.0.0.tgz 12ms (cache miss)")
    builder = pathlib.Path("node_modules/builder")
    builder.mkdir(parents=True)
    (builder / "cli.js").write_text("built by it")
else:
    if os.environ.get("FAKE_BUILD") == "broken":
        print("src/main.tsx: Unexpected token")
        sys.exit(1)
    print("vite building for production")
    pathlib.Path("dist/assets").mkdir(parents=True)
    pathlib.Path("dist/index.html").write_text(pathlib.Path("index.html").read_text())
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a folder of pages, and a Node.js beside it."""
    pages = tmp_path / "checkout" / "pages"
    (pages / "src").mkdir(parents=True)
    (pages / "tests").mkdir()
    packages = {
        "": {"name": "pages"},
        "node_modules/a": {"version": "1.0.0"},
        "node_modules/b": {"version": "1.0.0"},
        "node_modules/c": {"version": "1.0.0", "dev": True},
        "node_modules/other-system": {"version": "1.0.0", "optional": True},
    }
    (pages / "package.json").write_text("{}")
    (pages / LOCK_FILE).write_text(json.dumps({"packages": packages}))
    (pages / ".npmrc").write_text("ignore-scripts=true\n")
    (pages / "index.html").write_text("<title>pages</title>")
    (pages / "src" / "main.tsx").write_text("export {};")
    (pages / "tests" / "main.test.ts").write_text("export {};")
    node = tmp_path / "node" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(f"#!{sys.executable} -S\n{NODE_SCRIPT}")
    node.chmod(0o755)
    for module in ("npm", "recipes"):
        monkeypatch.setattr(f"placements.local.artifacts.{module}.CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr("placements.local.artifacts.npm._PAUSE_S", 0.0)
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    for name in ("npm_config_cache", "NPM_CONFIG_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "checkout"


def build(
    tmp_path: Path, project: NpmProject = PROJECT, stop: Cancellation | None = None
) -> RecordingProgress:
    progress = RecordingProgress()
    target = tmp_path / "cache" / "staging"
    target.parent.mkdir(exist_ok=True)
    build_project(project, tmp_path / "node", tmp_path / "cache", target, progress, stop or Cancellation())
    return progress


def calls(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]


def test_packages_are_installed_and_the_pages_built_apart_from_the_checkout(
    tmp_path: Path, checkout: Path
) -> None:
    progress = build(tmp_path)
    assert (tmp_path / "cache/staging/index.html").read_text() == "<title>pages</title>"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["staging"]
    assert not (checkout / "pages" / "node_modules").exists()
    installing, building = calls(tmp_path)
    assert "ci" in installing["argv"]
    assert {"--ignore-scripts", "--omit", "dev"} <= set(map(str, installing["argv"]))
    assert "main.test.ts" not in installing["files"]
    assert building["argv"] == ["node_modules/builder/cli.js", "build"]
    assert installing["cache"] == str(tmp_path / "cache" / "npm")
    steps = [text for kind, _, text in progress.events if kind == "step"]
    assert "fetching package 2 of 2" in steps
    assert "building its pages: vite building for production" in steps


def test_development_packages_are_an_artifact_of_their_own(tmp_path: Path, checkout: Path) -> None:
    build(tmp_path, replace(PROJECT, command=(), target=".", development=True))
    (only,) = calls(tmp_path)
    assert "--omit" not in only["argv"]
    assert (tmp_path / "cache/staging/node_modules/builder/cli.js").exists()


@pytest.mark.parametrize(
    ("failures", "tail", "attempts", "message"),
    [
        (1, "npm error code ECONNRESET", 2, None),
        (9, "npm error code ENOTFOUND\nnpm error network request failed", 3, "could not be reached"),
        (9, "npm error code EINTEGRITY sha512-a but got sha512-b", 1, "differs from its recorded checksum"),
        (9, "npm error code E404\nnpm error 404 Not Found", 1, "does not serve"),
        (9, "npm error code ENOTCACHED", 1, "could not be reached"),
    ],
)
def test_npm_is_asked_again_when_the_connection_broke(
    tmp_path: Path,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    tail: str,
    attempts: int,
    message: str | None,
) -> None:
    monkeypatch.setenv("FAKE_FAILURES", str(failures))
    monkeypatch.setenv("FAKE_TAIL", tail)
    if message is None:
        build(tmp_path)
    else:
        with pytest.raises(LabError, match=message) as caught:
            build(tmp_path)
        assert caught.value.next_command
        assert not (tmp_path / "cache" / "staging").exists()
        assert list((tmp_path / "cache").iterdir()) == []
    assert sum("ci" in call["argv"] for call in calls(tmp_path)) == attempts


def test_a_build_that_fails_shows_why(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BUILD", "broken")
    with pytest.raises(LabError, match="building pages failed") as caught:
        build(tmp_path)
    assert "src/main.tsx: Unexpected token" in str(caught.value.value)


def test_a_canceled_build_leaves_nothing(tmp_path: Path, checkout: Path) -> None:
    stop = Cancellation()
    stop.cancel()
    with pytest.raises(Cancelled):
        build(tmp_path, stop=stop)
    assert list((tmp_path / "cache").iterdir()) == []


def test_long_help_of_npm_does_not_hide_what_is_wrong(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "npm error code EUSAGE",
        "npm error `npm ci` can only install packages when your package.json and "
        "package-lock.json are in sync",
        "npm error Missing: left-pad@1.3.0 from lock file",
        *(f"npm error   --option-{number}" for number in range(200)),
    ]
    monkeypatch.setenv("FAKE_FAILURES", "9")
    monkeypatch.setenv("FAKE_TAIL", "\n".join(lines))
    with pytest.raises(LabError, match=r"does not fit the package\.json") as caught:
        build(tmp_path)
    assert "left-pad" in str(caught.value.value)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    error = _explained(PROJECT, tmp_path, CommandFailed("npm", 1, "npm error code ENOSPC"))
    assert "disk filled up" in error.what


def test_npms_own_configuration_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_CONFIG_CACHE", "/shared/npm")
    monkeypatch.setenv("npm_config_registry", "https://mirror.example")
    monkeypatch.setenv("NODE_OPTIONS", "--inspect")
    env = environment(tmp_path / "node", tmp_path / "cache")
    assert env["NPM_CONFIG_CACHE"] == "/shared/npm"
    assert "npm_config_cache" not in env
    assert env["npm_config_registry"] == "https://mirror.example"
    assert "NODE_OPTIONS" not in env
    assert env["PATH"].startswith(str(tmp_path / "node" / "bin"))


def test_another_source_or_lock_is_another_artifact(tmp_path: Path, checkout: Path) -> None:
    def now() -> str:
        return fingerprint(PROJECT, HostPlatform.LINUX_AMD64)

    first = now()
    (checkout / "pages" / "tests" / "main.test.ts").write_text("changed")
    assert now() == first
    for name in ("src/main.tsx", LOCK_FILE, ".npmrc"):
        before = now()
        with (checkout / "pages" / name).open("a") as stream:
            stream.write("\n")
        assert now() != before
    before = now()
    (checkout / "pages" / "src" / "new.tsx").write_text("")
    assert now() != before
    assert entry_of(PROJECT, tmp_path).path.parent == tmp_path / "pages"


def test_a_missing_file_of_the_checkout_is_named(checkout: Path) -> None:
    (checkout / "pages" / LOCK_FILE).unlink()
    with pytest.raises(LabError, match="a file of the checkout is missing") as caught:
        sources_digest(PROJECT, checkout)
    assert caught.value.value == str(checkout / "pages" / LOCK_FILE)


# --- the console's own pages


def test_every_source_of_the_pages_is_there_and_counts() -> None:
    files = [path.relative_to(CHECKOUT).as_posix() for path in project_files(WEB)]
    assert "control_plane/web/src/main.tsx" in files
    assert "control_plane/web/index.html" in files
    assert not [name for name in files if "node_modules" in name or "/tests/" in name or "/dist/" in name]
    assert all(path.is_file() for path in project_files(WEB_TOOLS))


def test_the_lock_file_pins_every_package_and_names_no_host() -> None:
    folder = CHECKOUT / WEB.directory
    text = (folder / LOCK_FILE).read_text()
    assert "resolved" not in text
    packages = json.loads(text)["packages"]
    for path, one in packages.items():
        if path:
            assert "hasInstallScript" not in one or path.endswith("fsevents"), path
            assert one.get("inBundle") or one["integrity"].startswith("sha512-"), path
    assert package_count(folder / LOCK_FILE, development=True) > package_count(
        folder / LOCK_FILE, development=False
    )
    npmrc = (folder / ".npmrc").read_text().splitlines()
    assert {"omit-lockfile-registry-resolved=true", "ignore-scripts=true"} <= set(npmrc)


def test_versions_agree() -> None:
    declared = json.loads((CHECKOUT / WEB.directory / "package.json").read_text())
    assert declared["version"] == WEB.version == WEB_TOOLS.version
    assert all(version[0].isdigit() for version in declared["dependencies"].values())
    oldest = int(declared["engines"]["node"].removeprefix(">="))
    assert int(NODE.version.split(".")[0]) >= oldest
