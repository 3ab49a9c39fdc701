"""The cluster as the operator's ``kubectl`` reaches it: who it is, and what may be done there.

``kubectl`` is what every way of signing in to a cluster supports, and what holds the tunnels.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import LabError, PreflightError
from contracts.settings import Settings
from placements.kubernetes.naming import Manifest

_TIMEOUT_S = 20
_LOG_LINE = re.compile(r"[EIW]\d{4} \d\d:")
_PROTECTED = ("kube-system", "kube-public", "kube-node-lease", "default")

_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
_NAMESPACED: Mapping[str, tuple[str, ...]] = {
    "": ("configmaps", "secrets", "services", "serviceaccounts"),
    "apps": ("deployments", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "networking.k8s.io": ("networkpolicies", "ingresses"),
    "policy": ("poddisruptionbudgets",),
}
_PERSISTENT_NAMESPACED: Mapping[str, tuple[str, ...]] = {
    "": ("resourcequotas", "limitranges"),
    "networking.k8s.io": ("networkpolicies",),
}


@dataclass(frozen=True, kw_only=True)
class Right:
    """Something that the operator must be allowed to do. ``namespaced`` False: in the whole cluster."""

    verb: str
    resource: str
    group: str = ""
    namespaced: bool = True

    @property
    def kind(self) -> str:
        """The resource as kubectl names it."""
        resource, _, part = self.resource.partition("/")
        return f"{resource}{'.' + self.group if self.group else ''}{'/' + part if part else ''}"

    def __str__(self) -> str:
        return f"{self.verb} {self.kind}"


LAB_RIGHTS: tuple[Right, ...] = (
    *(
        Right(verb=verb, resource=resource, group=group)
        for group, resources in _NAMESPACED.items()
        for resource in resources
        for verb in _VERBS
    ),
    Right(verb="get", resource="pods"),
    Right(verb="list", resource="pods"),
    Right(verb="list", resource="persistentvolumeclaims"),
    Right(verb="create", resource="pods/portforward"),
)
"""What the lab stack does in the lab's namespace."""

PERSISTENT_RIGHTS: tuple[Right, ...] = (
    *(Right(verb=verb, resource="namespaces", namespaced=False) for verb in ("get", "create", "patch")),
    *(
        Right(verb=verb, resource=resource, group=group)
        for group, resources in _PERSISTENT_NAMESPACED.items()
        for resource in resources
        for verb in _VERBS
    ),
)
"""What the persistent stack does: the namespace, and what holds for all of it."""

_DRIVERS_NAMESPACED: Mapping[str, tuple[str, ...]] = {
    "": ("resourcequotas", "limitranges", "secrets", "serviceaccounts"),
    "networking.k8s.io": ("networkpolicies",),
    "rbac.authorization.k8s.io": ("roles", "rolebindings"),
}

DRIVERS_RIGHTS: tuple[Right, ...] = (
    *(
        Right(verb=verb, resource="namespaces", namespaced=False)
        for verb in ("get", "create", "patch", "delete")
    ),
    *(
        Right(verb=verb, resource=resource, group=group)
        for group, resources in _DRIVERS_NAMESPACED.items()
        for resource in resources
        for verb in _VERBS
    ),
    # Nobody may hand out what they lack: these are the gateway's.
    *(Right(verb=verb, resource="pods") for verb in ("create", "delete", "get", "list", "watch")),
    Right(verb="get", resource="pods/log"),
)
"""What the lab stack does in the namespace beside the lab's, where a service makes pods."""

API_RIGHTS: tuple[Right, ...] = (
    Right(verb="get", resource="services"),
    Right(verb="list", resource="endpointslices", group="discovery.k8s.io"),
)
"""What tells, in namespace ``default``, where such a service finds the cluster's API."""

DATA_RIGHTS: tuple[Right, ...] = (
    *PERSISTENT_RIGHTS,
    *LAB_RIGHTS,
    *(Right(verb=verb, resource="cronjobs", group="batch") for verb in _VERBS),
    *(Right(verb=verb, resource="jobs", group="batch") for verb in ("get", "list", "create", "delete")),
    Right(verb="get", resource="pods/log"),
    Right(verb="create", resource="pods/exec"),
    Right(verb="delete", resource="pods"),
)
"""What it does where data services run inside the cluster, in the namespace beside the lab's; a backup is
restored within the server's pod."""


