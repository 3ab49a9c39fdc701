"""A launcher of pods and the cluster that it asks, for tests of the Spark gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from spark_gateway.client import Program
from spark_gateway.cluster_api import ClusterApi
from spark_gateway.drivers import ExecutorPlan, LaunchPlan
from spark_gateway.launcher import Driver, Launch
from spark_gateway.pod_plan import PodPlan
from spark_gateway.pods import PodLauncher
from tests.unit.fake_cluster import NAMESPACE, TOKEN, FakeCluster
from tests.unit.spark_fakes import eventually

LABELS = {"lakehouse-lab/lab": "lab", "app.kubernetes.io/component": "spark-run"}
EXECUTORS = ExecutorPlan(
    java=("/java/bin/java", "-Xmx1024m"),
    threads=2,
    maximum=2,
    properties={"spark.dynamicAllocation.enabled": "true", "spark.network.crypto.enabled": "true"},
)
LAUNCHES = LaunchPlan(
    java=("/java/bin/java", "-Xmx512m"),
    classpath=("/jars/*",),
    environment={"PATH": "/usr/bin", "SPARK_LOCAL_IP": "every", "ODD": "$(HOME)"},
    catalog="lake",
    spark_version="4",
    executors=EXECUTORS,
)
SECRETS = ("a-secret-of-the-run", "connect-token")


def plan(fake: FakeCluster | None = None, token_file: Path = Path("/token")) -> PodPlan:
    container = {"image": "registry.example/spark@sha256:0", "volumeMounts": []}
    return PodPlan(
        api_url=fake.url if fake else "https://kubernetes.default.svc",
        token_file=str(token_file),
        ca_file=str(fake.ca_file) if fake else "/ca.crt",
        namespace=NAMESPACE,
        labels=LABELS,
        template={
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {},
            "spec": {
                "restartPolicy": "Never",
                "initContainers": [{"name": "files", "command": ["python"], **container}],
                "containers": [{"name": "driver", **container}],
                "volumes": [{"name": "files", "secret": {"secretName": ""}}],
            },
        },
        files={"log4j2.properties": "rootLogger.level=warn\n"},
        fetch_url="http://spark.lakehouse-lab.svc:8080/v1/files",
        files_dir="/etc/lakehouse-lab",
        folder="/var/lib/lakehouse-lab",
        executor_template={
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": "spark-run",
                "containers": [{"name": "spark-kubernetes-executor", **container}],
                "volumes": [{"name": "files", "secret": {"secretName": ""}}],
            },
        },
        master_url="http://spark.lakehouse-lab.svc:8080",
    )


class World:
    """A launcher and the cluster that it asks."""

    def __init__(self, fake: FakeCluster, folder: Path) -> None:
        self.fake, self.folder = fake, folder
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self.api = ClusterApi(fake.url, namespace=NAMESPACE, token_file=self.token_file, ca_file=fake.ca_file)
        self.launcher = PodLauncher(
            plan(fake, self.token_file),
            LAUNCHES,
            {"spark.master": "local[2]", "spark.driver.host": "every"},
            runs_dir=folder / "runs",
            api=self.api,
        )

    async def server(self, run_id: str = "r1") -> Driver:
        secret = {"spark.sql.catalog.lake.credential": f"{run_id}:{SECRETS[0]}"}
        launch = Launch(
            run_id=run_id,
            properties={**secret, "spark.connect.authenticate.token": SECRETS[1]},
            connect_token=SECRETS[1],
            credential=f"{run_id}:{SECRETS[0]}",
        )
        return await self.launcher.launch(launch)

    async def job(self, *arguments: str) -> Driver:
        program = Program(
            file_name="job.py", content=b"print(1)", arguments=arguments, python_files={"more.py": b"x = 1"}
        )
        return await self.launcher.launch(
            Launch(run_id="j1", properties={}, program=program, credential=f"j1:{SECRETS[0]}")
        )

    def log(self, run_id: str = "r1") -> str:
        return self.launcher.log(run_id, 0, 1 << 20).decode()


async def soon(reached: Any) -> None:
    """Waits until something is so, however busy the machine is."""
    await eventually(reached, 30.0)


async def ended(world: World, driver: Driver, code: int = 0) -> int:
    """The code of a driver whose container ends with ``code``."""
    world.fake.ends(world.fake.only_pod(), code)
    return await asyncio.wait_for(driver.ended(), 30)
