"""Spark beside Trino on the same tables: whose code runs, with which identity, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import psutil
import pytest

from tests.live.conftest import LiveLab
from tests.live.console import Person
from tests.live.people import raw_uses
from tests.live.test_console_jobs import permit, remove, wait_for

pytestmark = pytest.mark.live

MARKER = "LAB_SPARK_RUN"


@pytest.fixture(scope="module")
def spark(lab: LiveLab) -> Iterator[LiveLab]:
    """The suite's lab with Spark and the console in it; afterwards without, and with nothing of Spark left
    running."""
    lab.ok("up", "spark", "console", timeout_s=1800)
    try:
        yield lab
    finally:
        lab.ok("spark", "sql", "SELECT 1", "--as", "engineer")
        without = ("--without", "spark", "--without", "console")
        lab.ok("up", *without, "--set", "sparkIdleS=900", timeout_s=900)
        assert drivers(lab) == []


def drivers(lab: LiveLab) -> list[psutil.Process]:
    """Every process of a Spark server or job of this lab, Python's among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER, "").startswith(str(lab.home)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def servers(lab: LiveLab) -> list[psutil.Process]:
    return [process for process in drivers(lab) if "spark-internal" in process.cmdline()]


def rows(lab: LiveLab, statement: str, persona: str = "engineer") -> list[dict[str, Any]]:
    out = lab.ok("spark", "sql", statement, "--as", persona, "--json")
    return [json.loads(line) for line in out.splitlines() if line.strip()]


def wait_until(reached: Callable[[], Any], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.5)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(source: str, name: str = "job.py") -> Path:
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return path

    return write


def test_what_spark_writes_trino_reads_and_the_reverse(spark: LiveLab) -> None:
    rows(spark, "CREATE OR REPLACE TABLE raw.by_spark AS SELECT n_nationkey AS k, n_name FROM retail.nation")
    assert spark.value("SELECT count(*) FROM lake.raw.by_spark WHERE n_name LIKE 'V%'", "engineer") == 1
    spark.ok("sql", "UPDATE lake.raw.by_spark SET n_name = 'NOWHERE' WHERE k = 24", "--as", "engineer")
    assert rows(spark, "SELECT n_name FROM raw.by_spark WHERE k = 24") == [{"n_name": "NOWHERE"}]
    spark.ok("sql", "CREATE TABLE lake.raw.by_trino AS SELECT 1 AS x UNION SELECT 2", "--as", "engineer")
    rows(spark, "INSERT INTO raw.by_trino VALUES (3)")
    assert spark.value("SELECT sum(x) FROM lake.raw.by_trino", "engineer") == 6
    customers = rows(spark, "SELECT count(*) AS n FROM retail.customer")
    assert customers == [{"n": spark.value("SELECT count(*) FROM lake.retail.customer", "engineer")}]
    for table in ("by_spark", "by_trino"):
        rows(spark, f"DROP TABLE raw.{table}")


def test_the_audit_tells_of_what_spark_read_and_wrote(spark: LiveLab) -> None:
    rows(spark, "CREATE OR REPLACE TABLE raw.told AS SELECT r_name FROM retail.region WHERE r_regionkey > 1")
    if spark.json("status")["catalog"] != "nessie":
        rows(spark, "DROP TABLE raw.told")
        return  # Polaris answers raw engines itself.

    def told(table: str) -> dict[str, dict[str, Any]]:
        events = raw_uses(spark, "--table", table, "--user", "engineer", "--as", "auditor")
        return {event["what"]: event["detail"] for event in events}

    wait_until(lambda: "catalog.scan" in told("retail.region"))
    read = told("retail.region")
    assert read["catalog.read"]["keys"] is True
    assert read["catalog.scan"]["columns"] == ["r_regionkey", "r_name"]
    assert read["catalog.scan"]["snapshot_id"] == read["catalog.read"]["snapshot_id"]
    wait_until(lambda: "catalog.commit" in told("raw.told"))
    rows(spark, "DROP TABLE raw.told")
    wait_until(lambda: "catalog.drop" in told("raw.told"))


