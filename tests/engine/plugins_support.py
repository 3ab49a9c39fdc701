"""The real engine, and a real Keycloak on a real PostgreSQL, for the plugin tests."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from cli.toolchain import pulumi_engine
from contracts.settings import cache_home
from placements.local.artifacts import SilentProgress
from placements.local.artifacts.recipes import KEYCLOAK_JAVA_OPTIONS
from placements.local.software import artifact_path, ensure_artifacts
from plugins.install import PLUGINS, install

ADMIN, ADMIN_PASSWORD = "boot", "boot-password"
_READY_S = 180


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run of the engine did: its exit code, text, and number of resources by operation."""

    code: int
    text: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Project:
    """A Pulumi project with its own state, run by the command line as a person would."""

    folder: Path
    environment: Mapping[str, str]

    def config(self, *, secret: Mapping[str, str] | None = None, **plain: str) -> None:
        """Sets configuration."""
        for name, value in plain.items():
            self._run("config", "set", name, "--", value)
        for name, value in (secret or {}).items():
            done = self.start("config", "set", "--secret", name, stdin=subprocess.PIPE).communicate(value)
            assert done is not None

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """The engine, running."""
        return subprocess.Popen(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> Outcome:
        """The engine, to its end."""
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=900)
        return Outcome(code=process.returncode, text=text, counts=_counts(text))

    def up(self, *arguments: str) -> Outcome:
        """``pulumi up`` that must succeed."""
        return self._ok("up", "--yes", "--skip-preview", *arguments)

    def refresh(self, *arguments: str) -> Outcome:
        """``pulumi refresh`` that must succeed."""
        return self._ok("refresh", "--yes", "--skip-preview", *arguments)

    def destroy(self) -> Outcome:
        """``pulumi destroy`` that must succeed."""
        return self._ok("destroy", "--yes", "--skip-preview")

    def state(self) -> Any:
        """The state's resources, with secrets encrypted."""
        return json.loads(self._run("stack", "export"))["deployment"].get("resources", [])

    def forget(self) -> None:
        """Loses the state; what it described stays."""
        config = (self.folder / "Pulumi.dev.yaml").read_text(encoding="utf-8")
        self._run("stack", "rm", "--yes", "--force")
        (self.folder / "Pulumi.dev.yaml").write_text(config, encoding="utf-8")
        self._run("stack", "init", "dev")

    def _ok(self, *arguments: str) -> Outcome:
        outcome = self.run(*arguments)
        assert outcome.code == 0, outcome.text
        return outcome

    def _run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0, text
        return text


def _counts(text: str) -> dict[str, int]:
    """The summary's numbers: ``+ 38 created``, ``~ 1 updated``, ``2 changes. 36 unchanged``."""
    found = re.findall(r"(\d+) (created|updated|replaced|deleted|unchanged)", text.partition("Resources:")[2])
    return {operation: int(count) for count, operation in found}


