"""The lab stack of placement aws by the real engine: its account is one that moto plays, and its workloads
run on a real Kubernetes that stands behind the cluster which moto tells of."""

from __future__ import annotations

import json
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from placements.aws.account import clients_of
from placements.aws.lab import CATALOG, STORAGE_CLASS
from placements.aws.leftovers import leftovers
from placements.aws.naming import KUBECONFIG
from placements.kubernetes.naming import CLASS_LABEL
from placements.local.supervisor import SupervisorClient
from placements.local.unprivileged import remove_unprivileged
from tests.cluster.running import TestCluster
from tests.cluster.stacks import NAMESPACE, SERVICES, Stacks
from tests.cluster.support import apply, volume, with_provider
from tests.engine.aws_account import REGION, Account, running_account
from tests.engine.test_aws_cluster import network

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

PROGRAM = Path(__file__).with_name("program.py")
ROOT = Path(__file__).parents[2]
CONTROL_PLANE = "aws:eks/cluster:Cluster"


@pytest.fixture(scope="module")
def node(cluster: TestCluster) -> Iterator[None]:
    """The node is one of the group ``system``, and has a volume such as the storage driver makes."""
    (found,) = json.loads(cluster.run("get", "nodes", "--output=json").stdout)["items"]
    name = found["metadata"]["name"]
    assert cluster.run("label", "node", name, f"{CLASS_LABEL}=system").returncode == 0
    made = volume("kept-in-an-account", cluster.folder / "kept-in-an-account", "16Mi")
    made["spec"]["storageClassName"] = STORAGE_CLASS
    failed = apply(cluster, [made])
    assert not failed, failed
    yield
    assert cluster.run("label", "node", name, f"{CLASS_LABEL}-").returncode == 0
    assert cluster.run("delete", "persistentvolume", "kept-in-an-account").returncode == 0


@pytest.fixture(scope="module")
def account(cluster: TestCluster, opa_image: str) -> Iterator[Account]:
    """An account in which there is a network, and the lab stack, which nobody has brought up."""
    folder = Path(tempfile.mkdtemp(prefix="account-"))
    home = folder / "a lab"
    (folder / "bin").mkdir()
    shutil.copy2(cluster.kubectl, folder / "bin" / "kubectl")
    # It would be asked for a token of EKS; this cluster's file has its own credential.
    (folder / "bin" / "aws").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (folder / "bin" / "aws").chmod(0o755)
    program = PROGRAM.read_text(encoding="utf-8")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(remove_unprivileged, home)
        stack.callback(SupervisorClient(home).shutdown)
        made = stack.enter_context(running_account(folder, program=program))
        own = dict(made.project.environment)
        own |= {"PYTHONPATH": str(ROOT), "PATH": f"{folder / 'bin'}:{own['PATH']}"}
        made.project = replace(made.project, environment=own)
        with_provider(folder)
        network(folder)
        document = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
        made.world.kubeconfig = json.dumps(document)
        made.settings(
            role="lab",
            home=str(home),
            catalog=CATALOG,
            portBase=str(20000 + secrets.randbelow(40) * 200),
        )
        made.project.config(
            secret={"password": secrets.token_hex(16)},
            role="aws",
            images=json.dumps({"opa": opa_image}),
            page="first",
        )
        yield made
        made.run("destroy", "--yes", "--skip-preview")


def in_the_cluster(cluster: TestCluster, account: Account) -> Stacks:
    """The same lab, seen from its cluster."""
    return Stacks(
        cluster=cluster,
        persistent=account.project,
        lab=account.project,
        home=account.project.folder / "a lab",
        password=account.project.run("config", "get", "password").text.strip(),
    )


@pytest.mark.usefixtures("node")
def test_a_lab_is_made_with_its_cluster_and_goes_before_it(cluster: TestCluster, account: Account) -> None:
    account.up()
    seen = in_the_cluster(cluster, account)
    assert set(seen.pods()) == set(SERVICES)
    for name in SERVICES:
        assert seen.asked(name, "private") == seen.password
    file = seen.home / KUBECONFIG
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    required = {
        expression["key"]: expression["values"]
        for pod in cluster.objects("pods", NAMESPACE)
        for term in pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        for expression in term["matchExpressions"]
    }
    assert required == {CLASS_LABEL: ["system"]}
    (claim,) = cluster.objects("persistentvolumeclaims", NAMESPACE)
    assert (claim["spec"]["storageClassName"], claim["status"]["phase"]) == (STORAGE_CLASS, "Bound")
    (volumes,) = (
        one for one in cluster.objects("storageclasses", "") if one["metadata"]["name"] == STORAGE_CLASS
    )
    assert volumes["parameters"] == {"type": "gp3", "encrypted": "true"}
    account.up("--expect-no-changes")

    # A page of one service changes: its pod alone is another one, and nothing in the account is touched.
    before, calls = seen.pods(), len(account.world.calls)
    account.project.config(page="second")
    account.up()
    after = seen.pods()
    assert {name for name in SERVICES if before[name] != after[name]} == {"front"}
    assert seen.asked("front", "lab/page") == "second"
    assert account.world.calls[calls:] == []

    calls = len(account.world.calls)
    done = account.run("destroy", "--yes", "--skip-preview")
    assert done.code == 0, done.text
    assert cluster.run("get", "namespace", NAMESPACE).returncode != 0
    assert cluster.run("get", "storageclass", STORAGE_CLASS).returncode != 0
    assert not file.exists()
    removed = [kind for what, kind in account.world.calls[calls:] if what == "delete"]
    assert CONTROL_PLANE in removed
    gone = [line for line in done.text.splitlines() if " deleted (" in line]
    last = max(index for index, line in enumerate(gone) if " kubernetes:" in line)
    (control_plane,) = (index for index, line in enumerate(gone) if " aws:eks:Cluster " in line)
    assert last < control_plane, done.text
    found, unseen = leftovers(clients_of(REGION), lab="lab")
    assert (found, unseen) == ((), ())
