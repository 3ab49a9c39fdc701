"""One resource type for every kind of object that a lab registers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from contracts.errors import LabError
from plugins.resource import Change, Changes, ResourceType, State, Update
from plugins.values import UNKNOWN, Props, Unknown, has_unknown
from tests.cluster.provider.api import Api, Kind
from tests.cluster.provider.waiting import until_gone, until_ready

_KINDS = (
    Kind(api_version="v1", name="Namespace", plural="namespaces", namespaced=False),
    Kind(api_version="storage.k8s.io/v1", name="StorageClass", plural="storageclasses", namespaced=False),
    Kind(api_version="v1", name="ConfigMap", plural="configmaps"),
    Kind(api_version="v1", name="Secret", plural="secrets"),
    Kind(api_version="v1", name="Service", plural="services"),
    Kind(api_version="v1", name="ServiceAccount", plural="serviceaccounts"),
    Kind(api_version="v1", name="ResourceQuota", plural="resourcequotas"),
    Kind(api_version="v1", name="LimitRange", plural="limitranges"),
    Kind(api_version="apps/v1", name="Deployment", plural="deployments"),
    Kind(api_version="apps/v1", name="StatefulSet", plural="statefulsets"),
    Kind(api_version="batch/v1", name="CronJob", plural="cronjobs"),
    Kind(api_version="policy/v1", name="PodDisruptionBudget", plural="poddisruptionbudgets"),
    Kind(api_version="networking.k8s.io/v1", name="NetworkPolicy", plural="networkpolicies"),
    Kind(api_version="rbac.authorization.k8s.io/v1", name="Role", plural="roles"),
    Kind(api_version="rbac.authorization.k8s.io/v1", name="RoleBinding", plural="rolebindings"),
)

_FIXED: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec.selector",),
    "StatefulSet": (
        "spec.selector",
        "spec.serviceName",
        "spec.podManagementPolicy",
        "spec.volumeClaimTemplates",
    ),
    "Secret": ("type",),
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
}
"""What the API does not let change, beside name and namespace; and the data of what is immutable."""

_OF_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


class ClusterObject(ResourceType[Api]):
    """Its inputs are a manifest, its outputs the object as the API has it."""

    fields: ClassVar = ()
    kind: ClassVar[Kind]

    def check(self, news: Props, resource_name: str) -> tuple[Props, dict[str, str]]:
        """The manifest as it stands; refused without a name, or without a namespace where it takes one."""
        inputs = {name: value for name, value in news.items() if not name.startswith("__")}
        inputs["apiVersion"], inputs["kind"] = self.kind.api_version, self.kind.name
        metadata = inputs.get("metadata")
        wanted = ("name", "namespace") if self.kind.namespaced else ("name",)
        if isinstance(metadata, Unknown):
            return inputs, {}
        missing = [name for name in wanted if not (metadata or {}).get(name)]
        return inputs, {f"metadata.{name}": f"required by {self.token} and not given" for name in missing}

    def diff(self, before: Props, recorded: Props, declared: Props) -> Changes:
        """Against what was declared before: what others set is theirs."""
        paths: dict[str, Change] = {}
        replaces: set[str] = set()
        fixed = ["metadata.name", "metadata.namespace", *_FIXED.get(self.kind.name, ())]
        if before.get("immutable") is True:
            fixed += ["data", "binaryData", "immutable"]
        for path, how in _differences("", before, declared):
            replace = any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in fixed)
            paths[path] = Change(how=how, replace=replace, by_declaration=True)
            if replace:
                replaces.add(path)
        place = [(part.get("metadata") or {}) for part in (before, declared)]
        same = all(place[0].get(key) == place[1].get(key) for key in ("name", "namespace"))
        return Changes(
            paths=paths,
            names=frozenset(path.partition(".")[0].partition("[")[0] for path in paths),
            replaces=frozenset(replaces),
            delete_first=bool(replaces) and same,
        )

    def preview(self, declared: Props, recorded: Props, changed: Collection[str]) -> Props:
        """The manifest, and whatever the API adds as unknown."""
        return {**recorded, **declared, "status": recorded.get("status", UNKNOWN) if not changed else UNKNOWN}

    def create(self, session: Api, inputs: Props) -> State:
        """Applied, and as ready as its kind gets."""
        return self._apply(session, inputs)

    def update(self, session: Api, update: Update) -> State:
        """Applied again, and ready again."""
        return self._apply(session, update.declared)

    def read(self, session: Api, ident: str, inputs: Props, recorded: Props) -> State | None:
        """By ``namespace/name``, or ``name`` for what is in none."""
        live = session.get(self._path(ident))
        return None if live is None else State(id=ident, outputs=_shown(live))

    def delete(self, session: Api, ident: str, recorded: Props) -> None:
        """Removed once its finalizers are done, with the pods that are its."""
        path = self._path(ident)
        live = session.get(path)
        if live is not None:
            session.delete(path, live["metadata"]["uid"])
            until_gone(session, path, live["metadata"]["uid"])

    def refreshed_inputs(self, inputs: Props, outputs: Props) -> Props:
        """What was declared, as it is now; for an import, all that the server did not add itself."""
        if inputs:
            return {name: _as_declared(value, outputs.get(name)) for name, value in inputs.items()}
        metadata = {k: v for k, v in outputs["metadata"].items() if k not in _OF_THE_SERVER}
        return {**{k: v for k, v in outputs.items() if k != "status"}, "metadata": metadata}

    def _apply(self, session: Api, inputs: Props) -> State:
        if has_unknown(inputs):
            raise LabError(
                f"{self.token} is not known entirely when it is made", value=inputs.get("metadata")
            )
        metadata = inputs["metadata"]
        path = self.kind.path(metadata.get("namespace", ""), metadata["name"])
        session.apply(path, inputs)
        live, unready = until_ready(session, self.kind, path, self.interrupted)
        ident = f"{metadata['namespace']}/{metadata['name']}" if self.kind.namespaced else metadata["name"]
        return State(id=ident, outputs=_shown(live), unready=unready)

    def _path(self, ident: str) -> str:
        namespace, _, name = ident.rpartition("/")
        if bool(namespace) != self.kind.namespaced:
            form = "NAMESPACE/NAME" if self.kind.namespaced else "NAME"
            raise LabError(f"{ident!r} is no id of {self.token}", value=ident, permitted=form)
        return self.kind.path(namespace, name)


def _shown(live: Mapping[str, Any]) -> Props:
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    return {**live, "metadata": metadata}


def _differences(path: str, before: Any, now: Any) -> Iterator[tuple[str, str]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted(before.keys() | now.keys()):
            inner = f"{path}.{key}" if path and _plain(key) else key if _plain(key) else f'{path}["{key}"]'
            if key not in now:
                yield inner, "deleted"
            elif key not in before:
                yield inner, "added"
            else:
                yield from _differences(inner, before[key], now[key])
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{path}[{index}]", one, other)
    elif isinstance(now, Unknown) or before != now:
        yield path, "updated"


def _plain(key: str) -> bool:
    return key.replace("-", "_").isidentifier()


def _as_declared(declared: Any, live: Any) -> Any:
    """``live`` with the members that ``declared`` has, and no others; lists of other lengths as they are."""
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        return {key: _as_declared(value, live[key]) for key, value in declared.items() if key in live}
    if isinstance(declared, list) and isinstance(live, list) and len(declared) == len(live):
        return [_as_declared(one, other) for one, other in zip(declared, live, strict=True)]
    return live


def _type_of(kind: Kind) -> type[ClusterObject]:
    group = "core/v1" if kind.api_version == "v1" else kind.api_version
    return type(kind.name, (ClusterObject,), {"kind": kind, "token": f"kubernetes:{group}:{kind.name}"})


TYPES: tuple[type[ClusterObject], ...] = tuple(_type_of(kind) for kind in _KINDS)