@pytest.mark.parametrize(
    ("persona", "said"),
    [
        ("analyst_emea", "rules hold for this user on hr.employees"),
        ("steward", "row and column rules are not applied"),
        ("admin", "row and column rules are not applied"),
        ("hr", "no table whose files"),
        ("outsider", "names no group"),
    ],
)
def test_who_is_under_rules_is_refused_at_the_door(
    spark: LiveLab, script: Callable[[str], Path], persona: str, said: str
) -> None:
    job = str(script("print('ran')"))
    for arguments in (("sql", "SELECT 1", "--as", persona), ("submit", "--as", persona, job)):
        result = spark.run("spark", *arguments)
        assert result.returncode == 1, result.stdout
        assert said in result.stderr
    assert not [p for p in drivers(spark) if persona in " ".join(p.cmdline())]


def test_the_catalog_gives_no_files_of_people_even_to_those_let_in(spark: LiveLab) -> None:
    result = spark.run("spark", "sql", "SELECT * FROM hr.employees", "--as", "engineer")
    assert result.returncode == 1
    assert "denied" in result.stderr
    assert "salary" not in result.stdout


def test_a_driver_holds_a_token_of_its_users_for_the_catalog_alone(spark: LiveLab) -> None:
    rows(spark, "SELECT 1")
    (server,) = servers(spark)
    folder = Path(server.environ()[MARKER])
    properties = dict(
        line.split("=", 1) for line in (folder / "spark.properties").read_text().splitlines() if line
    )
    run_id, secret = properties["spark.sql.catalog.lake.credential"].split(":")
    url = properties["spark.sql.catalog.lake.oauth2-server-uri"]
    with httpx.Client(trust_env=False, timeout=30) as http:
        answers = [
            http.post(url, data={"client_id": run_id, "client_secret": given})
            for given in (secret, secret, "another")
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    for answer in answers[:2]:
        claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
        assert claims["aud"] == "catalog"
        assert claims["preferred_username"] == "engineer"
        assert claims["exp"] - time.time() > 200
    keys = spark.json("credentials", "--all")["keys"]
    secrets = [*(value for name, value in keys.items() if name.startswith("client ")), secret]
    assert len(secrets) > 5
    seen = " ".join(server.cmdline()) + str(server.environ())
    seen += (spark.home / "logs" / "spark.log").read_text(encoding="utf-8", errors="replace")
    seen += (folder / "log").read_text(encoding="utf-8", errors="replace")
    assert not [value for value in secrets if value in seen]


def test_a_job_shows_its_output_and_its_exit_code(spark: LiveLab, script: Callable[..., Path]) -> None:
    helper = script("def double(x):\n    return 2 * x\n", "helper.py")
    job = script(
        "import sys\n"
        "from helper import double\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print('given', sys.argv[1:], spark.table('retail.nation').count())\n"
        "print(spark.sparkContext.parallelize([1, 2]).map(double).collect())\n"
        "sys.exit(int(sys.argv[2]))\n"
    )
    submit = ("spark", "submit", "--as", "engineer", "--py-files", str(helper), str(job), "--code")
    done = spark.run(*submit, "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "given ['--code', '0'] 25" in done.stdout
    assert "[2, 4]" in done.stdout
    failed = spark.run(*submit, "7")
    assert failed.returncode == 1
    assert "ended with 7" in failed.stderr
    newest, before = spark.json("spark", "jobs", "--as", "engineer")[:2]
    assert (newest["state"], newest["exit_code"], before["state"]) == ("failed", 7, "succeeded")
    assert "given" in spark.ok("spark", "logs", before["id"], "--as", "engineer")


def test_a_program_of_the_consoles_jobs_runs_as_its_owner(spark: LiveLab) -> None:
    """The console's own queue, Keycloak's offline token, and the gateway's log, end to end."""
    source = (
        "import sys\n"
        "from helper import ORDER\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print('counted', spark.table('retail.nation').count(), 'for', sys.argv[1], flush=True)\n"
        "spark.sql('CREATE OR REPLACE TABLE raw.by_job AS SELECT * FROM retail.nation ' + ORDER)\n"
        "spark.sql('SELECT * FROM hr.employees').show()\n"
    )
    work = {
        "kind": "spark",
        "source": source,
        "arguments": [":n"],
        "modules": {"helper.py": "ORDER = 'ORDER BY n_name'\n"},
    }
    parameters = [{"name": "n", "type": "bigint", "default": 4}]
    with Person(spark, "engineer") as person:
        permit(person)
        try:
            job = person.post(
                "/api/v1/jobs", {"title": "by Spark", "work": work, "parameters": parameters}, 201
            )
            run = person.post(f"/api/v1/jobs/{job['id']}/runs", {}, 202)
            ended = wait_for(person, run, "succeeded", "failed", "timed_out")
            told = person.http.get(f"{person.url}/api/v1/job-runs/{run['id']}/events", timeout=60).text
            # What the rules keep from its owner ends it; what came before has been done.
            assert (ended["state"], ended["attempt"]) == ("failed", 1), told
            assert "counted 25 for 4" in told
            assert "hr.employees" in told
            assert "salary" not in told
            newest = spark.json("spark", "jobs", "--as", "engineer")[0]
            assert newest["id"] == ended["attempts"][0]["spark_job_id"]
            assert spark.value("SELECT count(*) FROM lake.raw.by_job", "engineer") == 25
            spark.ok("sql", "DROP TABLE lake.raw.by_job", "--as", "engineer")
            remove(person, job)
        finally:
            sent = {"X-CSRF-Token": person.csrf, "Origin": person.url}
            person.http.delete(f"{person.url}/api/v1/job-permission", headers=sent).raise_for_status()


def test_a_job_is_killed_with_all_that_it_started(spark: LiveLab, script: Callable[[str], Path]) -> None:
    source = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    submitted = spark.json("spark", "submit", "--as", "engineer", "--detach", str(script(source)))
    job = submitted["id"]
    wait_until(lambda: "up" in spark.ok("spark", "logs", job, "--as", "engineer"))
    assert len([p for p in drivers(spark) if job in p.environ()[MARKER]]) >= 3
    killed = spark.json("spark", "kill", job, "--as", "engineer")
    assert killed["state"] == "killed"
    assert not [p for p in drivers(spark) if job in p.environ()[MARKER]]


def test_the_shell_runs_what_it_is_given(spark: LiveLab) -> None:
    source = (
        "from pyspark.sql.functions import udf\n"
        "up = udf(lambda x: x + 1, 'long')\n"
        "print(spark.range(3).select(up('id').alias('n')).toPandas()['n'].tolist())\n"
    )
    assert "[1, 2, 3]" in spark.ok("spark", "shell", "--as", "engineer", stdin=source)
    failed = spark.run("spark", "shell", "--as", "engineer", stdin="spark.sql('SELECT nothing').collect()\n")
    assert failed.returncode == 1


class Realm:
    """Keycloak's admin API as the governor may use it, for a second user who may use Spark."""

    def __init__(self, lab: LiveLab, http: httpx.Client) -> None:
        found = lab.json("credentials", "--all")
        issuer = found["urls"]["sign-in"]
        base, _, realm = issuer.partition("/realms/")
        answer = http.post(
            f"{issuer}/protocol/openid-connect/token",
            data={"grant_type": "client_credentials"},
            auth=("governor", found["keys"]["client governor"]),
        )
        assert answer.status_code == 200, answer.text
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._http, self._url = http, f"{base}/admin/realms/{realm}"

    def membership(self, username: str, group: str) -> str:
        """The address of a membership: PUT makes it, DELETE ends it."""
        users = self._http.get(f"{self._url}/users", params={"username": username, "exact": "true"}).json()
        groups = self._http.get(f"{self._url}/groups", params={"search": group, "exact": "true"}).json()
        return f"{self._url}/users/{users[0]['id']}/groups/{groups[0]['id']}"


def ask(remote: str, token: str) -> list[bytes]:
    """A call of Spark Connect with a token, as anybody can make it."""
    with grpc.insecure_channel(remote.removeprefix("sc://")) as channel:
        call = channel.unary_stream("/spark.connect.SparkConnectService/ExecutePlan")
        return list(call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=30))


def assert_the_door_keeps_them_apart(spark: LiveLab, mine: dict[str, str], theirs: dict[str, str]) -> None:
    """Runs ``spark_door.py`` and compares what it found."""
    program = Path(__file__).with_name("spark_door.py").read_text(encoding="utf-8")
    tokens = [environment["SPARK_CONNECT_AUTHENTICATE_TOKEN"] for environment in (mine, theirs)]
    program += f"\nmain({mine['SPARK_REMOTE']!r}, {tokens[0]!r}, {tokens[1]!r})\n"
    found = json.loads(spark.ok("spark", "shell", "--as", "engineer", stdin=program))
    assert found.pop("another's").startswith("TABLE_OR_VIEW_NOT_FOUND")
    assert "no raw access to hr.employees" in found.pop("forged")
    assert found.pop("interrupted").startswith("OPERATION_CANCELED")
    assert found == {
        "no token": "UNAUTHENTICATED",
        "a guess": "UNAUTHENTICATED",
        "mine": 3,
        "forged, what is permitted": 25,
        "big": 20 << 20,
        "broken off": {"rows": 4_000_000, "calls": 3},
        "afterwards": 7,
    }


def test_two_users_have_two_servers_and_neither_reaches_the_others(spark: LiveLab) -> None:
    with httpx.Client(trust_env=False, timeout=30) as http:
        address = Realm(spark, http).membership("outsider", "data_engineers")
        assert http.put(address).is_success
        try:
            mine = spark.json("spark", "env", "--as", "engineer")
            theirs = spark.json("spark", "env", "--as", "outsider")
            assert len(servers(spark)) == 2
            assert mine["SPARK_REMOTE"] == theirs["SPARK_REMOTE"]
            assert mine["SPARK_CONNECT_AUTHENTICATE_TOKEN"] != theirs["SPARK_CONNECT_AUTHENTICATE_TOKEN"]
            assert rows(spark, "SELECT count(*) AS n FROM retail.nation", "outsider") == [{"n": 25}]
            assert spark.json("spark", "jobs", "--as", "outsider") == []
            assert_the_door_keeps_them_apart(spark, mine, theirs)
        finally:
            assert http.delete(address).is_success
        stopped = spark.json("spark", "stop", "--as", "engineer")
        assert stopped == {"stopped": True}
        assert len(servers(spark)) == 1
        with pytest.raises(grpc.RpcError, match="it was stopped") as stale:
            ask(mine["SPARK_REMOTE"], mine["SPARK_CONNECT_AUTHENTICATE_TOKEN"])
        assert stale.value.code() is grpc.StatusCode.UNAUTHENTICATED
        # Whoever is in no group any more is let in no more, and the server ends with its next token.
        assert spark.run("spark", "sql", "SELECT 1", "--as", "outsider").returncode == 1


def test_a_killed_gateway_leaves_no_orphan(spark: LiveLab, script: Callable[[str], Path]) -> None:
    rows(spark, "SELECT 1")
    job = spark.json(
        "spark", "submit", "--as", "engineer", "--detach", str(script("import time; time.sleep(600)"))
    )["id"]
    wait_until(lambda: len(drivers(spark)) >= 2)
    left = drivers(spark)
    before = spark.service("spark")
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: not [process for process in left if process.is_running()])
    wait_until(lambda: spark.service("spark")["state"] == "ready")
    assert spark.service("spark")["pid"] != before["pid"]
    (found,) = [j for j in spark.json("spark", "jobs", "--as", "engineer") if j["id"] == job]
    assert found["state"] == "lost"
    assert rows(spark, "SELECT count(*) AS n FROM retail.nation") == [{"n": 25}]


def test_a_silent_server_is_stopped(spark: LiveLab) -> None:
    spark.ok("up", "--set", "sparkIdleS=10", timeout_s=900)
    rows(spark, "SELECT 1")
    status = spark.json("spark", "status", "--as", "engineer")
    assert (status["state"], status["idle_limit_s"]) == ("running", 10)
    wait_until(lambda: spark.json("spark", "status", "--as", "engineer") is None, timeout_s=120)
    # It is its user's no more before its process has ended.
    wait_until(lambda: not servers(spark))
    spark.ok("up", "--set", "sparkIdleS=900", timeout_s=900)


def test_the_jobs_folder_is_its_users_alone(spark: LiveLab) -> None:
    folder = spark.home / "data" / "spark"
    assert folder.is_dir()
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert not [p for p in Path(tempfile.gettempdir()).glob("spark-*") if p.stat().st_uid == os.getuid()]
