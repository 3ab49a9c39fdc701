"""The Spark gateway: who is let in, one server a user, jobs, tokens for drivers, and what is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from contracts.errors import UsageError
from governance.client import RawAccess
from spark_gateway.admission import NotAdmittedError, judge
from spark_gateway.client import Job, Program, RunState, SparkClient, SparkError
from spark_gateway.jobs import KEPT_JOBS, JobStore
from spark_gateway.programs import check_program
from tests.unit.spark_fakes import SCRIPT, SECRET, begin, connect_channel, credential, eventually, world


async def test_each_user_has_one_server_of_their_own(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        both = await asyncio.gather(w.call("POST", "/v1/server"), w.call("POST", "/v1/server"))
        other = (await w.call("POST", "/v1/server", "admin")).json()
        first, second = (answer.json() for answer in both)
        assert len(w.launcher.drivers) == 2
        assert (first["url"], first["token"]) == (second["url"], second["token"])
        assert other["url"] == first["url"]
        assert other["token"] != first["token"]
        assert first["server"]["state"] == "running"
        secrets = [driver.launch.properties for driver in w.launcher.drivers]
        assert secrets[0]["spark.connect.authenticate.token"] == first["token"]
        assert not [value for value in secrets[0].values() if value in secrets[1].values()]
        assert SECRET not in str(secrets)


async def test_a_jobs_files_are_given_to_its_own_driver_alone(tmp_path: Path) -> None:
    path = tmp_path / "job.py"
    path.write_bytes(b"print(1)")
    async with world(tmp_path) as w:
        ids = [(await w.call("POST", "/v1/jobs", body=SCRIPT)).json()["id"] for _ in range(2)]
        w.launcher.files[ids[0], "job.py"] = path
        shown = [tuple(driver.launch.credential.split(":")) for driver in w.launcher.drivers]
        assert [run_id for run_id, _ in shown] == ids

        async def asked(name: str, auth: tuple[str, ...]) -> httpx.Response:
            return await w.http.get(f"/v1/files/{name}", auth=(auth[0], auth[1]))

        assert (await asked("job.py", shown[0])).content == b"print(1)"
        assert (await asked("other.py", shown[0])).status_code == 404
        assert (await asked("job.py", shown[1])).status_code == 404
        assert (await asked("job.py", (ids[0], shown[1][1]))).status_code == 401
        assert (await w.http.get("/v1/files/job.py")).status_code == 401
        assert (await w.call("GET", "/v1/files/job.py")).status_code == 401, "a user's token is no driver's"
        w.launcher.drivers[0].finish(0)
        await eventually(lambda: ids[0] not in w.gateway._runs)
        assert (await asked("job.py", shown[0])).status_code == 401


async def test_a_cluster_without_room_is_said_as_a_gateway_that_is_full(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.launcher.full = True
        for path, body in (("/v1/server", None), ("/v1/jobs", SCRIPT)):
            answer = await w.call("POST", path, body=body)
            assert answer.status_code == 429
            assert "no room for another driver" in answer.json()["title"]
        w.launcher.full = False
        assert (await w.call("POST", "/v1/server")).status_code == 200


async def test_each_user_reaches_their_own_server_through_one_port(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        mine = (await w.call("POST", "/v1/server")).json()
        theirs = (await w.call("POST", "/v1/server", "admin")).json()
        async with connect_channel(mine["url"]) as channel:
            for given, said in ((mine, b"connect-engineer:x"), (theirs, b"connect-admin:x")):
                call = begin(channel, given["token"])
                await call.write(b"x")
                await call.done_writing()
                assert [message async for message in call] == [said]
            await w.call("DELETE", "/v1/server")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await begin(channel, mine["token"]).read()
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "lab spark env" in str(refused.value.details())


@pytest.mark.parametrize(
    ("who", "status", "said"),
    [
        ({"username": "analyst"}, 403, "rules hold for this user on retail.customer"),
        ({"username": "hr"}, 403, "no table whose files"),
        ({"groups": None}, 403, "names no group"),
        ({"aud": ["trino"]}, 401, "Audience"),
        ({"exp": 1}, 401, "expired"),
        ({"username": "service-account-agent", "azp": "agent"}, 403, "runs for people"),
    ],
    ids=["rules", "nothing granted", "no group", "another audience", "expired", "service account"],
)
@pytest.mark.parametrize("path", ["/v1/server", "/v1/jobs"])
async def test_who_may_not_is_refused_at_the_door(
    tmp_path: Path, path: str, who: dict[str, Any], status: int, said: str
) -> None:
    async with world(tmp_path) as w:
        w.governor.restricted["analyst"] = {"retail.customer": ["mask-phone"]}
        w.governor.nothing.add("hr")
        answer = await w.call("POST", path, body=SCRIPT if path == "/v1/jobs" else None, **who)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["title"]
        assert w.launcher.drivers == []


async def test_without_governor_or_keycloak_nobody_is_let_in(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.governor.down = True
        assert (await w.call("POST", "/v1/server")).status_code == 503
        w.governor.down, w.keycloak.down = False, True
        assert (await w.call("POST", "/v1/server")).status_code == 503
        w.keycloak.down = False
        w.keycloak.ended.add("engineer")
        assert (await w.call("POST", "/v1/server")).status_code == 403
        assert w.launcher.drivers == []


async def test_job_of_an_offline_sign_in_lasts_as_long_as_its_user_shows_tokens(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.keycloak.offline.add("engineer")
        job = (await w.call("POST", "/v1/jobs", body=SCRIPT)).json()
        form = credential(w.launcher.drivers[0].launch)
        assert (await w.http.post("/v1/token", data=form)).status_code == 200
        submitted = w.shown[-1]
        assert (await w.call("GET", f"/v1/jobs/{job['id']}", jti="a newer token")).status_code == 200
        assert (await w.http.post("/v1/token", data=form)).status_code == 200
        assert w.shown[-1] != submitted
        w.keycloak.ended.add("engineer")
        assert (await w.http.post("/v1/token", data=form)).json()["error"] == "invalid_grant"
        await eventually(lambda: w.launcher.drivers[0].stopped > 0)


async def test_a_driver_gets_tokens_for_the_catalog_again_and_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/server")
        form = credential(w.launcher.drivers[0].launch)
        first = await w.http.post("/v1/token", data=form)
        basic = await w.http.post("/v1/token", auth=(form["client_id"], form["client_secret"]))
        assert first.json()["expires_in"] == 300
        assert first.json()["access_token"].startswith("catalog-of-engineer-")
        assert basic.json()["access_token"].startswith("catalog-of-engineer-")
        assert basic.json()["access_token"] != first.json()["access_token"]
        assert first.headers["cache-control"] == "no-store"
        asked = [form["scope"] for form in w.keycloak.forms]
        assert asked[0] == "openid catalog governor"
        assert set(asked[1:]) == {"openid catalog", "openid governor"}


@pytest.mark.parametrize("change", [{"client_secret": "guess"}, {"client_id": "other"}, {"client_id": ""}])
async def test_a_wrong_credential_gets_no_token(tmp_path: Path, change: dict[str, str]) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/server")
        form = credential(w.launcher.drivers[0].launch)
        assert (await w.http.post("/v1/token", data={**form, **change})).status_code == 401
        assert (await w.http.post("/v1/token")).status_code == 401


async def test_a_rule_that_comes_later_takes_token_and_server(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/server")
        driver = w.launcher.drivers[0]
        w.governor.restricted["engineer"] = {"retail.customer": ["mask-phone"]}
        refused = await w.http.post("/v1/token", data=credential(driver.launch))
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        await eventually(lambda: driver.stopped)
        assert (await w.call("GET", "/v1/server")).json() is None
        assert (await w.http.post("/v1/token", data=credential(driver.launch))).status_code == 401


async def test_a_token_lasts_as_long_as_its_server_whatever_its_user_has_now(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        before = (await w.call("POST", "/v1/server")).json()
        w.keycloak.ended.add("engineer")
        await w.http.post("/v1/token", data=credential(w.launcher.drivers[0].launch))
        await eventually(lambda: w.launcher.drivers[0].stopped)
        async with connect_channel(before["url"]) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="there is no Spark server with this token"):
                await begin(channel, before["token"]).read()
            w.keycloak.ended.clear()
            now = (await w.call("POST", "/v1/server")).json()
            with pytest.raises(grpc.aio.AioRpcError, match="there is no Spark server with this token"):
                await begin(channel, before["token"]).read()
            call = begin(channel, now["token"])
            await call.write(b"x")
            assert await call.read() == b"connect-engineer:x"
            call.cancel()


async def test_a_governor_that_is_away_for_a_moment_stops_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/server")
        form = credential(w.launcher.drivers[0].launch)
        w.governor.down = True
        assert (await w.http.post("/v1/token", data=form)).status_code == 503
        w.governor.down = False
        assert (await w.http.post("/v1/token", data=form)).status_code == 200
        assert w.launcher.drivers[0].stopped == 0


async def test_a_sign_in_that_ended_ends_the_server(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/server")
        w.keycloak.ended.add("engineer")
        form = credential(w.launcher.drivers[0].launch)
        assert (await w.http.post("/v1/token", data=form)).status_code == 400
        await eventually(lambda: w.launcher.drivers[0].stopped)


async def test_a_silent_server_is_stopped_and_a_busy_one_is_not(tmp_path: Path) -> None:
    now_s = [0.0]
    async with world(tmp_path, idle_s=0.2, clock=lambda: now_s[0]) as w:
        busy = (await w.call("POST", "/v1/server")).json()
        await w.call("POST", "/v1/server", "admin")
        engineers, admins = w.launcher.drivers
        async with connect_channel(busy["url"]) as channel:
            call = begin(channel, busy["token"])
            now_s[0] += 0.15
            await call.write(b"x")
            assert await call.read() == b"connect-engineer:x"
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            now_s[0] += 0.15
            await eventually(lambda: admins.stopped == 1)
            assert (await w.call("GET", "/v1/server", "admin")).json() is None
            assert engineers.stopped == 0
            now_s[0] += 0.15
            await eventually(lambda: engineers.stopped)
            with pytest.raises(grpc.aio.AioRpcError, match="it was stopped"):
                await begin(channel, busy["token"]).read()


async def test_a_server_that_dies_is_started_anew(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first = (await w.call("POST", "/v1/server")).json()
        w.launcher.drivers[0].finish(137)
        await eventually(lambda: w.gateway.server("engineer") is None)
        second = (await w.call("POST", "/v1/server")).json()
        assert second["token"] != first["token"]
        assert w.launcher.forgotten == [w.launcher.drivers[0].launch.run_id]


async def test_a_server_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, max_runs=1) as w:
        w.launcher.dies_at_start = True
        assert (await w.call("POST", "/v1/server")).status_code == 502
        w.launcher.dies_at_start, w.launcher.refuses = False, True
        assert (await w.call("POST", "/v1/server")).status_code == 502
        w.launcher.refuses = False
        assert (await w.call("POST", "/v1/server")).status_code == 200


async def test_there_is_an_end_to_what_runs_side_by_side(tmp_path: Path) -> None:
    async with world(tmp_path, max_runs=2) as w:
        await w.call("POST", "/v1/server")
        await w.call("POST", "/v1/jobs", body=SCRIPT)
        full = await w.call("POST", "/v1/jobs", body=SCRIPT)
        assert full.status_code == 429
        assert "2 side by side" in full.json()["permitted"]
        assert (await w.call("POST", "/v1/server")).status_code == 200
        assert (await w.call("DELETE", "/v1/server")).json() is True
        assert (await w.call("POST", "/v1/jobs", body=SCRIPT)).status_code == 200


async def test_a_job_from_beginning_to_end(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        body = {**SCRIPT, "arguments": ["--day", "1"]}
        job = (await w.call("POST", "/v1/jobs", body=body)).json()
        driver = w.launcher.drivers[0]
        assert driver.launch.program == Program(
            file_name="job.py", content=b"print(1)", arguments=("--day", "1")
        )
        assert (await w.call("GET", f"/v1/jobs/{job['id']}")).json()["state"] == "running"
        w.launcher.logs[job["id"]] = "done ✓\n".encode()
        part = (await w.call("GET", f"/v1/jobs/{job['id']}/log")).json()
        assert part == {"text": "done ✓\n", "next_offset": 9, "ended": False}
        driver.finish(0)
        await eventually(lambda: w.gateway.job("engineer", job["id"]).state is RunState.SUCCEEDED)
        rest = (await w.call("GET", f"/v1/jobs/{job['id']}/log?offset=9")).json()
        assert rest == {"text": "", "next_offset": 9, "ended": True}
        assert (await w.http.post("/v1/token", data=credential(driver.launch))).status_code == 401


@pytest.mark.parametrize(("code", "said"), [(3, "ended with 3"), (-9, "signal 9")])
async def test_a_job_that_fails_says_how(tmp_path: Path, code: int, said: str) -> None:
    async with world(tmp_path) as w:
        job = (await w.call("POST", "/v1/jobs", body=SCRIPT)).json()
        w.launcher.drivers[0].finish(code)
        await eventually(lambda: w.gateway.job("engineer", job["id"]).state is RunState.FAILED)
        assert said in str(w.gateway.job("engineer", job["id"]).reason)


async def test_a_job_is_killed_by_its_user_and_by_nobody_else(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = (await w.call("POST", "/v1/jobs", body=SCRIPT)).json()
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/log")):
            answer = await w.call(method, f"/v1/jobs/{job['id']}{path}", "admin")
            assert answer.status_code == 404
        assert (await w.call("GET", "/v1/jobs", "admin")).json() == []
        assert w.launcher.drivers[0].stopped == 0
        killed = (await w.call("DELETE", f"/v1/jobs/{job['id']}")).json()
        assert (killed["state"], killed["reason"]) == ("killed", "its user killed it")
        assert (await w.call("DELETE", f"/v1/jobs/{job['id']}")).json() == killed


async def test_jobs_of_a_gateway_that_was_killed_are_lost_and_said_to_be(tmp_path: Path) -> None:
    JobStore(tmp_path / "jobs").put(
        Job(
            id="j1",
            username="engineer",
            file_name="a.py",
            arguments=("x",),
            state=RunState.RUNNING,
            submitted_at=1.0,
        )
    )
    async with world(tmp_path) as w:
        assert w.launcher.recovered == [{"j1"}]
        (job,) = (await w.call("GET", "/v1/jobs")).json()
        assert (job["state"], job["arguments"]) == ("lost", ["x"])
        assert "gateway ended" in job["reason"]


async def test_a_gateway_that_is_stopped_stops_everything(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/server")
        await w.call("POST", "/v1/jobs", body=SCRIPT)
        drivers = w.launcher.drivers
    assert [driver.stopped for driver in drivers] == [1, 1]
    assert [job.state for job in JobStore(tmp_path / "jobs").of("engineer")] == [RunState.KILLED]


async def test_old_jobs_are_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for _ in range(KEPT_JOBS + 2):
            await w.call("POST", "/v1/jobs", body=SCRIPT)
            w.launcher.drivers[-1].finish(0)
            await asyncio.sleep(0)
            await eventually(lambda: not w.gateway._runs)
        assert len(w.gateway.jobs("engineer")) == KEPT_JOBS
        assert len(w.launcher.forgotten) == 2
        assert len(list((tmp_path / "jobs").glob("*.json"))) == KEPT_JOBS


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (Program(file_name="../x.py", content=b""), "can't be given this file"),
        (Program(file_name="-x.py", content=b""), "can't be given this file"),
        (Program(file_name="x.sh", content=b""), "can't be given this file"),
        (Program(file_name="x.jar", content=b""), "main class"),
        (Program(file_name="x.py", content=b"", main_class="A"), "main class"),
        (Program(file_name="x.py", content=b"", python_files={"a/b.py": b""}), "further"),
        (Program(file_name="x.py", content=b"", python_files={"x.py": b""}), "further"),
    ],
)
def test_programs_that_are_refused(program: Program, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_program(program)


def test_the_door_names_rules_and_does_not_drown_in_them() -> None:
    restricted = {f"s.t{i}": ("r",) for i in range(9)}
    access = RawAccess(username="a", groups=("g",), tables={"s.x": ("select",)}, restricted=restricted)
    with pytest.raises(NotAdmittedError, match=r"s\.t2 and 6 more"):
        judge(access)
    judge(RawAccess(username="a", groups=("g",), tables={"s.x": ("select",)}, restricted={}))


def test_the_client_says_what_the_gateway_said() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer t"
        if request.url.path == "/v1/jobs" and request.method == "GET":
            return httpx.Response(403, json={"title": "no", "permitted": "others", "value": "v"})
        return httpx.Response(200, content=b"null" if request.method == "GET" else b"true")

    with SparkClient("http://gateway", lambda: "t", transport=httpx.MockTransport(answer)) as client:
        assert client.server() is None
        assert client.stop_server() is True
        with pytest.raises(SparkError) as caught:
            client.jobs()
    assert (caught.value.status, caught.value.what, caught.value.permitted) == (403, "no", "others")
