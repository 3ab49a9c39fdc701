"""What the persistent stack keeps on a cluster: the lab's namespace and what holds for all of it.

Pods come and go with the lab stack; the namespace stays, and with it the volumes that are retained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from placements.kubernetes.namespace import namespace_objects
from placements.kubernetes.naming import Scope
from placements.kubernetes.resources import register


class Namespace(pulumi.ComponentResource):
    """The namespace with quota, defaults and the network policies that deny. Destroying it deletes the
    retained volumes of the lab's services. ``prefix`` tells the resources of several labs of one stack apart.
    """

    def __init__(
        self,
        name: str,
        *,
        provider: Any,
        scope: Scope,
        memory_mib: int,
        cpu_millicores: int,
        after: Sequence[pulumi.Resource] = (),
        prefix: str = "",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:kubernetes:Namespace", name, None, opts)
        first, *others = namespace_objects(scope, memory_mib=memory_mib, cpu_millicores=cpu_millicores)
        child = pulumi.ResourceOptions(parent=self, provider=provider)
        waits = pulumi.ResourceOptions(depends_on=list(after) or None)
        made = register(first, scope.namespace, pulumi.ResourceOptions.merge(child, waits))
        inside = pulumi.ResourceOptions(
            parent=self, provider=child.provider, depends_on=[made], deleted_with=made
        )
        self.objects: list[pulumi.Resource] = [made]
        for manifest in others:
            name = f"{prefix}{manifest['kind'].lower()}-{manifest['metadata']['name']}"
            self.objects.append(register(manifest, name, inside))
        self.register_outputs({"namespace": scope.namespace})
