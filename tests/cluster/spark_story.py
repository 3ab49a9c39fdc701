"""Runs Spark's drivers on the test cluster, from the node's network, as the gateway does: reads what it needs
as JSON on standard input, tells what it found as JSON on standard output."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

from governance.governor.auth import UnauthenticatedError
from spark_gateway.client import Program
from spark_gateway.cluster_api import ClusterApi
from spark_gateway.drivers import LaunchPlan
from spark_gateway.executor_plan import EXECUTOR_ROLE, ROLE_LABEL, executor_labels
from spark_gateway.executors import Executors
from spark_gateway.launcher import FullError, Launch
from spark_gateway.master import PREFIXES, create_master
from spark_gateway.pod_plan import CREDENTIAL, PodPlan
from spark_gateway.pod_states import phase
from spark_gateway.pods import PodLauncher
from spark_gateway.proxy import SERVICE
from tests.cluster import settings

JOB = b"""\
import os, sys, time
from pyspark.sql import SparkSession
import more

API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"

def square(n):
    here = os.environ["POD_NAME"], more.WHO, os.path.exists(API_TOKEN), os.path.exists(more.CREDENTIAL)
    return n * n, here

context = SparkSession.builder.getOrCreate().sparkContext
found = context.parallelize(range(100), 4).map(square).collect()
print("squares", sum(n for n, _ in found), "of", more.WHO, "argument", sys.argv[1])
print("token", os.path.exists(API_TOKEN))
for here in sorted({here for _, here in found}):
    print("executor", *here)
began = time.monotonic()
# Those that answer, the driver among them.
while (left := context._jsc.sc().getExecutorMemoryStatus().size()) > 1 and time.monotonic() < began + 90:
    time.sleep(0.2)
print("left", left)
sys.exit(3)
"""
BUSY = b"""\
import time
from pyspark.sql import SparkSession

