"""Which engine is chosen, in which order, and with which environment."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import respx
from pulumi.automation import PulumiCommand

from cli.toolchain import Engine, EngineSource, engine_artifacts, java_home, pulumi_engine
from cli.toolchain import engine as engine_module
from contracts.errors import UsageError
from contracts.versions import PULUMI, Artifact
from placements.local.artifacts import FetchOptions, Progress, SilentProgress, entry_of
from placements.local.artifacts.store import install
from tests.unit.artifact_fakes import RecordingProgress

PROGRESS = SilentProgress()


def put_pulumi(folder: Path, version: str, *, language_host: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    programs = {"pulumi": f"#!/bin/sh\necho {version}\n"}
    if language_host:
        programs["pulumi-language-python"] = "#!/bin/sh\n"
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def install_built(cache: Path) -> Path:
    entry = entry_of(PULUMI, cache)
    install(entry, lambda target: put_pulumi(target / "bin", "v3.200.0"))
    return entry.path


@pytest.fixture(autouse=True)
def _empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "installer_reachable", lambda: False)


@pytest.mark.parametrize("version", ["v3.200.0", "v3.272.1", "v4.0.0-alpha.1+abc"])
def test_installed_engine_comes_first(tmp_path: Path, version: str) -> None:
    put_pulumi(tmp_path / "path", version)
    install_built(tmp_path / "cache")
    engine = pulumi_engine(tmp_path / "cache", PROGRESS)
    assert engine.source is EngineSource.PATH
    assert engine.program == tmp_path / "path" / "pulumi"
    assert engine.root is None
    assert engine_artifacts(tmp_path / "cache", PROGRESS) == []


@pytest.mark.parametrize(
    ("version", "language_host"), [("v3.199.9", True), ("nonsense", True), ("v3.272.0", False)]
)
def test_unfit_installed_engine_is_passed_over(tmp_path: Path, version: str, language_host: bool) -> None:
    put_pulumi(tmp_path / "path", version, language_host=language_host)
    built = install_built(tmp_path / "cache")
    engine = pulumi_engine(tmp_path / "cache", PROGRESS)
    assert (engine.source, engine.root) == (EngineSource.MODULES, built)


def test_engine_installed_before_is_used_without_asking_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> bool:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(engine_module, "installer_reachable", asked)
    install_built(tmp_path)
    assert pulumi_engine(tmp_path, PROGRESS).source is EngineSource.MODULES


def test_official_installer_is_used_when_reachable_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "installer_reachable", lambda: True)
    roots: list[str] = []

    def fake_install(root: str) -> None:
        roots.append(root)
        put_pulumi(Path(root) / "bin", "v3.272.0")

    monkeypatch.setattr(PulumiCommand, "install", fake_install)
    engine = pulumi_engine(tmp_path, PROGRESS)
    assert engine.source is EngineSource.INSTALLER
    assert engine.root is not None
    assert engine.program.exists()
    assert pulumi_engine(tmp_path, PROGRESS) == engine
    assert len(roots) == 1


def test_failed_installer_leads_to_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "installer_reachable", lambda: True)

    def broken_install(root: str) -> None:
        put_pulumi(Path(root) / "bin", "v3.272.0", language_host=False)

    monkeypatch.setattr(PulumiCommand, "install", broken_install)
    progress = RecordingProgress()
    assert engine_artifacts(tmp_path, progress) == [PULUMI]
    assert ("step", "pulumi", "the official installer failed: LabError") in progress.events
    assert not list((tmp_path / "pulumi-official").glob("[!.]*"))


def test_installer_can_be_declined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "installer_reachable", lambda: pytest.fail("was asked"))
    assert engine_artifacts(tmp_path, PROGRESS, use_installer=False) == [PULUMI]


def test_build_is_what_remains(tmp_path: Path, unreachable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(_: Artifact, cache: Path, __: Progress, *, options: FetchOptions) -> Path:
        assert not options.refetch
        return install_built(cache)

    monkeypatch.setattr(engine_module, "ensure", build)
    engine = pulumi_engine(tmp_path, PROGRESS)
    assert engine.source is EngineSource.MODULES
    assert engine.version == PULUMI.version


@respx.mock
@pytest.mark.parametrize(
    ("answer", "expected"),
    [(httpx.Response(200), True), (httpx.Response(503), False), (httpx.ConnectError("no"), False)],
)
def test_reachability_of_the_installer(answer: httpx.Response | Exception, expected: bool) -> None:
    route = respx.head(engine_module.INSTALLER_URL)
    if isinstance(answer, Exception):
        route.mock(side_effect=answer)
    else:
        route.mock(return_value=answer)
    assert engine_module.installer_reachable() is expected


def test_environment_of_a_built_engine(tmp_path: Path) -> None:
    engine = Engine(
        program=tmp_path / "e/bin/pulumi", root=tmp_path / "e", version="3.200.0", source=EngineSource.MODULES
    )
    env = engine.environment(
        python=tmp_path / "python",
        home=tmp_path / "home",
        plugin_folders=[tmp_path / "plugins"],
        base={"PATH": "/usr/bin"},
    )
    assert env == {
        "PATH": f"{tmp_path}/e/bin:{tmp_path}/plugins:/usr/bin",
        "PULUMI_PYTHON_CMD": f"{tmp_path}/python",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_HOME": f"{tmp_path}/home",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def test_environment_of_an_installed_engine_lets_it_fetch_plugins_and_keeps_its_home(tmp_path: Path) -> None:
    engine = Engine(program=tmp_path / "pulumi", root=None, version="3.272.0", source=EngineSource.PATH)
    env = engine.environment(python=tmp_path / "python", base={})
    assert set(env) == {"PATH", "PULUMI_PYTHON_CMD", "PULUMI_SKIP_UPDATE_CHECK"}


def test_unknown_java_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        java_home(17, tmp_path, PROGRESS)
    assert caught.value.permitted == "21, 25"
