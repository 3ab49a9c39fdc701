"""The script ``lab`` and the making of its virtual environment, with a package of our own and no index."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli import virtualenv

ROOT = Path(__file__).resolve().parents[2]
# What a fake command prints: where it runs, its arguments and what it was given.
MAIN = """
import json, os, sys
import lab_probe
print(json.dumps({"prefix": sys.prefix, "arguments": sys.argv[1:], "cwd": os.getcwd(),
                  "probe": lab_probe.__file__, "path": sys.path}))
"""


def make_wheel(folder: Path, *, name: str = "lab_probe") -> str:
    """A wheel of one module, and the requirement line that pins it by hash."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{name}.py": "",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for file, text in files.items()
    )
    files[f"{name}-1.0.dist-info/RECORD"] = record + f"{name}-1.0.dist-info/RECORD,,\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            # A fixed date, so that the same content has the same hash.
            archive.writestr(zipfile.ZipInfo(file, (2026, 1, 1, 0, 0, 0)), text)
    return f"{name.replace('_', '-')}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Checkout:
    """A checkout with the real script and a command that tells where it runs."""

    def __init__(self, tmp_path: Path, name: str = "check out") -> None:
        self.tmp_path = tmp_path
        self.root = tmp_path / name
        self.cache = tmp_path / "cache dir"
        (self.root / "cli").mkdir(parents=True)
        (self.root / "lab").write_text((ROOT / "lab").read_text())
        (self.root / "lab").chmod(0o755)
        (self.root / "cli" / "virtualenv.py").write_text((ROOT / "cli" / "virtualenv.py").read_text())
        (self.root / "cli" / "__init__.py").touch()
        (self.root / "cli" / "__main__.py").write_text(MAIN)
        self.requirement = make_wheel(tmp_path / "wheels")
        for file in virtualenv.REQUIREMENTS.values():
            (self.root / file).write_text(self.requirement)

    def environment(self, **changes: str) -> dict[str, str]:
        own = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        # The user's own pip configuration, which must be respected: no index, only our folder.
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (self.tmp_path / "wheels").as_uri()}
        return {**own, **pip, "LAB_CACHE": str(self.cache), **changes}

    def run(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script or self.root / "lab"), *arguments],
            cwd=cwd or self.tmp_path,
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def answer(result: subprocess.CompletedProcess[str]) -> Mapping[str, object]:
    import json

    assert result.returncode == 0, result.stderr
    document: dict[str, object] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose environment is there; tests must not change it."""
    checkout = Checkout(tmp_path_factory.mktemp("lab script"))
    first = checkout.run("status", "--json")
    assert answer(first)["arguments"] == ["status", "--json"]
    assert "making the virtual environment (1 packages)" in first.stderr
    return checkout


def test_second_run_is_silent_and_stays_where_the_user_is(built: Checkout, tmp_path: Path) -> None:
    again = built.run("x", cwd=tmp_path)
    assert answer(again)["cwd"] == str(tmp_path)
    assert again.stderr == ""


def test_packages_come_from_the_cache_and_code_from_the_checkout(built: Checkout) -> None:
    seen = answer(built.run())
    assert str(seen["prefix"]).startswith(str(built.cache / "venv" / "local-"))
    assert str(seen["probe"]).startswith(str(seen["prefix"]))
    assert isinstance(seen["path"], list)
    assert str(built.root) in seen["path"]


def test_a_package_named_cli_where_the_user_stands_is_not_ours(built: Checkout, tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    assert answer(built.run(cwd=tmp_path, PYTHONPATH=str(tmp_path)))["cwd"] == str(tmp_path)


def test_through_a_link(built: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "lab"
    link.symlink_to(built.root / "lab")
    assert answer(built.run("y", script=link))["arguments"] == ["y"]


def test_without_unicode(built: Checkout) -> None:
    assert answer(built.run("größe", LANG="C", LC_ALL="C"))["arguments"] == ["größe"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_is_compiled_is_kept_without_a_trace_beside_the_sources(
    built: Checkout, tmp_path: Path, elsewhere: bool
) -> None:
    shutil.rmtree(built.root / "cli" / "__pycache__", ignore_errors=True)
    changes: dict[str, Any] = {"PYTHONPYCACHEPREFIX": str(tmp_path)} if elsewhere else {}
    prefix = Path(str(answer(built.run(PYTHONDONTWRITEBYTECODE="1", **changes))["prefix"]))
    (compiled,) = (tmp_path if elsewhere else prefix / "bytecode").rglob("lab_probe*.pyc")
    assert compiled.is_file()
    assert not list(built.root.rglob("__pycache__"))


def test_tests_have_an_environment_of_their_own(built: Checkout) -> None:
    assert "/venv/local-" in str(answer(built.run("--name", "test", "status"))["prefix"])
    assert "/venv/dev-" in str(answer(built.run("test", "-k", "x"))["prefix"])
    assert virtualenv._words(["--name", "test", "status"]) == ["status"]
    assert virtualenv._words(["--verbose", "test", "-k", "x"]) == ["test", "x"]
    assert virtualenv._words(["--name=x", "test"]) == ["test"]
    assert virtualenv._words([]) == []


def test_a_second_checkout_reuses_it_and_other_requirements_do_not(built: Checkout, tmp_path: Path) -> None:
    other = Checkout(tmp_path, "other")
    requirements = other.root / "requirements.txt"
    assert virtualenv.key(requirements) == virtualenv.key(built.root / "requirements.txt")
    requirements.write_text(requirements.read_text() + "# changed\n")
    assert virtualenv.key(requirements) != virtualenv.key(built.root / "requirements.txt")


def test_an_interrupted_build_is_made_again(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    environ = checkout.environment()
    prefix = virtualenv.ensure(checkout.root, "local", environ=environ)
    (prefix / virtualenv.STAMP).unlink()
    (prefix / "half done").touch()
    assert virtualenv.ensure(checkout.root, "local", environ=environ) == prefix
    assert virtualenv.is_complete(prefix)
    assert not (prefix / "half done").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_first_run_ends_pip_too_and_the_next_run_continues(
    tmp_path: Path, number: signal.Signals
) -> None:
    checkout = Checkout(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as index:
        # An index that takes the question and never answers.
        slow = checkout.environment(PIP_FIND_LINKS=f"http://127.0.0.1:{index.getsockname()[1]}/")
        command = [sys.executable, str(checkout.root / "lab")]
        run = subprocess.Popen(command, env=slow, stderr=subprocess.PIPE, text=True)
        index.settimeout(60)
        question, _ = index.accept()
        with question:
            pip = psutil.Process(run.pid).children()
            os.kill(run.pid, number)
            _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert said.endswith("interrupted; the next ./lab continues from the start of this step\n")
    assert "Traceback" not in said
    assert pip
    assert psutil.wait_procs(pip, timeout=10)[1] == []
    assert answer(checkout.run())["arguments"] == []


def test_pip_unpacks_beside_the_environment_and_leaves_nothing_there(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    result = checkout.run(TMPDIR=str(tmp_path / "no such folder"))
    prefix = Path(str(answer(result)["prefix"]))
    assert not (prefix / "tmp").exists()


def test_an_environment_whose_python_is_gone_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / virtualenv.STAMP).touch()
    (tmp_path / "bin" / "python").symlink_to(tmp_path / "gone")
    assert not virtualenv.is_complete(tmp_path)


def test_two_first_runs_make_it_once(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    command = [sys.executable, str(checkout.root / "lab")]
    runs = [
        subprocess.Popen(
            command, env=checkout.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("making the virtual environment" in text for text in said) == 1


def test_a_changed_package_is_refused_and_the_log_kept(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (checkout.root / "requirements.txt").write_text(f"lab-probe==1.0 --hash=sha256:{'0' * 64}\n")
    result = checkout.run()
    assert result.returncode == 1
    assert "could not install the packages of requirements.txt" in result.stderr
    assert "hash" in result.stderr.lower()
    log = next(line.split(": ", 1)[1] for line in result.stderr.splitlines() if "whole log" in line)
    assert Path(log).exists()
    assert "Traceback" not in result.stderr


def test_pip_settings_for_other_work_do_not_misplace_packages(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    target = tmp_path / "elsewhere"
    result = checkout.run(PIP_TARGET=str(target), PIP_USER="1", PIP_PREFIX=str(target))
    assert answer(result)["arguments"] == []
    assert not target.exists()


def test_a_python_without_pip_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(virtualenv.BootstrapError, match="no ensurepip") as error:
        virtualenv._check_prerequisites()
    assert error.value.exit_code == 3
    assert "-venv" in str(error.value)


def test_a_cache_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.cache.write_text("a file where the folder should be")
    result = checkout.run()
    assert result.returncode == 3
    assert "LAB_CACHE" in result.stderr


def test_an_old_python_says_what_to_install(tmp_path: Path) -> None:
    """The check itself, with a version that is too old and nothing newer on PATH."""
    checkout = Checkout(tmp_path)
    script = (checkout.root / "lab").read_text().replace("OLDEST = (3, 11)", "OLDEST = (9, 9)")
    (checkout.root / "lab").write_text(script)
    result = checkout.run(PATH=str(tmp_path))
    assert result.returncode == 3
    assert "lab needs Python 3.11 or newer" in result.stderr
    assert sys.executable in result.stderr


def test_the_script_is_readable_by_old_pythons() -> None:
    """Only syntax of Python 3.4, the oldest grammar this Python can check."""
    import ast

    ast.parse((ROOT / "lab").read_text(), feature_version=(3, 4))
    assert os.access(ROOT / "lab", os.X_OK)


@pytest.mark.parametrize("file", sorted(virtualenv.REQUIREMENTS.values()))
def test_requirements_are_pinned_by_hash_and_name_no_address(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    assert all("==" in line for line in requirements)
    assert text.count("--hash=sha256:") >= len(requirements)


def with_import(checkout: Checkout) -> None:
    """What an import needs of the checkout before there is an environment."""
    for file in ("cli/wheelhouse.py", "contracts/__init__.py", "contracts/errors.py"):
        (checkout.root / file).parent.mkdir(exist_ok=True)
        (checkout.root / file).write_text((ROOT / file).read_text())


def export_of(checkout: Checkout, **changes: str) -> Path:
    """An export with the checkout's wheel alone, as another machine would have written it."""
    from cli.wheelhouse import MANIFEST, Manifest, Member, environment_name, system

    (wheel,) = (checkout.tmp_path / "wheels").iterdir()
    facts: dict[str, Any] = {
        "system": system(),
        "python": str(sys.implementation.cache_tag),
        "environment": environment_name(checkout.root),
    }
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    member = Member(member=f"wheels/{wheel.name}", size_bytes=wheel.stat().st_size, sha256=digest)
    manifest = Manifest(**{**facts, **changes}, wheels=(member,), artifacts=())
    file = checkout.tmp_path / "lab cache.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(wheel, member.member)
        archive.writestr(MANIFEST, manifest.to_json())
    return file


