"""How people come in from outside the cluster, as pure functions: an Ingress for each workload that has an
entrance, below one domain, and the network policy that lets the ingress controller through.

Each workload has a host of its own, since most can't be told that they lie below a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pulumi import Input

from contracts.errors import LabError, UsageError
from contracts.settings import Settings
from contracts.workload import Entrance, Port, Scheme, Workload
from placements.kubernetes.naming import Manifest, Scope
from placements.kubernetes.network import policy
from placements.kubernetes.objects import SKIP_AWAIT

LAB_TLS = "lab"
"""The kind of certificate that the lab's own authority signs."""

_BACKEND = "nginx.ingress.kubernetes.io/backend-protocol"
_ISSUERS = {"issuer": "cert-manager.io/issuer", "cluster-issuer": "cert-manager.io/cluster-issuer"}


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """What all ingresses of a lab share.

    Args:
        domain: below which each workload has its host.
        controller_namespace: where the pods run that connect to the workloads.
        class_name: of the ingresses; empty for the cluster's default.
        tls: ``lab``, ``secret:NAME``, ``issuer:NAME`` or ``cluster-issuer:NAME``.
        annotations: of every ingress.
        certificate: ``tls.crt`` and ``tls.key`` for ``*.domain`` where ``tls`` is ``lab``.
    """

    domain: str
    controller_namespace: str
    class_name: str = ""
    tls: str = LAB_TLS
    annotations: Mapping[str, str] = field(default_factory=dict)
    certificate: Mapping[str, Input[str]] = field(default_factory=dict)

    def host(self, workload: str) -> str:
        """Where a workload is published."""
        return f"{workload}.{self.domain}"


def publishing_of(
    settings: Settings, certificate: Callable[[], Mapping[str, Input[str]]]
) -> Publishing | None:
    """What the settings say; None where nothing is published. ``certificate`` is asked for the lab's own,
    where that is used.

    Raises:
        UsageError: the controller's namespace is missing.
    """
    values = settings.values
    if not values["ingressDomain"]:
        return None
    if not values["ingressNamespace"]:
        raise UsageError(
            "nobody would be let through to what is published",
            value=f"ingressDomain={values['ingressDomain']}, ingressNamespace=",
            permitted="the namespace in which the cluster's ingress controller runs",
            next_command="pulumi config set ingressNamespace NAMESPACE",
        )
    return Publishing(
        domain=values["ingressDomain"],
        controller_namespace=values["ingressNamespace"],
        class_name=values["ingressClass"],
        tls=values["ingressTls"],
        annotations=values["ingressAnnotations"],
        certificate=certificate() if values["ingressTls"] == LAB_TLS else {},
    )


def require_same_domain(persistent: object, domain: str) -> str:
    """``domain``, once the persistent stack's certificate is for it. Raises LabError when it is not."""
    if persistent != domain:
        raise LabError(
            "the lab's certificate is not for this domain",
            value=f"{domain}; it is for {persistent or 'none'}",
            permitted="ingressDomain of the persistent stack",
            next_command="lab bootstrap",
        )
    return domain


def ingress(
    workload: Workload, entrance: Entrance, scope: Scope, publishing: Publishing, *, certificate: Input[str]
) -> Manifest:
    """Publishes the paths of the entrance at the workload's host. ``certificate`` names the Secret of
    :data:`LAB_TLS`.

    Raises:
        LabError: the entrance names a port that the workload lacks.
    """
    port = _port(workload, entrance)
    host = publishing.host(workload.name)
    kind, _, given = publishing.tls.partition(":")
    names: dict[str, Input[str]] = {LAB_TLS: certificate, "secret": given}
    annotations = {
        # The provider would wait for an address in the status, which not every controller writes there.
        SKIP_AWAIT: "true",
        **({_ISSUERS[kind]: given} if kind in _ISSUERS else {}),
        # The service says the same by appProtocol, which not every controller reads.
        **({_BACKEND: "HTTPS"} if port.scheme is Scheme.HTTPS else {}),
        **publishing.annotations,
    }
    backend = {"service": {"name": workload.name, "port": {"name": port.name}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in entrance.paths]
    metadata = scope.metadata(workload.name, workload.name)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**metadata, "annotations": annotations},
        "spec": {
            **({"ingressClassName": publishing.class_name} if publishing.class_name else {}),
            "tls": [{"hosts": [host], "secretName": names.get(kind, f"{workload.name}-tls")}],
            "rules": [{"host": host, "http": {"paths": paths}}],
        },
    }


def admission(workload: Workload, entrance: Entrance, scope: Scope, publishing: Publishing) -> Manifest:
    """Lets the ingress controller's namespace reach the entrance's port, and no other.

    Raises:
        LabError: as :func:`ingress`.
    """
    port = _port(workload, entrance)
    source = {"matchLabels": {"kubernetes.io/metadata.name": publishing.controller_namespace}}
    rule = {
        "from": [{"namespaceSelector": source}],
        "ports": [{"protocol": "TCP", "port": port.name}],
    }
    spec = {"policyTypes": ["Ingress"], "ingress": [rule]}
    name = f"{workload.name}-from-ingress-controller"
    return policy(scope, name, workload.name, scope.selector(workload.name), spec)


def certificate_secret(name: Input[str], scope: Scope, data: Input[Mapping[str, str]]) -> Manifest:
    """The lab's own certificate as an ingress takes it; ``data`` is encoded."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": scope.metadata(name),
        "immutable": True,
        "data": data,
    }


def _port(workload: Workload, entrance: Entrance) -> Port:
    port = next((port for port in workload.ports if port.name == entrance.port), None)
    if port is None:
        raise LabError(
            f"the entrance of {workload.name} names a port it does not have",
            value=entrance.port,
            permitted=", ".join(port.name for port in workload.ports),
        )
    return port