SparkSession.builder.getOrCreate().sparkContext.parallelize([600], 1).map(time.sleep).count()
"""
IDLE_S = 2
"""A minute would be long to wait in a test."""
TOKEN = "a-connect-token"


class Story:
    """What happens, in its order."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.plan = PodPlan.from_json(given["plan"])
        self.launches = _sooner(LaunchPlan.from_json(given["launches"]))
        self.defaults: dict[str, str] = json.loads(given["defaults"])
        self.runs_dir = Path(given["runs_dir"])
        self.found: dict[str, Any] = {}
        self.files: Callable[[str, str], Path | None] = lambda _run, _name: None

    def api(self) -> ClusterApi:
        return ClusterApi(
            self.plan.api_url,
            namespace=self.plan.namespace,
            token_file=Path(self.plan.token_file),
            ca_file=Path(self.plan.ca_file),
        )

    def launcher(self) -> PodLauncher:
        api = self.api()
        return PodLauncher(self.plan, self.launches, self.defaults, runs_dir=self.runs_dir, api=api)

    def job(self, run_id: str, content: bytes = JOB) -> Launch:
        more = f"WHO = 'the driver'\nCREDENTIAL = {self.plan.files_dir + '/' + CREDENTIAL!r}\n"
        program = Program(
            file_name="job.py",
            content=content,
            arguments=("$(POD_IP)",),
            python_files={"more.py": more.encode()},
        )
        return Launch(run_id=run_id, properties={}, program=program, credential=f"{run_id}:secret")

    def server(self, run_id: str) -> Launch:
        return Launch(
            run_id=run_id,
            properties={"spark.connect.authenticate.token": TOKEN},
            connect_token=TOKEN,
            credential=f"{run_id}:secret",
        )

    async def tell(self) -> dict[str, Any]:
        async with self.serving():
            launcher = self.launcher()
            self.files = launcher.program_file
            await launcher.recover(())
            listening = asyncio.create_task(self.listen())
            await self.a_job(launcher)
            listening.cancel()
            await self.a_killed_driver(launcher)
            await self.a_server(launcher)
            await self.a_gateway_that_dies(launcher)
        return self.found

    async def a_job(self, launcher: PodLauncher) -> None:
        began = time.monotonic()
        driver = await launcher.launch(self.job("job"))
        self.found["code"] = await asyncio.wait_for(driver.ended(), 300)
        self.found["job_s"] = round(time.monotonic() - began, 1)
        self.found["log"] = launcher.log("job", 0, 1 << 20).decode()

    async def a_killed_driver(self, launcher: PodLauncher) -> None:
        """Its executor works; another run asks for that one; then its pod is gone at once."""
        driver = await launcher.launch(self.job("busy", BUSY))
        api = self.api()
        executors = executor_labels(self.plan, "busy")
        (executor,) = await self.until(
            lambda found: [one for one in found if phase(one) == "Running"], executors
        )
        pods = f"{self.plan.master_url}/api/v1/namespaces/{self.plan.namespace}/pods"
        one = f"{pods}/{executor['metadata']['name']}"
        async with httpx.AsyncClient(headers={"Authorization": "Bearer another:secret"}) as other:
            self.found["others_list"] = (await other.get(pods)).json()["items"]
            self.found["others_delete"] = (await other.delete(one)).status_code
            await other.delete(pods)
            self.found["others_secrets"] = (await other.get(pods.replace("/pods", "/secrets"))).status_code
        self.found["kept"] = len(await api.pods(executors))
        began = time.monotonic()
        await api.delete_pod("run-busy", grace_s=0)
        self.found["killed"] = await asyncio.wait_for(driver.ended(), 60)
        await self.until(lambda found: not found, executors)
        self.found["killed_s"] = round(time.monotonic() - began, 1)
        await api.close()

    async def listen(self) -> None:
        """Last words of executors that failed, for who reads why the story went wrong."""
        api, words = self.api(), self.found.setdefault("words", {})
        while True:
            for pod in await api.pods({**self.plan.labels, ROLE_LABEL: EXECUTOR_ROLE}):
                if phase(pod) == "Failed":
                    words[pod["metadata"]["name"]] = pod["status"].get("containerStatuses")
            await asyncio.sleep(0.2)

    async def until(self, wanted: Any, labels: Mapping[str, str]) -> Any:
        """What ``wanted`` finds among the pods with ``labels``, once it finds something."""
        api, deadline = self.api(), time.monotonic() + 120
        while not (found := wanted(pods := await api.pods(labels))):
            assert time.monotonic() < deadline, [(p["metadata"]["name"], p.get("status")) for p in pods]
            await asyncio.sleep(0.2)
        await api.close()
        return found

    async def a_server(self, launcher: PodLauncher) -> None:
        began = time.monotonic()
        driver = await launcher.launch(self.server("server"))
        await driver.ready()
        self.found["ready_s"] = round(time.monotonic() - began, 1)
        self.found["server_log"] = launcher.log("server", 0, 1 << 20).decode()
        assert driver.address is not None
        host, port = driver.address
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            for name, token in (("right", TOKEN), ("wrong", "another-token")):
                call = channel.unary_unary(f"{SERVICE}ReleaseSession")
                try:
                    await call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=60)
                    self.found[name] = "OK"
                except grpc.aio.AioRpcError as error:
                    self.found[name] = error.code().name
        began = time.monotonic()
        await driver.stop(hurried=True)
        self.found["stop_s"] = round(time.monotonic() - began, 1)
        self.found["stopped"] = await driver.ended()

    async def a_gateway_that_dies(self, launcher: PodLauncher) -> None:
        """Two drivers are all that the quota has room for; both are left."""
        left = [await launcher.launch(self.server(f"left-{number}")) for number in (1, 2)]
        try:
            await launcher.launch(self.server("one-too-many"))
        except FullError as error:
            self.found["full"] = str(error)
        await self.launcher().recover(())
        codes = [await asyncio.wait_for(driver.ended(), 60) for driver in left]
        self.found["left"] = codes

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """What the gateway serves to drivers: files to init containers, and their API server."""

        async def program_file(request: Request) -> Response:
            shown = base64.b64decode(request.headers["Authorization"].partition(" ")[2]).decode()
            run_id, _, secret = shown.partition(":")
            path = self.files(run_id, request.path_params["name"]) if secret == "secret" else None
            return Response(status_code=401) if path is None else FileResponse(path)

        master = create_master(self, Executors(self.plan, self.launches, self.api()))
        app = Starlette(
            routes=[Route("/v1/files/{name}", program_file), *(Mount(prefix, master) for prefix in PREFIXES)]
        )
        config = uvicorn.Config(app, host=settings.NODE_ADDRESS, port=0, log_level="error", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://{settings.NODE_ADDRESS}:{server.servers[0].sockets[0].getsockname()[1]}"
        self.plan = dataclasses.replace(self.plan, fetch_url=f"{url}/v1/files", master_url=url)
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await serving

    def run_of(self, run_id: str, secret: str, *, ending: bool = False) -> str:
        if secret != "secret":
            raise UnauthenticatedError("this is no run's secret")
        return run_id


def _sooner(plan: LaunchPlan) -> LaunchPlan:
    assert plan.executors is not None
    idle = {"spark.dynamicAllocation.executorIdleTimeout": f"{IDLE_S}s"}
    executors = dataclasses.replace(plan.executors, properties={**plan.executors.properties, **idle})
    return dataclasses.replace(plan, executors=executors)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Story(json.load(sys.stdin)).tell())))
