"""Runs Spark's drivers on the test cluster, from the node's network, as the gateway does: reads what it needs
as JSON on standard input, tells what it found as JSON on standard output."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from spark_gateway.client import Program
from spark_gateway.cluster_api import ClusterApi
from spark_gateway.drivers import LaunchPlan
from spark_gateway.launcher import FullError, Launch
from spark_gateway.pod_plan import PodPlan
from spark_gateway.pods import PodLauncher
from spark_gateway.proxy import SERVICE
from tests.cluster import settings

JOB = b"""\
import os, sys
from pyspark.sql import SparkSession
import more

spark = SparkSession.builder.getOrCreate()
squares = spark.sparkContext.parallelize(range(100), 4).map(lambda n: n * n).sum()
print("squares", squares, "of", more.WHO, "argument", sys.argv[1])
print("token", os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"))
sys.exit(3)
"""
TOKEN = "a-connect-token"


class Story:
    """What happens, in its order."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.plan = PodPlan.from_json(given["plan"])
        self.launches = LaunchPlan.from_json(given["launches"])
        self.defaults: dict[str, str] = json.loads(given["defaults"])
        self.runs_dir = Path(given["runs_dir"])
        self.found: dict[str, Any] = {}

    def launcher(self) -> PodLauncher:
        api = ClusterApi(
            self.plan.api_url,
            namespace=self.plan.namespace,
            token_file=Path(self.plan.token_file),
            ca_file=Path(self.plan.ca_file),
        )
        return PodLauncher(self.plan, self.launches, self.defaults, runs_dir=self.runs_dir, api=api)

    def job(self, run_id: str) -> Launch:
        program = Program(
            file_name="job.py",
            content=JOB,
            arguments=("$(POD_IP)",),
            python_files={"more.py": b"WHO = 'the driver'\n"},
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
        launcher = self.launcher()
        self.serve_files(launcher)
        await launcher.recover(())
        await self.a_job(launcher)
        await self.a_server(launcher)
        await self.a_gateway_that_dies(launcher)
        return self.found

    async def a_job(self, launcher: PodLauncher) -> None:
        began = time.monotonic()
        driver = await launcher.launch(self.job("job"))
        self.found["code"] = await asyncio.wait_for(driver.ended(), 300)
        self.found["job_s"] = round(time.monotonic() - began, 1)
        self.found["log"] = launcher.log("job", 0, 1 << 20).decode()

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

    def serve_files(self, launcher: PodLauncher) -> None:
        """What the gateway serves to init containers."""

        class Files(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = base64.b64decode(self.headers["Authorization"].partition(" ")[2]).decode()
                run_id, _, secret = shown.partition(":")
                path = launcher.program_file(run_id, self.path.rpartition("/")[2])
                known = secret == "secret" and path is not None
                self.send_response(200 if known else 401)
                self.end_headers()
                if known and path is not None:
                    self.wfile.write(path.read_bytes())

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer((settings.NODE_ADDRESS, 0), Files)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{settings.NODE_ADDRESS}:{server.server_address[1]}/v1/files"
        self.plan = dataclasses.replace(self.plan, fetch_url=url)
        launcher._plan = self.plan


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Story(json.load(sys.stdin)).tell())))
