"""A driver as a pod: what the placement says of all of them, and one run's objects as pure functions."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import UsageError
from spark_gateway.cluster_api import Manifest
from spark_gateway.drivers import CONNECT_PORT, LaunchPlan, command, properties_text
from spark_gateway.launcher import Launch

RUN_LABEL = "lakehouse-lab/run"
"""On every object of a run: its identifier."""
CONTAINER = "driver"
PROPERTIES = "spark.properties"
CREDENTIAL = "credential"
SCRATCH = "tmp"
"""Below a driver's folder: what it writes and nobody keeps."""
ADDRESS = "$(POD_IP)"
"""What the kubelet puts the pod's address in the place of."""


@dataclass(frozen=True, kw_only=True)
class PodPlan:
    """How drivers are made as pods, the same for all users; no secret.

    Args:
        api_url: of the cluster's API; ``token_file`` and ``ca_file`` are what it is asked with.
        namespace: of the pods and all that belongs to them.
        labels: of every pod, by which those of this lab are found.
        template: a pod without a name. Its container ``driver`` has no command yet; its one init container
            fetches a job's files, and gets what it is to fetch as arguments; volume ``files`` is a Secret.
        files: what every run's Secret holds beside its own, by name.
        fetch_url: where the init container gets files.
        files_dir: where a driver finds that Secret's content, ``folder`` where its program.
        executor_template: a pod without a name, for executors: its one container has no command yet, and
            volume ``files`` is a Secret. None: there are none.
        master_url: where drivers ask for executors.
    """

    api_url: str
    token_file: str
    ca_file: str
    namespace: str
    labels: Mapping[str, str]
    template: Manifest
    files: Mapping[str, str]
    fetch_url: str
    files_dir: str
    folder: str
    executor_template: Manifest | None = None
    master_url: str = ""

    def to_json(self) -> str:
        """The form of the generated file."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> PodPlan:
        """The reverse of :meth:`to_json`. Raises UsageError when the text is not a plan's."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise UsageError(f"the plan of pods can't be read: {error}") from error


def pod_name(run_id: str) -> str:
    """The name of a run's pod, and of what it owns."""
    return f"run-{run_id}"


def driver_pod(plan: PodPlan, launches: LaunchPlan, launch: Launch) -> Manifest:
    """The pod of a run. It starts once its Secret is there."""
    pod = copy.deepcopy(plan.template)
    name = pod_name(launch.run_id)
    pod["metadata"] = {**_metadata(plan, launch.run_id), "namespace": plan.namespace}
    spec = pod["spec"]
    container = next(one for one in spec["containers"] if one["name"] == CONTAINER)
    container["command"] = _command(plan, launches, launch)
    container["env"] = environment(plan, launches)
    (fetching,) = spec["initContainers"]
    if launch.program is None:
        del spec["initContainers"]
        container["ports"] = [{"name": "connect", "containerPort": CONNECT_PORT}]
    else:
        names = [launch.program.file_name, *launch.program.python_files]
        fetching["args"] = [plan.fetch_url, f"{plan.files_dir}/{CREDENTIAL}", plan.folder, *names]
    for volume in spec["volumes"]:
        if volume["name"] == "files":
            volume["secret"]["secretName"] = name
    return pod


def run_secret(plan: PodPlan, defaults: Mapping[str, str], launch: Launch, owner: Manifest) -> Manifest:
    """The files of a run, owned by its pod.

    Raises:
        UsageError: a property holds a line break.
    """
    values = {
        **defaults,
        **launch.properties,
        "spark.sql.warehouse.dir": str(Path(plan.folder) / SCRATCH / "warehouse"),
        "spark.connect.grpc.binding.port": str(CONNECT_PORT),
    }
    texts = {**plan.files, PROPERTIES: properties_text(values), CREDENTIAL: launch.credential}
    return secret_of(texts, owned(plan, launch.run_id, owner))


def secret_of(texts: Mapping[str, str], metadata: Manifest) -> Manifest:
    """A Secret of these files."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata,
        "immutable": True,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }


def run_policy(plan: PodPlan, run_id: str, owner: Manifest) -> Manifest:
    """What lets the pods of one run reach each other, and no other run's."""
    mates = {"podSelector": {"matchLabels": {RUN_LABEL: run_id}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned(plan, run_id, owner),
        "spec": {
            **mates,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [mates]}],
            "egress": [{"to": [mates]}],
        },
    }


def _metadata(plan: PodPlan, run_id: str) -> Manifest:
    return {"name": pod_name(run_id), "labels": {**plan.labels, RUN_LABEL: run_id}}


def owned(plan: PodPlan, run_id: str, owner: Manifest) -> Manifest:
    """Metadata of an object that goes with a run's pod."""
    of = {"apiVersion": "v1", "kind": "Pod", "name": pod_name(run_id), "uid": owner["metadata"]["uid"]}
    return {**_metadata(plan, run_id), "namespace": plan.namespace, "ownerReferences": [of]}


def _command(plan: PodPlan, launches: LaunchPlan, launch: Launch) -> list[str]:
    words = command(
        launches,
        options=(),
        folder=Path(plan.folder),
        properties_file=Path(plan.files_dir) / PROPERTIES,
        program=launch.program,
    )
    after = words.index("--properties-file") + 2
    own = ("spark.driver.host", "spark.driver.bindAddress", "spark.connect.grpc.binding.address")
    # Stronger than the file, which is written before the pod has an address.
    overrides = [word for key in own for word in ("--conf", f"{key}={ADDRESS}")]
    return [*escaped(words[:after]), *overrides, *escaped(words[after:])]


def environment(plan: PodPlan, launches: LaunchPlan) -> list[Manifest]:
    """The variables of a driver or an executor."""
    scratch = str(Path(plan.folder) / SCRATCH)
    values = {
        **launches.environment,
        "HOME": scratch,
        "TMPDIR": scratch,
        "SPARK_LOCAL_DIRS": scratch,
    }
    known = {name: text for name, text in values.items() if name != "SPARK_LOCAL_IP"}
    return [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SPARK_LOCAL_IP", "value": ADDRESS},
        *({"name": name, "value": text.replace("$(", "$$(")} for name, text in sorted(known.items())),
    ]


def escaped(words: Sequence[str]) -> list[str]:
    """Words with nothing in them that the kubelet would expand."""
    return [word.replace("$(", "$$(") for word in words]