def namespace_of(settings: Settings) -> str:
    """The lab's namespace. Raises PreflightError for one that is the cluster's own."""
    name = str(settings.values["namespace"] or f"lakehouse-{settings.name}")
    if name in _PROTECTED:
        raise PreflightError(
            "a lab has a namespace of its own",
            value=name,
            permitted=f"a name such as lakehouse-{settings.name}",
            next_command=f"pulumi config set namespace lakehouse-{settings.name}",
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Access to one cluster. ``kubeconfig`` None and ``context`` empty: as ``kubectl`` finds them."""

    kubectl: str
    kubeconfig: Path | None
    context: str
    namespace: str

    @property
    def command(self) -> list[str]:
        """``kubectl`` with the options that name cluster and namespace."""
        options = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        options += [f"--context={self.context}"] if self.context else []
        return [self.kubectl, *options, f"--namespace={self.namespace}"]

    def identity(self) -> str:
        """The UID of the namespace ``kube-system``, which no two clusters share.

        Raises:
            PreflightError: the cluster can't be reached or refuses.
        """
        return self.run("get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}").strip()

    def labelled(self, kinds: Sequence[str], labels: Mapping[str, str]) -> list[Manifest]:
        """Objects of the namespace that carry all of ``labels``.

        Raises:
            PreflightError: as :meth:`identity`.
        """
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        answer = self.run("get", ",".join(kinds), f"--selector={selector}", "--output=json")
        items: list[Manifest] = json.loads(answer)["items"]
        return items

    def read(self, kind: str, name: str) -> Manifest | None:
        """One object; None when there is none.

        Raises:
            PreflightError: as :meth:`identity`.
        """
        answer = self.run("get", kind, name, "--ignore-not-found", "--output=json")
        found: Manifest | None = json.loads(answer) if answer.strip() else None
        return found

    def missing(self, rights: Sequence[Right]) -> list[Right]:
        """Those of ``rights`` that the operator does not have: one request for the namespace's rules, and
        one more for each right that they don't name, since authorizers other than RBAC list none.

        Raises:
            PreflightError: as :meth:`identity`.
        """
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self.namespace},
        }
        rules = self._create([review])[0].get("status", {}).get("resourceRules") or []
        wanted = dict.fromkeys(rights)
        asked = [right for right in wanted if not right.namespaced or not _granted(right, rules)]
        if not asked:
            return []
        answers = self._create([self._review(right) for right in asked])
        return [
            right
            for right, answer in zip(asked, answers, strict=True)
            if not (answer.get("status") or {}).get("allowed")
        ]

    def _create(self, documents: Sequence[Manifest]) -> list[Manifest]:
        """What the API answers to each document."""
        text = "\n".join(json.dumps(document) for document in documents)
        # Validation would fetch the schemas of everything first.
        options = ("--validate=false", "--output=json", "--filename=-")
        answer = self.run("create", *options, input_text=text)
        decoder, position = json.JSONDecoder(), 0
        found: list[Manifest] = []
        while position < len(answer.rstrip()):
            document, position = decoder.raw_decode(answer, position)
            found += document["items"] if document.get("kind") == "List" else [document]
            position += len(answer[position:]) - len(answer[position:].lstrip())
        return found

    def _review(self, right: Right) -> Manifest:
        resource, _, part = right.resource.partition("/")
        attributes = {"verb": right.verb, "group": right.group, "resource": resource}
        if part:
            attributes["subresource"] = part
        if right.namespaced:
            attributes["namespace"] = self.namespace
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }

    def run(self, *arguments: str, input_text: str | None = None) -> str:
        """What ``kubectl`` prints.

        Raises:
            PreflightError: as :meth:`identity`.
        """
        try:
            done = subprocess.run(
                [*self.command, f"--request-timeout={_TIMEOUT_S}s", *arguments],
                input=input_text,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S + 10,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._unreachable("no answer in time") from None
        if done.returncode != 0:
            # Its library's own log lines say the same over and over.
            lines = [line for line in done.stderr.splitlines() if not _LOG_LINE.match(line)]
            raise self._unreachable("\n".join(lines).strip() or f"exit code {done.returncode}")
        return done.stdout

    def _unreachable(self, why: str) -> PreflightError:
        return PreflightError(
            f"the cluster can't be asked: {why}",
            value=self.context or "the current context",
            permitted="a cluster that kubectl reaches",
            next_command=" ".join([*self.command, "get", "pods"]),
        )


def cluster_of(settings: Settings, environ: Mapping[str, str] | None = None) -> Cluster:
    """The cluster that the settings name. Asks it nothing.

    Raises:
        PreflightError: kubectl or the kubeconfig is missing.
    """
    env = os.environ if environ is None else environ
    kubectl = shutil.which("kubectl", path=env.get("PATH"))
    if kubectl is None:
        raise PreflightError(
            "kubectl is not on PATH",
            permitted="kubectl of a version that the cluster supports",
            next_command="https://kubernetes.io/docs/tasks/tools/",
        )
    given = str(settings.values["kubeconfig"])
    kubeconfig = Path(given).expanduser() if given else None
    if kubeconfig is not None and not kubeconfig.is_file():
        raise PreflightError(
            "the kubeconfig is not there",
            value=str(kubeconfig),
            permitted="a file that kubectl reads",
            next_command="pulumi config set kubeconfig FILE",
        )
    if kubeconfig is None and not _default_kubeconfig(env):
        raise PreflightError(
            "there is no kubeconfig",
            permitted="the setting kubeconfig, the variable KUBECONFIG, or ~/.kube/config",
            next_command="pulumi config set kubeconfig FILE",
        )
    return Cluster(
        kubectl=kubectl,
        kubeconfig=kubeconfig,
        context=str(settings.values["kubeContext"]),
        namespace=namespace_of(settings),
    )


def _default_kubeconfig(env: Mapping[str, str]) -> bool:
    listed = [Path(part) for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
    home = Path(env.get("HOME", "~")).expanduser()
    return any(path.is_file() for path in listed or [home / ".kube" / "config"])


def check_cluster(cluster: Cluster, *, expected_id: str, rights: Sequence[Right]) -> str:
    """The cluster's UID, once it is the expected one (any, where none is) and grants ``rights``.

    Raises:
        PreflightError: another cluster, missing rights (each named), or no answer.
    """
    found = cluster.identity()
    if expected_id and found != expected_id:
        raise PreflightError(
            "this is not the cluster of this lab",
            value=f"{cluster.context or 'the current context'} is cluster {found}",
            permitted=f"cluster {expected_id}",
            next_command="pulumi config set kubeContext CONTEXT",
        )
    require_rights(cluster, rights)
    return found


def require_rights(cluster: Cluster, rights: Sequence[Right]) -> None:
    """Raises PreflightError unless the operator has all of ``rights``; names each that is missing."""
    missing = cluster.missing(rights)
    if missing:
        verbs = ",".join(dict.fromkeys(right.verb for right in missing))
        resources = ",".join(dict.fromkeys(right.kind for right in missing))
        raise PreflightError(
            f"rights are missing on the cluster: {', '.join(str(right) for right in missing)}",
            value=f"namespace {cluster.namespace}",
            permitted="a ClusterRole that grants them, bound to you",
            next_command=f"kubectl create clusterrole lakehouse-lab --verb={verbs} --resource={resources}",
        )


def _granted(right: Right, rules: Sequence[Manifest]) -> bool:
    def has(rule: Manifest, key: str, value: str) -> bool:
        return bool({value, "*"} & set(rule.get(key) or ()))

    return any(
        has(rule, "verbs", right.verb)
        and has(rule, "apiGroups", right.group)
        and has(rule, "resources", right.resource)
        and not rule.get("resourceNames")
        for rule in rules
    )


def require_same_cluster(expected: object, found: str) -> str:
    """``found``, the UID of the cluster that is used now. Raises LabError unless the persistent stack was
    made on it."""
    if expected != found:
        raise LabError(
            f"the persistent stack was made on {'another' if expected else 'no'} cluster",
            value=f"cluster {found}",
            permitted=f"cluster {expected}" if expected else "a persistent stack of placement kubernetes",
            next_command="pulumi config set kubeContext CONTEXT -s lab",
        )
    return found
