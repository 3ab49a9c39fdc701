"""Two drivers' API server as they know it, over real HTTP, and the cluster behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from governance.governor.auth import UnauthenticatedError
from spark_gateway.executors import Executors
from spark_gateway.master import PREFIXES, create_master
from spark_gateway.pod_plan import RUN_LABEL
from tests.unit.fake_cluster import NAMESPACE, TOKEN, fake_cluster
from tests.unit.pods_world import LAUNCHES, SECRETS, World, plan
from tests.unit.spark_fakes import eventually

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OTHER = "secret-of-the-other-run"
OF_SPARK = "spark-app-selector=spark-1,spark-role=executor"
"""What Spark's scheduler asks for."""


SHARED = "c0ffee" * 6
"""What a driver and its executors share, in digits as Spark makes it up."""


def asked_pod(executor_id: str = "1", **changes: str) -> dict[str, Any]:
    """A pod as Spark's scheduler describes an executor, with more than it may say."""
    variables = {
        "SPARK_USER": "spark",
        "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.1.2.3:7078",
        "SPARK_EXECUTOR_CORES": "64",
        "SPARK_EXECUTOR_MEMORY": "64g",
        "SPARK_APPLICATION_ID": "spark-1",
        "SPARK_EXECUTOR_ID": executor_id,
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "_SPARK_AUTH_SECRET": SHARED,
        "SPARK_JAVA_OPT_0": "-javaagent:/evil.jar",
        "LD_PRELOAD": "/evil.so",
        **changes,
    }
    of_the_pod = {"name": "SPARK_EXECUTOR_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "evil",
            "namespace": "kube-system",
            "labels": {"app.kubernetes.io/component": "catalog", RUN_LABEL: "r2", "evil": "true"},
            "annotations": {"evil": "true"},
        },
        "spec": {
            "serviceAccountName": "evil",
            "automountServiceAccountToken": True,
            "hostNetwork": True,
            "nodeName": "evil",
            "volumes": [{"name": "evil", "secret": {"secretName": "run-r2"}}],
            "containers": [
                {
                    "name": "evil",
                    "image": "evil",
                    "command": ["evil"],
                    "securityContext": {"privileged": True},
                    "resources": {"requests": {"memory": "64Gi"}},
                    "env": [of_the_pod, *({"name": key, "value": text} for key, text in variables.items())],
                }
            ],
        },
    }


class FakeRuns:
    """Two runs, of which those that are ``ending`` are being stopped."""

    def __init__(self) -> None:
        self.secrets = {"r1": SECRETS[0], "r2": OTHER}
        self.ending: set[str] = set()

    def run_of(self, run_id: str, secret: str, *, ending: bool = False) -> str:
        if self.secrets.get(run_id) != secret or (run_id in self.ending and not ending):
            raise UnauthenticatedError("these are not the credentials of a running driver")
        return run_id


class Drivers:
    """The gateway as drivers know it, and the cluster behind it."""

    def __init__(self, pods: World, runs: FakeRuns, http: httpx.AsyncClient) -> None:
        self.pods, self.runs, self.http, self.fake = pods, runs, http, pods.fake

    async def ask(
        self, method: str, path: str = PODS, *, run: str = "r1", json: Any = None, **query: str
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {run}:{self.runs.secrets[run]}"}
        return await self.http.request(method, path, headers=headers, json=json, params=query)

    async def executor(self, executor_id: str = "1", run: str = "r1") -> str:
        made = await self.ask("POST", run=run, json=asked_pod(executor_id))
        assert made.status_code == 201, made.text
        name: str = made.json()["metadata"]["name"]
        return name

    async def seen(self, run: str = "r1", selector: str = OF_SPARK, **query: str) -> list[str]:
        """All pages, as Spark's client asks for them."""
        names: list[str] = []
        more: dict[str, str] = {}
        while True:
            answer = await self.ask("GET", run=run, labelSelector=selector, **query, **more)
            assert answer.status_code == 200, answer.text
            names += [one["metadata"]["name"] for one in answer.json()["items"]]
            more = answer.json()["metadata"]
            if not more:
                return sorted(names)


class Watch:
    """A watch as Spark's client keeps it; ``seen`` are kind and name of what it was told."""

    def __init__(self, drivers: Drivers, **query: str) -> None:
        self.seen: list[tuple[str, str]] = []
        self.version: str | None = None
        self._drivers, self._query = drivers, query
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        headers = {"Authorization": f"Bearer r1:{SECRETS[0]}"}
        query = {"labelSelector": f"{OF_SPARK},spark-exec-inactive!=true", "watch": "true", **self._query}
        async with self._drivers.http.stream("GET", PODS, params=query, headers=headers) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                event = json.loads(line)
                metadata = event["object"]["metadata"]
                self.version = metadata["resourceVersion"]
                self.seen.append((event["type"], metadata["name"]))

    async def ended(self) -> None:
        await asyncio.wait_for(self._reading, 30)

    async def leave(self) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})


@asynccontextmanager
async def drivers_world(pki: Path, folder: Path) -> AsyncIterator[Drivers]:
    """Two drivers run, each as a pod."""
    async with fake_cluster(pki) as fake:
        pods, runs = World(fake, folder), FakeRuns()
        running = [await pods.server(run_id) for run_id in runs.secrets]
        for run_id in runs.secrets:
            fake.runs(f"run-{run_id}")
        made = Executors(plan(fake, pods.token_file), LAUNCHES, pods.api)
        app = Starlette(routes=[Mount(prefix, create_master(runs, made)) for prefix in PREFIXES])
        config = uvicorn.Config(
            app, port=0, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        await eventually(lambda: server.started, 60.0)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            yield Drivers(pods, runs, http)
        server.should_exit = True
        fake.down, fake.stubborn, fake.tokens = False, False, {TOKEN}
        await asyncio.gather(*(driver.stop(hurried=True) for driver in running))
        fake.closes()
        await serving
        await pods.api.close()
