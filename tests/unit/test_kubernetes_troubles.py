"""Why pods do not run: in the API's own words, and only what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from placements.kubernetes.troubles import troubles


def pod(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "trino-1"},
        "status": {"containerStatuses": list(containers), **status},
    }


FAILED = {"reason": "Error", "exitCode": 1}
LAST_LINES = (
    "LOG: starting PostgreSQL",
    'FATAL: could not write lock file "postmaster.pid": No space left on device',
    "LOG: database system is shut down",
)
RUNNING = {"ready": True, "state": {"running": {}}, "restartCount": 0}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            pod({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}),
            "pod trino-1: waits: ImagePullBackOff, not found",
        ),
        (
            pod(
                {
                    "ready": False,
                    "restartCount": 2,
                    "state": {"running": {}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                }
            ),
            "pod trino-1: ended with OOMKilled (exit code 137), started 3 times",
        ),
        (
            pod({"ready": False, "lastState": {"terminated": {**FAILED, "message": "\n".join(LAST_LINES)}}}),
            "pod trino-1: ended with Error (exit code 1), started 1 times: FATAL: could not write lock file "
            '"postmaster.pid": No space left on device',
        ),
        (
            pod({"ready": False, "lastState": {"terminated": {**FAILED, "message": "one\nbye\n\n"}}}),
            "pod trino-1: ended with Error (exit code 1), started 1 times: bye",
        ),
        (
            pod(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient memory.",
                    }
                ]
            ),
            "pod trino-1: no node takes it: Unschedulable, 0/1 nodes are available: 1 Insufficient memory.",
        ),
        (
            pod(reason="Evicted", message="The node was low on resource: memory."),
            "pod trino-1: evicted: Evicted, The node was low on resource: memory.",
        ),
        (
            {
                "kind": "Deployment",
                "metadata": {"name": "trino"},
                "status": {
                    "conditions": [
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "reason": "FailedCreate",
                            "message": "exceeded quota: lab, requested: requests.memory=1324Mi",
                        }
                    ]
                },
            },
            "deployment trino: its pods are not made: FailedCreate, exceeded quota: lab, requested: "
            "requests.memory=1324Mi",
        ),
    ],
    ids=["image", "memory", "its last words say why", "its last words", "node", "evicted", "quota"],
)
def test_what_is_wrong_is_said_as_the_cluster_says_it(item: dict[str, Any], said: str) -> None:
    assert troubles(item) == [said]


@pytest.mark.parametrize(
    "item",
    [
        pod(RUNNING),
        pod({"ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}),
        pod({**RUNNING, "restartCount": 1, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}}),
        pod(RUNNING, conditions=[{"type": "PodScheduled", "status": "True"}]),
        {"kind": "StatefulSet", "metadata": {"name": "governor"}},
        {
            "kind": "Deployment",
            "metadata": {"name": "opa"},
            "status": {"conditions": [{"type": "Available", "status": "False"}]},
        },
    ],
    ids=["running", "coming", "was restarted", "scheduled", "new", "not yet available"],
)
def test_what_is_well_or_on_its_way_is_not_mentioned(item: dict[str, Any]) -> None:
    assert troubles(item) == []
