"""How objects are called and labelled, and the values that all objects of one lab share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pulumi import Input

Manifest: TypeAlias = dict[str, Any]
"""One object as the API takes it. Values may be Pulumi's Outputs."""

LAB_LABEL = "lakehouse-lab/lab"
STACK_LABEL = "lakehouse-lab/stack"
CLASS_LABEL = "lakehouse-lab/class"
"""Label and taint of the nodes of a workload class."""

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""What the API gives every namespace: its own name."""

_HASH_LENGTH = 10


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What all objects of one stack of one lab share.

    Args:
        stack: ``lab`` or ``persistent``: what removes the object.
        classes_required: pods run on nodes of their class alone; else they prefer them.
        external: the egress rule to what runs outside the cluster in a workload's place, by that workload's
            name.
        storage_class: of retained volumes; empty is the cluster's default.
        pull_secret: the secret in the namespace with which images are pulled; empty for none.
        also_reaches: egress rules beside those that a workload declares, by its name: to what hands it the
            identity that the cluster gives it, or to the cluster's API.
    """

    lab: str
    namespace: str
    stack: str
    classes_required: bool = False
    external: Mapping[str, Input[Manifest]] = field(default_factory=dict)
    storage_class: str = ""
    pull_secret: str = ""
    also_reaches: Mapping[str, Sequence[Input[Manifest]]] = field(default_factory=dict)

    def metadata(self, name: Any, component: str = "") -> Manifest:
        """Name, namespace and labels of an object; ``component`` names the workload it belongs to."""
        own = {"app.kubernetes.io/component": component} if component else {}
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**common_labels(self.lab, self.stack), **own},
        }

    def host(self, workload: str) -> str:
        """The name of a workload's service, as pods of any namespace resolve it."""
        return f"{workload}.{self.namespace}.svc"

    def selector(self, component: str) -> dict[str, str]:
        """The labels that exactly the pods of one workload have. They never change: a controller's
        selector can't."""
        return {LAB_LABEL: self.lab, "app.kubernetes.io/component": component}


def common_labels(lab: str, stack: str) -> dict[str, str]:
    """What every object of a lab carries, so that whatever is left can be found."""
    return {
        "app.kubernetes.io/part-of": "lakehouse-lab",
        "app.kubernetes.io/managed-by": "pulumi",
        LAB_LABEL: lab,
        STACK_LABEL: stack,
    }


def reaches_label(peer: str) -> str:
    """The label of pods that declare to reach ``peer``, which lies outside their namespace: who is there lets
    in those alone that carry it."""
    return f"lakehouse-lab/reaches-{peer}"


def memory(mib: int) -> str:
    """A quantity as the API writes it; written otherwise it would differ from what is read back."""
    return f"{mib}Mi" if mib % 1024 else f"{mib // 1024}Gi"


def cpu(millicores: int) -> str:
    """The same for processor time."""
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def content_name(prefix: str, content: Mapping[str, str]) -> str:
    """``prefix`` with a hash of ``content``: another content is another object, which rolls its pods."""
    text = json.dumps(dict(content), sort_keys=True)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]}"


def item_key(file: str) -> str:
    """The key under which a generated file stands in a ConfigMap or Secret: keys have no slash."""
    return file.replace("/", "..")
