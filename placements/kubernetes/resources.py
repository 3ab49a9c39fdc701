"""From a manifest to the provider's resource. The provider's SDK is imported here, when it is used."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pulumi

from contracts.errors import PreflightError
from placements.kubernetes.cluster import Cluster
from placements.kubernetes.naming import Manifest

_ROLLOUT = "15m"


def provider(
    cluster: Cluster, *, cluster_id: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
) -> Any:
    """The provider of one cluster. Another kubeconfig for the same cluster replaces nothing."""
    arguments: dict[str, Any] = {
        "cluster_identifier": cluster_id,
        "namespace": cluster.namespace,
        "enable_server_side_apply": True,
    }
    if cluster.kubeconfig is not None:
        arguments["kubeconfig"] = str(cluster.kubeconfig)
    if cluster.context:
        arguments["context"] = cluster.context
    return sdk("pulumi_kubernetes").Provider("cluster", **arguments, opts=opts)


def provider_of(
    kubeconfig: pulumi.Input[str], *, identifier: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> Any:
    """The provider of a cluster that is made in the same run. What was in a cluster that is gone is gone."""
    return sdk("pulumi_kubernetes").Provider(
        "objects",
        cluster_identifier=identifier,
        kubeconfig=kubeconfig,
        enable_server_side_apply=True,
        delete_unreachable=True,
        opts=opts,
    )


def register(manifest: Manifest, name: str, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Registers ``manifest`` as resource ``name`` and waits as the provider does: for a rollout to be
    complete, for a service to have endpoints."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    # The group without its domain is the SDK's module: networking.k8s.io is networking.
    module = sdk(f"pulumi_kubernetes.{(group or 'core').partition('.')[0]}.{version}")
    resource: Callable[..., pulumi.Resource] = getattr(module, manifest["kind"])
    arguments = {_snake(key): value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    own = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=_ROLLOUT, update=_ROLLOUT))
    return resource(name, **arguments, opts=pulumi.ResourceOptions.merge(opts, own))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def sdk(module: str) -> Any:
    """A provider's SDK. Raises PreflightError where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise PreflightError(
            "the packages of the cluster placements are not installed",
            value=str(error.name),
            permitted="the environment of requirements-cloud.txt",
            next_command="./lab up",
        ) from error
