"""Both stacks of a small lab on the test cluster, run by the engine's own command: ``program.py``."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from placements.local.supervisor import SupervisorClient
from placements.local.unprivileged import remove_unprivileged
from tests.cluster.running import TestCluster
from tests.cluster.support import with_provider
from tests.engine.plugins_support import Project, new_project

ROOT = Path(__file__).parents[2]
NAMESPACE = "lakehouse-lab"
SERVICES = ("front", "back", "kept")
"""What ``program.py`` deploys."""


@dataclass(kw_only=True)
class Stacks:
    """Both stacks of a lab on the cluster."""

    cluster: TestCluster
    persistent: Project
    lab: Project
    home: Path
    password: str

    def pods(self) -> dict[str, str]:
        """UIDs of the running pods by their workload."""
        return {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["uid"]
            for pod in self.cluster.objects("pods", NAMESPACE)
            if "deletionTimestamp" not in pod["metadata"]
        }

    def names(self, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in self.cluster.objects(kind, NAMESPACE)}

    def asked(self, service: str, path: str) -> Any:
        """What a service answers through its tunnel."""
        url = self.lab.run("stack", "output", service).text.strip()
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.post(f"{url}/v1/data/{path}", json={}, trust_env=False, timeout=10)
                return answer.raise_for_status().json().get("result")
            except httpx.TransportError:
                # A tunnel whose pod was replaced is started again.
                assert time.monotonic() < deadline
                time.sleep(0.3)


@contextmanager
def new_stacks(cluster: TestCluster, opa_image: str, *, kubeconfig: Path | None = None) -> Iterator[Stacks]:
    """Projects that hold nothing yet. ``kubeconfig`` leads to the cluster another way than its own."""
    folder = Path(tempfile.mkdtemp(prefix="cluster lab-"))
    home, password = folder / "a lab", secrets.token_hex(16)
    program = (ROOT / "tests" / "cluster" / "program.py").read_text(encoding="utf-8")
    projects = {}
    for role in ("persistent", "lab"):
        (folder / role).mkdir()
        made = new_project(folder / role)
        with_provider(folder / role)
        (folder / role / "__main__.py").write_text(program, encoding="utf-8")
        projects[role] = replace(made, environment={**made.environment, "PYTHONPATH": str(ROOT)})
        projects[role].config(
            role=role,
            kubectl=str(cluster.kubectl),
            kubeconfig=str(kubeconfig or cluster.kubeconfig),
            namespace=NAMESPACE,
        )
    projects["lab"].config(
        secret={"password": password},
        images=json.dumps({"opa": opa_image}),
        home=str(home),
        portBase=str(20000 + secrets.randbelow(40) * 200),
        page="first",
        storageClass="by-hand",
    )
    try:
        yield Stacks(
            cluster=cluster,
            persistent=projects["persistent"],
            lab=projects["lab"],
            home=home,
            password=password,
        )
    finally:
        SupervisorClient(home).shutdown()
        remove_unprivileged(home)
        shutil.rmtree(folder)