def new_project(folder: Path) -> Project:
    """An empty project in ``folder``, with the plugins named in its project file."""
    plugin_home = folder / "plugins"
    install(plugin_home, Path(sys.executable))
    described = {
        "name": "plugins-test",
        "runtime": "python",
        "plugins": {"providers": [{"name": name, "path": str(plugin_home)} for name in PLUGINS]},
    }
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    (folder / "state").mkdir()
    engine = pulumi_engine(cache_home(), SilentProgress(), use_installer=False)
    environment = {
        **os.environ,
        **engine.environment(python=Path(sys.executable), home=folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    made = Project(folder=folder, environment=environment)
    assert made.run("stack", "init", "dev").code == 0
    return made


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class _SignedIn(httpx.Auth):
    """A fresh token when the last is older than half the minute it lives."""

    requires_response_body = True

    def __init__(self, url: str) -> None:
        self._url, self._token, self._since = url, "", 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Signs in where needed, then sends ``request``."""
        if time.monotonic() - self._since > 30 or not self._token:
            answer = yield httpx.Request(
                "POST",
                f"{self._url}/realms/master/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "admin-cli",
                    "username": ADMIN,
                    "password": ADMIN_PASSWORD,
                },
            )
            self._token, self._since = answer.raise_for_status().json()["access_token"], time.monotonic()
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


@dataclass(kw_only=True)
class KeycloakServer:
    """A running Keycloak: what the plugin is pointed at, and a person's hands on it."""

    url: str
    process: subprocess.Popen[bytes]

    @contextmanager
    def person(self) -> Iterator[httpx.Client]:
        """An administrator, signed in for as long as it takes."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False, auth=_SignedIn(self.url)) as client:
            yield client

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def running_keycloak() -> Iterator[KeycloakServer]:
    """Keycloak on an empty database, ready."""
    cache, source = cache_home(), Path(__file__).parents[2]
    ensure_artifacts(("postgresql", "java25", "keycloak"), cache)
    paths = {name: artifact_path(name, cache, source) for name in ("postgresql", "java25", "keycloak")}
    # Below the system's temporary folder: the server's own user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="plugins-live-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database_port = running_postgresql(stack, paths["postgresql"], folder)
        yield _keycloak(stack, paths, folder, database_port)


def running_postgresql(stack: ExitStack, home: Path, folder: Path) -> int:
    """An empty PostgreSQL below ``folder``, until ``stack`` is left; its port."""
    user = "nobody" if os.geteuid() == 0 else None
    group = pwd.getpwnam(user).pw_gid if user else None
    groups: list[int] | None = [] if user else None
    data = folder / "database"
    data.mkdir(0o700)
    if user:
        os.chown(data, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    if user:
        # The cache of root lies where the server's own user can't go.
        home = Path(shutil.copytree(home, folder / "postgresql", symlinks=True))
    binaries = home / "bin"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"],
        check=True, capture_output=True, user=user, group=group, extra_groups=groups, cwd="/",
    )  # fmt: skip
    port = free_port()
    log = stack.enter_context((folder / "database.log").open("wb"))
    process = subprocess.Popen(
        [
            binaries / "postgres", "-D", data, "-p", str(port), "-k", data,
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        ],
        stdout=log, stderr=log, user=user, group=group, extra_groups=groups, cwd="/",
    )  # fmt: skip
    stack.callback(_end, process)
    deadline = time.monotonic() + _READY_S
    while True:
        # It takes connections before it answers them.
        with suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, dbname="postgres", user="postgres").close()
            return port
        assert process.poll() is None, (folder / "database.log").read_text()
        assert time.monotonic() < deadline, "PostgreSQL is not ready"
        time.sleep(0.2)


def _keycloak(
    stack: ExitStack, paths: Mapping[str, Path], folder: Path, database_port: int
) -> KeycloakServer:
    home = folder / "keycloak"
    for name in ("conf", "data", "lib"):
        (home / name).mkdir(parents=True)
    (home / "lib" / "quarkus").symlink_to(paths["keycloak"] / "lib" / "quarkus")
    port, management_port = free_port(), free_port()
    environment = {
        **os.environ,
        "KC_DB_URL": f"jdbc:postgresql://127.0.0.1:{database_port}/postgres",
        "KC_DB_USERNAME": "postgres",
        "KC_DB_PASSWORD": "unused",
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
    }
    log = stack.enter_context((folder / "keycloak.log").open("wb"))
    process = subprocess.Popen(
        [
            paths["java25"] / "bin" / "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            *KEYCLOAK_JAVA_OPTIONS, f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home / 'conf'}",
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
            "-cp", paths["keycloak"] / "lib" / "quarkus-run.jar",
            "io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--optimized", "--http-enabled=true",
            "--http-host=127.0.0.1", f"--http-port={port}", f"--http-management-port={management_port}",
            f"--hostname=http://127.0.0.1:{port}", "--cache=local",
        ],
        env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    stack.callback(_end, process)
    deadline = time.monotonic() + _READY_S
    ready = f"http://127.0.0.1:{management_port}/health/ready"
    with httpx.Client(trust_env=False) as client:
        while True:
            assert process.poll() is None, (folder / "keycloak.log").read_text()
            assert time.monotonic() < deadline, "Keycloak is not ready"
            try:
                if client.get(ready).is_success:
                    return KeycloakServer(url=f"http://127.0.0.1:{port}", process=process)
            except httpx.TransportError:
                time.sleep(0.3)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
