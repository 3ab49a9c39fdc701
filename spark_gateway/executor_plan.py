"""Executors as pods: what is taken of a driver's request, and everything else of them as pure functions.

The request is the one of Spark's scheduler for Kubernetes
(https://spark.apache.org/docs/4.1.4/running-on-kubernetes.html). Users' code can send another one.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import UsageError
from spark_gateway.cluster_api import Manifest
from spark_gateway.drivers import EXECUTOR, ExecutorPlan, LaunchPlan
from spark_gateway.pod_plan import (
    ADDRESS,
    CREDENTIAL,
    RUN_LABEL,
    SCRATCH,
    PodPlan,
    environment,
    escaped,
    owned,
    pod_name,
    secret_of,
)

EXECUTOR_CONTAINER = "spark-kubernetes-executor"
"""As Spark calls it when it looks for an exit code."""
ROLE_LABEL = "spark-role"
EXECUTOR_ROLE = "executor"
_APPLICATION_LABEL = "spark-app-selector"
_ID_LABEL = "spark-exec-id"
_PROFILE_LABEL = "spark-exec-resourceprofile-id"
_STARTUP = "spark.network.crypto."
"""What an executor needs to know before it can ask its driver for all properties."""
_NAME = "$(POD_NAME)"
_AUTHENTICATION = "authentication"
"""File with what the processes of one driver show each other."""

_SECRET = "_SPARK_AUTH_SECRET"
_PERMITTED = {
    _SECRET: r"([A-Za-z0-9+/]{4}){4,128}",
    "SPARK_EXECUTOR_ID": r"[1-9][0-9]{0,8}",
    "SPARK_RESOURCE_PROFILE_ID": r"[0-9]{1,9}",
    "SPARK_APPLICATION_ID": r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
    "SPARK_DRIVER_URL": r"spark://CoarseGrainedScheduler@[A-Za-z0-9.:\[\]-]{1,253}:[0-9]{1,5}",
}
"""Variables of the container that is asked for, and what each may be."""


@dataclass(frozen=True, kw_only=True)
class ExecutorRequest:
    """What is taken of the pod that a driver asks for: who the executor is, where its driver listens, and
    the secret that the two share."""

    executor_id: str
    profile_id: str
    application_id: str
    driver_url: str
    authentication: str = field(repr=False)


def requested(pod: Any) -> ExecutorRequest:
    """What is taken of a pod as Spark's scheduler describes it.

    Raises:
        UsageError: it is none of an executor, or a value is not one of Spark's.
    """
    values = {**dict.fromkeys(_PERMITTED, ""), **_variables(pod)}
    for name, pattern in _PERMITTED.items():
        if re.fullmatch(pattern, values[name]) is None:
            raise UsageError(
                f"the pod that is asked for is none of Spark's executors: {name}",
                value=None if name == _SECRET else values[name][:80] or "nothing",
                permitted=pattern,
            )
    return ExecutorRequest(
        executor_id=values["SPARK_EXECUTOR_ID"],
        profile_id=values["SPARK_RESOURCE_PROFILE_ID"],
        application_id=values["SPARK_APPLICATION_ID"],
        driver_url=values["SPARK_DRIVER_URL"],
        authentication=values[_SECRET],
    )


def _variables(pod: Any) -> dict[str, str]:
    try:
        (container,) = pod["spec"]["containers"]
        given = {one["name"]: one.get("value") for one in container["env"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            "what is asked for is not a pod of one container with variables",
            permitted="an executor as Spark 4.1 describes it",
        ) from error
    return {name: text for name, text in given.items() if isinstance(text, str)}


def executor_labels(plan: PodPlan, run_id: str) -> dict[str, str]:
    """What exactly the executors of a run have."""
    return {**plan.labels, RUN_LABEL: run_id, ROLE_LABEL: EXECUTOR_ROLE}


def executor_pod(
    plan: PodPlan, launches: LaunchPlan, run_id: str, request: ExecutorRequest, owner: Manifest
) -> Manifest:
    """The pod of an executor, which goes with its driver's, ``owner``. It starts once its Secret is there.

    Raises:
        UsageError: the lab's drivers work alone.
    """
    template, executors = plan.executor_template, launches.executors
    if template is None or executors is None:
        raise UsageError("drivers of this lab have no executors", next_command="set sparkMaxExecutors")
    pod = copy.deepcopy(template)
    labels = {
        **executor_labels(plan, run_id),
        _APPLICATION_LABEL: request.application_id,
        _ID_LABEL: request.executor_id,
        _PROFILE_LABEL: request.profile_id,
    }
    name = f"{pod_name(run_id)}-exec-{request.executor_id}"
    pod["metadata"] = {**owned(plan, run_id, owner), "name": name, "labels": labels}
    (container,) = pod["spec"]["containers"]
    container["command"] = _command(plan, launches, executors, request)
    container["env"] = [
        *environment(plan, launches),
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    container["workingDir"] = f"{plan.folder}/{SCRATCH}"
    for volume in pod["spec"]["volumes"]:
        if volume["name"] == "files":
            volume["secret"]["secretName"] = name
    return pod


def executor_secret(plan: PodPlan, request: ExecutorRequest, pod: Manifest) -> Manifest:
    """The files of an executor, owned by its pod, which was made."""
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    kept = {key: metadata[key] for key in ("name", "namespace", "labels")}
    secret = secret_of(plan.files, {**kept, "ownerReferences": [owner]})
    # Spark takes as secret what the file holds in base64. So does the API: it stands here as it is.
    secret["data"][_AUTHENTICATION] = request.authentication
    return secret


def driver_properties(plan: PodPlan, launches: LaunchPlan, run_id: str) -> dict[str, str]:
    """Properties of a driver that may have executors; none for one that works alone. No secret."""
    if plan.executor_template is None or launches.executors is None:
        return {}
    return {
        **launches.executors.properties,
        "spark.master": _master(plan),
        "spark.kubernetes.namespace": plan.namespace,
        "spark.kubernetes.authenticate.oauthTokenFile": f"{plan.files_dir}/{CREDENTIAL}",
        "spark.kubernetes.executor.podNamePrefix": pod_name(run_id),
    }


def _master(plan: PodPlan) -> str:
    return f"k8s://{plan.master_url}"


def _command(
    plan: PodPlan, launches: LaunchPlan, executors: ExecutorPlan, request: ExecutorRequest
) -> list[str]:
    startup = {
        **{key: text for key, text in executors.properties.items() if key.startswith(_STARTUP)},
        "spark.authenticate": "true",
        "spark.authenticate.secret.file": f"{plan.files_dir}/{_AUTHENTICATION}",
        # Where it is another one, Spark takes no secret from a file.
        "spark.master": _master(plan),
    }
    given = {
        "--driver-url": request.driver_url,
        "--executor-id": request.executor_id,
        "--cores": str(executors.threads),
        "--app-id": request.application_id,
        "--resourceProfileId": request.profile_id,
    }
    known = [
        *executors.java,
        *(f"-D{key}={text}" for key, text in sorted(startup.items())),
        f"-Djava.io.tmpdir={Path(plan.folder) / SCRATCH}",
        "-cp",
        ":".join(launches.classpath),
        EXECUTOR,
        *(word for pair in given.items() for word in pair),
    ]
    return [*escaped(known), "--hostname", ADDRESS, "--bind-address", ADDRESS, "--podName", _NAME]