def offline(checkout: Checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where pip can get nothing."""
    return checkout.run(*arguments, PIP_NO_INDEX="1", PIP_FIND_LINKS="")


def test_without_an_index_an_import_makes_the_environment(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    with_import(checkout)
    assert offline(checkout).returncode == 1, "there is nothing yet that it could be made from"
    file = export_of(checkout)
    result = offline(checkout, "--name", "x", "cache", "import", file.name)
    assert answer(result)["arguments"] == ["--name", "x", "cache", "import", file.name]
    assert "without a package index" in result.stderr
    assert not [path for path in (checkout.cache / "wheels").iterdir() if path.name.startswith(".")]
    (next((checkout.cache / "venv").glob("local-*")) / virtualenv.STAMP).unlink()
    assert answer(offline(checkout))["arguments"] == [], "the wheels stay for another time"


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"system": "darwin arm64"}, 3, "permitted: darwin arm64"),
        ({"python": "cpython-399"}, 3, "next:      python3.99 ./lab cache import FILE"),
        ({"environment": "local-0123"}, 1, "another version of the lab"),
    ],
)
def test_an_import_for_another_machine_makes_nothing(
    tmp_path: Path, changes: dict[str, str], code: int, said: str
) -> None:
    checkout = Checkout(tmp_path)
    with_import(checkout)
    result = offline(checkout, "cache", "import", str(export_of(checkout, **changes)))
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not checkout.cache.exists()


def test_damaged_wheels_are_not_installed_and_the_index_is_asked(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    wheels = virtualenv.wheels_folder(checkout.cache, virtualenv.environment_name(checkout.root, "local"))
    wheels.mkdir(parents=True)
    (original,) = (tmp_path / "wheels").iterdir()
    (wheels / original.name).write_bytes(original.read_bytes() + b"\0")
    result = checkout.run(PIP_NO_INDEX="1")
    assert answer(result)["arguments"] == []
    assert "the package index is tried instead" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "expected"),
    [
        (["up"], None, "local"),
        (["up", "--set", "placement=kubernetes"], None, "cloud"),
        (["up", "--set=placement=kubernetes"], None, "cloud"),
        (["up", "--set", "placement=local"], None, "local"),
        (["bootstrap", "--placement", "aws"], None, "cloud"),
        (["bootstrap", "--placement=aws"], None, "cloud"),
        (["bootstrap", "--placement", "local"], None, "local"),
        (["status"], '  lakehouse-lab:placement: "kubernetes"\n', "cloud"),
        (["status"], "  lakehouse-lab:placement: kubernetes\n", "cloud"),
        (["status"], '  # lakehouse-lab:placement: "kubernetes"\n', "local"),
        (["status"], '  lakehouse-lab:placement: "local"\n', "local"),
        (["--name", "other", "status"], '  lakehouse-lab:placement: "kubernetes"\n', "local"),
        (["--name"], '  lakehouse-lab:placement: "kubernetes"\n', "cloud"),
    ],
)
def test_a_lab_on_a_cluster_has_the_clusters_packages(
    tmp_path: Path, arguments: list[str], text: str | None, expected: str
) -> None:
    if text is not None:
        project = tmp_path / "lab" / "project"
        project.mkdir(parents=True)
        (project / "Pulumi.lab.yaml").write_text("config:\n" + text)
    assert virtualenv.placement_kind(arguments, {"LAB_HOME": str(tmp_path)}) == expected


def test_a_lab_may_be_named_by_a_variable(tmp_path: Path) -> None:
    project = tmp_path / "lakehouse-lab" / "team" / "project"
    project.mkdir(parents=True)
    (project / "Pulumi.lab.yaml").write_text("config:\n  lakehouse-lab:placement: kubernetes\n")
    environ = {"XDG_DATA_HOME": str(tmp_path), "LAB_NAME": "team"}
    assert virtualenv.placement_kind(["status"], environ) == "cloud"
    assert virtualenv.placement_kind(["--name=lab", "status"], environ) == "local"
