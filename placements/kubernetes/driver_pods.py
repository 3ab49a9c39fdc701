"""What a service that makes pods for its users is told of them: pure functions."""

from __future__ import annotations

from dataclasses import replace

from pulumi import Input

from contracts.errors import LabError
from contracts.workload import Layout, PerUser, Workload
from placements.kubernetes.drivers import DRIVERS, drivers_scope
from placements.kubernetes.layout import USER_ID
from placements.kubernetes.naming import Manifest, Scope, memory
from placements.kubernetes.pods import (
    API_URL,
    CA_FILE,
    TOKEN_FILE,
    affinity,
    container_security,
    pod_security,
    resources,
    tolerations,
)
from spark_gateway.executor_plan import EXECUTOR_CONTAINER
from spark_gateway.pod_plan import CONTAINER, SCRATCH, PodPlan

PLAN_FILE = "pods.json"
_GRACE_S = 25
_EXECUTOR_GRACE_S = 5
_SCRATCH_MIB = 8192
_PROGRAM_MIB = 1024
_FETCHING_MIB = 96


def beside(workload: Workload, per_user: PerUser, layout: Layout, scope: Scope, image: str) -> Workload:
    """The workload as it is where what it starts for its users are pods: told how they are made, and without
    their memory and processor time.

    Raises:
        LabError: a file that each of them is given holds a secret, or is none of the workload's.
    """
    plan = pod_plan(workload, per_user, layout, scope, image)
    return replace(
        workload,
        env={**workload.env, per_user.plan_variable: layout.file(PLAN_FILE)},
        files={**workload.files, PLAN_FILE: plan.to_json()},
        memory_mib=workload.memory_mib - per_user.memory_mib,
        cpu_millicores=workload.cpu_millicores - per_user.cpu_millicores,
    )


def pod_plan(workload: Workload, per_user: PerUser, layout: Layout, scope: Scope, image: str) -> PodPlan:
    """``pods.json``. Raises LabError as :func:`beside`."""
    own = drivers_scope(scope)
    labels = {**own.metadata("", DRIVERS)["labels"], **own.selector(DRIVERS)}
    files = {name: _plain(workload, name) for name in per_user.files}
    port = next(port for port in workload.ports if port.name == "http")
    gateway_url = f"{port.scheme.value}://{scope.host(workload.name)}:{port.number}"
    return PodPlan(
        api_url=API_URL,
        token_file=TOKEN_FILE,
        ca_file=CA_FILE,
        namespace=own.namespace,
        labels=labels,
        template=_template(workload, per_user, layout, scope, image),
        # The image's user has no name of its own, and Hadoop's libraries want one.
        files={**files, "passwd": f"spark:x:{USER_ID}:{USER_ID}::{layout.data_dir}:/usr/sbin/nologin\n"},
        fetch_url=f"{gateway_url}/v1/files",
        files_dir=str(layout.files_dir),
        folder=str(layout.data_dir),
        executor_template=_executor_template(workload, per_user, layout, scope, image),
        master_url=gateway_url,
    )


def _plain(workload: Workload, name: str) -> str:
    text: Input[str] | None = workload.files.get(name)
    if not isinstance(text, str):
        raise LabError(
            f"what {workload.name} starts for its users can't be given this file",
            value=name,
            permitted="a generated file of the workload that holds no secret",
        )
    return text


def _template(workload: Workload, per_user: PerUser, layout: Layout, scope: Scope, image: str) -> Manifest:
    """The pod of a driver, whose container has no command yet."""
    size = (per_user.memory_mib, per_user.cpu_millicores)
    pod = _pod(workload, per_user, layout, scope, image, name=CONTAINER, size=size)
    pod["spec"]["terminationGracePeriodSeconds"] = _GRACE_S
    pod["spec"]["initContainers"] = [
        {
            "name": "files",
            **_common(image),
            "command": [layout.python, "-m", "spark_gateway.fetch"],
            "env": [
                {"name": "PYTHONPATH", "value": str(layout.source_dir)},
                {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
            ],
            "resources": {
                "requests": {"cpu": "50m", "memory": memory(_FETCHING_MIB)},
                "limits": {"memory": memory(_FETCHING_MIB)},
            },
            # Its last words are the reason why the driver does not start.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": _data_mounts(layout),
        }
    ]
    return pod


def _executor_template(
    workload: Workload, per_user: PerUser, layout: Layout, scope: Scope, image: str
) -> Manifest | None:
    """The same of an executor; None where a driver works alone."""
    helpers = per_user.helpers
    if helpers is None:
        return None
    size = (helpers.memory_mib, helpers.cpu_millicores)
    pod = _pod(workload, per_user, layout, scope, image, name=EXECUTOR_CONTAINER, size=size)
    pod["spec"]["terminationGracePeriodSeconds"] = _EXECUTOR_GRACE_S
    # Its log goes with it: its last words come to the driver's.
    pod["spec"]["containers"][0]["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return pod


def _pod(
    workload: Workload,
    per_user: PerUser,
    layout: Layout,
    scope: Scope,
    image: str,
    *,
    name: str,
    size: tuple[int, int],
) -> Manifest:
    """A pod as Pod Security ``restricted`` admits it, without a token for the API, whose container ``name``
    has no command yet. ``size``: MiB and millicores."""
    # As a workload of its own it would be asked of the cluster like this.
    sized = replace(
        workload,
        name=DRIVERS,
        memory_mib=size[0],
        cpu_millicores=size[1],
        workload_class=per_user.workload_class,
        scaling=None,
        replicas=1,
    )
    scratch = [
        {"name": "scratch", "mountPath": str(layout.data_dir / SCRATCH)},
        {"name": "scratch", "mountPath": str(layout.scratch_dir)},
        {"name": "files", "mountPath": "/etc/passwd", "subPath": "passwd", "readOnly": True},
    ]
    spec: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": DRIVERS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "affinity": affinity(sized, scope),
        "tolerations": tolerations(sized),
        "containers": [
            {
                "name": name,
                **_common(image),
                "resources": resources(sized),
                "volumeMounts": [*_data_mounts(layout), *scratch],
            }
        ],
        "volumes": [
            {"name": "program", "emptyDir": {"sizeLimit": memory(_PROGRAM_MIB)}},
            {"name": "scratch", "emptyDir": {"sizeLimit": memory(_SCRATCH_MIB)}},
            {"name": "files", "secret": {"secretName": "", "defaultMode": 0o440}},
        ],
    }
    if scope.pull_secret:
        spec["imagePullSecrets"] = [{"name": scope.pull_secret}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec}


def _common(image: str) -> Manifest:
    return {"image": image, "imagePullPolicy": "IfNotPresent", "securityContext": container_security()}


def _data_mounts(layout: Layout) -> list[Manifest]:
    return [
        {"name": "program", "mountPath": str(layout.data_dir)},
        {"name": "files", "mountPath": str(layout.files_dir), "readOnly": True},
    ]
