"""One real lab for the whole suite, brought up by the command that a newcomer types.

Its home is below the system's temporary folder (the path has a space on purpose); artifacts come from the
per-user cache, as they do for anybody. Every command runs as it would for somebody with a strict umask, no
locale and, where memory disks can be mounted, little room for temporary files. With LAB_LIVE_HOME a lab below
that folder is used and left up. Tests that stop or edit the lab leave it running as it was.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli import operations
from cli.project import Lab
from cli.render import to_json, to_plain, write_json_lines
from cli.session import Session
from cli.tokens import Endpoint, PersonaTokens
from contracts.identity import Audience
from contracts.settings import cache_home
from governance.query import TrinoSession
from placements.local.supervisor import SupervisorClient
from tests.live import leftovers
from tests.live.people import People

ROOT = Path(__file__).resolve().parents[2]
SCALE_FACTOR = "0.01"
UMASK = 0o077


@dataclass(frozen=True)
class LiveLab:
    """The running lab, and the ``lab`` command of the checkout ``root`` on it."""

    environment: Mapping[str, str]
    home: Path
    root: Path = ROOT
    _known: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command under way, both of its streams to be read together, in a session of its own."""
        return subprocess.Popen(
            [str(self.root / "lab"), *arguments],
            env=dict(self.environment),
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            umask=UMASK,
        )

    def run(
        self, *arguments: str, timeout_s: float = 600, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command's result, whatever its exit code."""
        return subprocess.run(
            [str(self.root / "lab"), *arguments],
            env=dict(self.environment),
            cwd=tempfile.gettempdir(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            umask=UMASK,
        )

    def ok(self, *arguments: str, timeout_s: float = 600, stdin: str | None = None) -> str:
        """Standard output of a command that must succeed."""
        result = self.run(*arguments, timeout_s=timeout_s, stdin=stdin)
        assert result.returncode == 0, f"lab {' '.join(arguments)}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def json(self, *arguments: str, timeout_s: float = 600) -> Any:
        """The parsed answer of ``--json``."""
        return json.loads(self.ok("--json", *arguments, timeout_s=timeout_s))

    def keys(self) -> dict[str, Any]:
        """Addresses, passwords and client secrets, as an operator may read them; asked for once."""
        if "keys" not in self._known:
            self._known["keys"] = self.json("credentials", "--all")
        found: dict[str, Any] = self._known["keys"]
        return found

    def tokens(self, persona: str) -> PersonaTokens:
        """Tokens for Trino of one of the sample users, with the groups of this moment."""
        outputs = json.loads((self.home / "outputs.json").read_text(encoding="utf-8"))
        return PersonaTokens(
            Endpoint(issuer_url=outputs["issuer_url"]),
            username=persona,
            password=next(p["password"] for p in self.keys()["personas"] if p["username"] == persona),
            client_secret=self.keys()["keys"]["client personas"],
            audience=Audience.TRINO,
        )

    def trino(
        self, persona: str, *, tokens: PersonaTokens | None = None, source: str = "tests"
    ) -> TrinoSession:
        """Trino as one of the sample users, with a token of this moment unless ``tokens`` are given; it is
        what ``lab sql`` opens, without a start of the command for each statement."""
        outputs = json.loads((self.home / "outputs.json").read_text(encoding="utf-8"))
        found = tokens or self.tokens(persona)
        return TrinoSession(outputs["trino_url"], found, outputs["ca_certificate"], source=source)

    def rows(self, sql: str, persona: str) -> list[dict[str, Any]]:
        """Rows of a statement as one of the sample users, written as ``lab sql --json`` writes them."""
        text = io.StringIO()
        with self.trino(persona) as session:
            found = session.run(sql)
            write_json_lines(found.columns, found.rows, text.write)
        return [json.loads(line) for line in text.getvalue().splitlines()]

    def value(self, sql: str, persona: str) -> Any:
        """The one value of a statement."""
        (row,) = self.rows(sql, persona)
        (value,) = row.values()
        return value

    def fingerprint(self) -> dict[str, Any]:
        """What ``lab --json fingerprint`` prints, without a start of the command and the engine each time."""
        if "session" not in self._known:
            lab = Lab(name=self.home.name, home=self.home, root=self.root, cache=cache_home(self.environment))
            self._known["session"] = Session(lab, environ=self.environment)
        found: dict[str, Any] = json.loads(to_json(operations.fingerprint(self._known["session"])))
        return found

    @property
    def supervisor(self) -> SupervisorClient:
        """The way to the lab's supervisor, without a start of the command for each question."""
        return SupervisorClient(self.home)

    def service(self, name: str) -> dict[str, Any]:
        """One service's entry of ``lab status``, without a start of the command."""
        found = next((one for one in self.supervisor.status() if one.name == name), None)
        assert found is not None, f"{name} is not declared"
        entry: dict[str, Any] = to_plain(found)
        return entry

    def shell(self, script: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """A bash script in the checkout, with this lab as the default one."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=dict(self.environment),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def clean_environment() -> dict[str, str]:
    """This process's environment without what would choose a lab, a Python or an engine's state."""
    return {
        key: value
        for key, value in os.environ.items()
        if key not in {"LAB_HOME", "LAB_NAME", "PYTHONPATH", "VIRTUAL_ENV"} and not key.startswith("PULUMI_")
    }


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that other users may pass through (PostgreSQL is one of them when root runs the tests)."""
    folder = Path(tempfile.mkdtemp(dir=os.environ[leftovers.VARIABLE]))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lab_of_its_own(folder: Path, *settings: str, name: str = "lab", root: Path = ROOT) -> Iterator[LiveLab]:
    """A new lab below ``folder``, brought up with its core alone and small tables, and destroyed at the
    end; ``settings`` are more arguments of ``up``."""
    environment = {**clean_environment(), "LAB_HOME": str(folder), "LAB_NAME": name}
    live = LiveLab(environment=environment, home=folder / name, root=root)
    try:
        arguments = ("--without", "trino", "--set", f"scaleFactor={SCALE_FACTOR}", *settings)
        live.ok("up", *arguments, timeout_s=3000)
        yield live
    finally:
        live.run("destroy", "--yes", timeout_s=300)


def copy_checkout(target: Path) -> Path:
    """The checkout's own files as they are now, without what Git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@contextmanager
def small_disk(size_mib: int) -> Iterator[Path | None]:
    """A memory disk, None where this user may not mount one."""
    with tempfile.TemporaryDirectory(prefix="lab small ") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "tmpfs", folder]
        mounted = (
            os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        )
        try:
            yield Path(folder) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def small_temporary_folder() -> Iterator[Path | None]:
    """Room for temporary files that is soon full."""
    with small_disk(32) as folder:
        yield folder


@pytest.fixture(scope="session")
def lab(small_temporary_folder: Path | None) -> Iterator[LiveLab]:
    """A lab with the default components and small sample tables; each process that runs tests has one."""
    with kept_folder() or temporary_folder() as folder:
        environment = {**clean_environment(), "LAB_HOME": str(folder), "LANG": "C", "LC_ALL": "C"}
        if small_temporary_folder is not None:
            environment["TMPDIR"] = str(small_temporary_folder)
        live = LiveLab(environment=environment, home=folder / "lab")
        try:
            live.ok("up", "--set", f"scaleFactor={SCALE_FACTOR}", timeout_s=3000)
            yield live
        finally:
            if "LAB_LIVE_HOME" not in os.environ:
                live.run("destroy", "--yes", timeout_s=300)


def kept_folder() -> AbstractContextManager[Path] | None:
    """LAB_LIVE_HOME, in which labs stay; where tests run side by side each process has its part of it."""
    if "LAB_LIVE_HOME" not in os.environ:
        return None
    folder = Path(os.environ["LAB_LIVE_HOME"])
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        folder /= os.environ["PYTEST_XDIST_WORKER"]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return nullcontext(folder)


@pytest.fixture(scope="session")
def people(lab: LiveLab) -> Iterator[People]:
    """The lab's sample users, with open connections."""
    found = People(lab)
    yield found
    found.close()
