"""The plugin ``eks`` for tests: its one component makes the cluster that it is asked for, as a child, and
leaves out what the official one adds to it."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, resource_pb2, resource_pb2_grpc

from plugins.values import UNKNOWN, Props, decode, encode
from tests.moto_aws.arguments import arguments, failures

CLUSTER = "eks:index:Cluster"


class EksProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves ``eks:index:Cluster``, whose kubeconfig is the given one, or else names the endpoint alone."""

    def __init__(self, kubeconfig: str = "") -> None:
        self._kubeconfig = kubeconfig

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        """What this provider understands."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing to do."""
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The SDK's version."""
        return plugin_pb2.PluginInfo(version=version("pulumi_eks"))

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Takes any."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing is configured."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing is configured."""
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True
        )

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing runs for long."""
        return empty_pb2.Empty()

    def Construct(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The component and its cluster."""
        inputs, _ = decode(request.inputs)
        known = arguments(CLUSTER)
        strange = sorted(set(inputs) - set(known))
        why = (
            f"{CLUSTER} has no {strange[0]!r}"
            if strange
            else next(iter(failures(CLUSTER, inputs).values()), "")
        )
        if request.type != CLUSTER or why:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, why or f"no component {request.type}")
        with grpc.insecure_channel(request.monitorEndpoint) as channel:
            monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
            urn = monitor.RegisterResource(
                resource_pb2.RegisterResourceRequest(
                    type=CLUSTER,
                    name=request.name,
                    parent=request.parent,
                    object=encode({}),
                    acceptSecrets=True,
                )
            ).urn
            child = monitor.RegisterResource(
                resource_pb2.RegisterResourceRequest(
                    type="aws:eks/cluster:Cluster",
                    name=f"{request.name}-eksCluster",
                    parent=urn,
                    custom=True,
                    object=encode(_cluster(inputs)),
                    provider=request.providers.get("aws", ""),
                    dependencies=list(request.dependencies),
                    acceptSecrets=True,
                    version=version("pulumi_aws"),
                )
            )
            made, _ = decode(child.object)
            endpoint = made.get("endpoint", UNKNOWN)
            leads = self._kubeconfig or json.dumps({"server": str(endpoint)})
            config: Any = UNKNOWN if endpoint is UNKNOWN else leads
            outputs = encode({"kubeconfigJson": config})
            monitor.RegisterResourceOutputs(
                resource_pb2.RegisterResourceOutputsRequest(urn=urn, outputs=outputs)
            )
        depends = provider_pb2.ConstructResponse.PropertyDependencies(urns=[child.urn])
        return provider_pb2.ConstructResponse(
            urn=urn, state=outputs, stateDependencies={"kubeconfigJson": depends}
        )


def _cluster(inputs: Props) -> Props:
    role = inputs["serviceRole"]
    name = role.get("id", UNKNOWN) if isinstance(role, dict) else UNKNOWN
    return {
        "name": inputs["name"],
        "version": inputs["version"],
        "roleArn": name if name is UNKNOWN else f"arn:aws:iam::123456789012:role/{name}",
        "bootstrapSelfManagedAddons": inputs["bootstrapSelfManagedAddons"],
        "enabledClusterLogTypes": inputs["enabledClusterLogTypes"],
        "vpcConfig": {
            "subnetIds": inputs["privateSubnetIds"],
            "endpointPrivateAccess": inputs["endpointPrivateAccess"],
            "endpointPublicAccess": inputs["endpointPublicAccess"],
            **({"publicAccessCidrs": inputs["publicAccessCidrs"]} if "publicAccessCidrs" in inputs else {}),
        },
        "tags": inputs["tags"],
    }
