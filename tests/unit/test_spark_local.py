"""Drivers as processes: started without secrets in sight, ended with all that they started."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contracts.errors import UsageError
from spark_gateway import local
from spark_gateway.client import Program
from spark_gateway.drivers import LaunchPlan, command, properties_text
from spark_gateway.launcher import Driver, Launch, LaunchError
from spark_gateway.local import MARKER, LocalLauncher

STAND_IN = """
import os, re, signal, socket, subprocess, sys, time
arguments = sys.argv[1:]
text = open(arguments[arguments.index("--properties-file") + 1]).read()
properties = dict(re.findall(r"^(\\S+?)=(.*)$", text, flags=re.M))
print("started", flush=True)
if arguments[-1] == "spark-internal":
    if properties.get("spark.test.dies"):
        sys.exit("cannot bind")
    if properties.get("spark.test.deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print(f"child {child.pid}", flush=True)
    server = socket.create_server(("127.0.0.1", int(properties["spark.connect.grpc.binding.port"])))
    while True:
        server.accept()[0].close()
i = arguments.index("--properties-file")
exec(open(arguments[i + 2]).read())
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[LocalLauncher]:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    plan = LaunchPlan(
        java=(sys.executable, str(program)),
        classpath=("/jars/*", "/more.jar"),
        environment={"PATH": os.environ["PATH"]},
        catalog="lake",
        spark_version="4",
    )
    yield LocalLauncher(plan, {"spark.master": "local[2]"}, runs_dir=tmp_path / "runs", cache_dir=scratch)
    local._kill(local._marked(tmp_path / "runs"))


def server(run_id: str = "r1", **properties: str) -> Launch:
    secret = {"spark.sql.catalog.lake.credential": "r1:a-secret-of-the-run"}
    return Launch(run_id=run_id, properties={**secret, **properties}, connect_token="connect-token")


def job(source: str) -> Launch:
    return Launch(run_id="j1", properties={}, program=Program(file_name="job.py", content=source.encode()))


async def started(launcher: LocalLauncher, launch: Launch) -> Driver:
    driver = await launcher.launch(launch)
    await driver.ready()
    return driver


def child_of(launcher: LocalLauncher, run_id: str = "r1") -> psutil.Process:
    text = launcher.log(run_id, 0, 10_000).decode()
    return psutil.Process(int(text.rpartition("child ")[2].split()[0]))


async def test_a_server_listens_and_is_stopped_with_what_left_its_session(launcher: LocalLauncher) -> None:
    driver = await started(launcher, server())
    assert driver.address is not None
    with socket.create_connection(driver.address, timeout=5):
        pass
    child = child_of(launcher)
    await driver.stop()
    assert await driver.ended() == -signal.SIGTERM
    assert not child.is_running()


async def test_secrets_stand_in_one_private_file_that_goes_with_the_driver(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    driver = await started(launcher, server())
    properties = tmp_path / "runs" / "r1" / "spark.properties"
    assert "a-secret-of-the-run" in properties.read_text()
    assert properties.stat().st_mode & 0o777 == 0o600
    (process,) = [p for p in psutil.Process().children() if "stand_in.py" in " ".join(p.cmdline())]
    seen = str(process.cmdline()) + str(process.environ())
    assert "a-secret-of-the-run" not in seen
    assert "connect-token" not in seen
    await driver.stop()
    assert not properties.exists()
    assert not (tmp_path / "runs" / "r1" / "tmp").exists()
    assert b"started" in launcher.log("r1", 0, 100)
    launcher.forget("r1")
    assert launcher.log("r1", 0, 100) == b""


async def test_a_server_that_ignores_the_request_is_killed(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ARCHIVE_TIMEOUT_S", 0.3)
    driver = await started(launcher, server(**{"spark.test.deaf": "yes"}))
    await driver.stop()
    assert await driver.ended() == -signal.SIGKILL


async def test_class_data_of_the_first_server_serve_the_next_drivers(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    def options(launched: list[str]) -> list[str]:
        return [part for part in launched if part.startswith("-XX:")]

    driver = await started(launcher, server())
    (process,) = [p for p in psutil.Process().children() if "stand_in.py" in " ".join(p.cmdline())]
    left = tmp_path / "runs" / "r1" / "classes.jsa"
    assert options(process.cmdline()) == [f"-XX:ArchiveClassesAtExit={left}"]
    left.write_text("class data")
    await driver.stop()
    (archive,) = (tmp_path / "scratch").glob("classes-*.jsa")
    assert archive.read_text() == "class data"
    later = await started(launcher, server("r2"))
    (process,) = [p for p in psutil.Process().children() if "stand_in.py" in " ".join(p.cmdline())]
    assert options(process.cmdline()) == [f"-XX:SharedArchiveFile={archive}"]
    await later.stop()


async def test_half_written_class_data_are_thrown_away(launcher: LocalLauncher, tmp_path: Path) -> None:
    driver = await started(launcher, server())
    (tmp_path / "runs" / "r1" / "classes.jsa").write_text("half")
    (process,) = [p for p in psutil.Process().children() if "stand_in.py" in " ".join(p.cmdline())]
    process.kill()
    await driver.ended()
    assert not list(tmp_path.rglob("*.jsa"))


async def test_a_server_that_dies_says_what_it_wrote(launcher: LocalLauncher) -> None:
    driver = await launcher.launch(server(**{"spark.test.dies": "yes"}))
    with pytest.raises(LaunchError, match="cannot bind"):
        await driver.ready()


async def test_a_job_has_its_own_exit_code_and_output(launcher: LocalLauncher) -> None:
    source = f"import os, sys; print(os.environ['{MARKER}'], os.getcwd()); sys.exit(3)"
    driver = await launcher.launch(job(source))
    assert driver.address is None
    assert await driver.ended() == 3
    text = launcher.log("j1", 0, 1000).decode()
    assert "runs/j1" in text
    assert "runs/j1/tmp" in text
    assert launcher.log("j1", 8, 1000).decode() == text[8:]


async def test_what_a_job_left_behind_ends_with_it(launcher: LocalLauncher) -> None:
    source = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True); print('child', p.pid)"
    )
    driver = await launcher.launch(job(source))
    assert await driver.ended() == 0
    with pytest.raises(psutil.NoSuchProcess):
        child_of(launcher, "j1")


async def test_the_next_gateway_ends_what_the_last_one_left(launcher: LocalLauncher, tmp_path: Path) -> None:
    (tmp_path / "runs" / "j1").mkdir()
    (tmp_path / "runs" / "j1" / "log").write_text("of a job that is remembered")
    driver = await started(launcher, server())
    child = child_of(launcher)
    elsewhere = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(600)", env={MARKER: str(tmp_path / "other" / "r1")}
    )
    await LocalLauncher(
        launcher._plan, {}, runs_dir=tmp_path / "runs", cache_dir=tmp_path / "scratch"
    ).recover({"j1"})
    assert await driver.ended() != 0  # what it ended with, the other one has found out
    assert not child.is_running()
    assert sorted(path.name for path in (tmp_path / "runs").rglob("*")) == ["j1", "log"]
    assert elsewhere.returncode is None
    elsewhere.kill()
    await elsewhere.wait()


async def test_a_java_that_is_not_there_is_said_and_leaves_no_secret(tmp_path: Path) -> None:
    plan = LaunchPlan(
        java=("/nonexistent/java",), classpath=(), environment={}, catalog="lake", spark_version="4"
    )
    broken = LocalLauncher(plan, {}, runs_dir=tmp_path / "runs", cache_dir=tmp_path)
    with pytest.raises(LaunchError, match="can't be started"):
        await broken.launch(server())
    assert not list(tmp_path.rglob("spark.properties"))


def test_properties_are_read_back_as_they_were_written() -> None:
    text = properties_text({"spark.a b": "x=y:z\\n", "spark.sql.catalog.lake.credential": "id:secret"})
    assert text == "spark.a\\ b=x=y:z\\\\n\nspark.sql.catalog.lake.credential=id:secret\n"
    with pytest.raises(UsageError, match="line break"):
        properties_text({"spark.a": "x\nspark.b=y"})


def test_command_lines(launcher: LocalLauncher, tmp_path: Path) -> None:
    def tail(program: Program | None) -> list[str]:
        made = command(
            launcher._plan,
            options=("-XX:Option",),
            folder=Path("/run"),
            properties_file=Path("/run/p"),
            program=program,
        )
        assert made[: len(launcher._plan.java)] == list(launcher._plan.java)
        assert made[made.index("-cp") + 1] == "/jars/*:/more.jar"
        return made[made.index("--properties-file") + 2 :]

    assert tail(None) == [
        "--class",
        "org.apache.spark.sql.connect.service.SparkConnectServer",
        "spark-internal",
    ]
    python = Program(file_name="a.py", content=b"", arguments=("--x", "1"), python_files={"b.zip": b""})
    assert tail(python) == ["--py-files", "/run/b.zip", "/run/a.py", "--x", "1"]
    assert tail(Program(file_name="a.jar", content=b"", main_class="A")) == ["--class", "A", "/run/a.jar"]


def test_a_plan_is_read_back() -> None:
    plan = LaunchPlan(
        java=("java",), classpath=("a",), environment={"A": "b"}, catalog="lake", spark_version="4"
    )
    assert LaunchPlan.from_json(plan.to_json()) == plan
    with pytest.raises(UsageError, match="can't be read"):
        LaunchPlan.from_json("{}")
