"""The provider plugin of the test cluster, against an API that answers from memory."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import LabError
from plugins.resource import ResourceType, Update
from plugins.values import UNKNOWN
from tests.cluster.provider import waiting
from tests.cluster.provider.api import Api
from tests.cluster.provider.objects import TYPES


class Memory(Api):
    """Keeps what is applied; ``becomes`` is what an object looks like from the second look on."""

    def __init__(self, becomes: dict[str, Any] | None = None) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.becomes = becomes or {}
        self.pods: list[dict[str, Any]] = []
        self.finalizers: list[str] = []

    def get(self, path: str) -> dict[str, Any] | None:
        found = self.objects.get(path)
        if found is not None:
            self.objects[path] = {**found, **self.becomes}
        return found

    def items(self, path: str, selector: str) -> list[dict[str, Any]]:
        return self.pods

    def apply(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        metadata = {**manifest["metadata"], "uid": "1", "generation": 1, "managedFields": [{}]}
        self.objects[path] = {**manifest, "metadata": metadata}
        return self.objects[path]

    def delete(self, path: str, uid: str) -> None:
        if self.finalizers:
            self.objects[path]["metadata"]["finalizers"] = self.finalizers
        else:
            del self.objects[path]


def of(kind: str) -> ResourceType[Api]:
    (found,) = [one for one in TYPES if one.token.endswith(f":{kind}")]
    return found()


def deployment(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "opa", "namespace": "lab", "labels": {"lakehouse-lab/lab": "lab"}}
    selector = {"matchLabels": {"app": "opa"}}
    return {
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": 1, "selector": selector, **spec},
    }


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_PAUSE_S", 0)
    monkeypatch.setattr(waiting, "_READY_S", 0.05)
    monkeypatch.setattr(waiting, "_GONE_S", 0.05)


def test_a_change_is_found_at_its_path_and_replaces_only_what_is_fixed() -> None:
    kind = of("Deployment")
    before = deployment(template={"containers": [{"image": "a", "args": ["1"]}]})
    now = deployment(template={"containers": [{"image": "b", "args": ["1", "2"]}]})
    changes = kind.diff(before, {}, now)
    assert set(changes.paths) == {"spec.template.containers[0].image", "spec.template.containers[0].args"}
    assert not changes.replaces
    other = {**deployment(), "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "other"}}}}
    changes = kind.diff(deployment(), {}, other)
    assert changes.replaces == {"spec.selector.matchLabels.app"}
    assert changes.delete_first, "two can't have one name"
    labels = {**deployment(), "metadata": {**deployment()["metadata"], "labels": {"lakehouse-lab/lab": "x"}}}
    assert set(kind.diff(deployment(), {}, labels).paths) == {'metadata.labels["lakehouse-lab/lab"]'}


def test_other_content_of_what_is_immutable_is_another_object_made_first() -> None:
    kind = of("ConfigMap")
    before = {"metadata": {"name": "a-1", "namespace": "lab"}, "immutable": True, "data": {"x": "1"}}
    now = {"metadata": {"name": "a-2", "namespace": "lab"}, "immutable": True, "data": {"x": "2"}}
    changes = kind.diff(before, {}, now)
    assert changes.replaces == {"metadata.name", "data.x"}
    assert not changes.delete_first
    unknown = {**now, "metadata": {"name": UNKNOWN, "namespace": "lab"}}
    assert "metadata.name" in kind.diff(before, {}, unknown).replaces


def test_an_object_without_a_name_or_namespace_is_refused() -> None:
    assert set(of("Secret").check({"metadata": {"name": "a"}}, "r")[1]) == {"metadata.namespace"}
    assert of("Namespace").check({"metadata": {"name": "a"}}, "r")[1] == {}
    assert set(of("Namespace").check({}, "r")[1]) == {"metadata.name"}


def test_a_refresh_shows_what_was_declared_and_an_import_everything() -> None:
    kind = of("Deployment")
    live = {**deployment(replicas=0, strategy={"type": "Recreate"}), "status": {"replicas": 0}}
    assert kind.refreshed_inputs(deployment(), live) == deployment(replicas=0)
    imported = kind.refreshed_inputs({}, {**live, "metadata": {**live["metadata"], "uid": "1"}})
    assert imported == deployment(replicas=0, strategy={"type": "Recreate"})


def test_creating_waits_until_the_pods_are_available() -> None:
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}
    api = Memory(becomes={"status": counts})
    state = of("Deployment").create(api, deployment())
    assert state.id == "lab/opa"
    assert state.outputs["status"] == counts
    assert "managedFields" not in state.outputs["metadata"]
    update = Update(id=state.id, before=deployment(), recorded=state.outputs, declared=deployment(replicas=2))
    with pytest.raises(LabError, match="did not become ready"):
        of("Deployment").update(api, update)


def test_pods_that_do_not_start_are_the_reason() -> None:
    api = Memory(becomes={"status": {"observedGeneration": 1}})
    waits = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    api.pods = [{"metadata": {"name": "opa-1"}, "status": {"containerStatuses": [{"state": waits}]}}]
    with pytest.raises(LabError, match="pod opa-1: waits: ErrImagePull, no such image"):
        of("Deployment").create(api, deployment())


def test_a_service_is_ready_with_an_endpoint() -> None:
    service = {"metadata": {"name": "opa", "namespace": "lab"}, "spec": {"selector": {"app": "opa"}}}
    api = Memory()
    with pytest.raises(LabError, match="did not become ready"):
        of("Service").create(api, service)
    api.pods = [{"endpoints": [{"conditions": {"ready": True}}]}]
    assert of("Service").create(api, service).id == "lab/opa"


def test_deleting_waits_and_names_the_finalizers() -> None:
    api, kind = Memory(), of("ConfigMap")
    state = kind.create(api, {"metadata": {"name": "a", "namespace": "lab"}})
    api.finalizers = ["example/kept"]
    with pytest.raises(LabError, match="example/kept"):
        kind.delete(api, state.id, {})
    api.finalizers = []
    kind.delete(api, state.id, {})
    kind.delete(api, state.id, {})
    assert kind.read(api, state.id, {}, {}) is None


def test_an_id_of_another_form_is_refused() -> None:
    with pytest.raises(LabError, match="NAMESPACE/NAME"):
        of("ConfigMap").read(Memory(), "a", {}, {})
