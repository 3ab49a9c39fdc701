"""The plugin ``aws`` over moto, served in this process for one run of the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from contracts.errors import LabError
from plugins.base import Provider
from plugins.kinds import JSON
from plugins.resource import Field
from plugins.serving import start
from plugins.values import Props
from tests.moto_aws import bucket_types, cluster_types, data_types, network_types, time_types
from tests.moto_aws.arguments import arguments
from tests.moto_aws.eks_provider import CLUSTER, EksProvider
from tests.moto_aws.types import MotoType, World


class AwsProvider(Provider[World]):
    """Refuses an account that is not allowed, as the official one does."""

    name = "aws"
    config_fields = (Field(name="region", kind=JSON), Field(name="allowedAccountIds", kind=JSON))

    def __init__(self, world: World) -> None:
        super().__init__(version("pulumi_aws"), _types())
        self._world = world

    def connect(self, config: Props) -> World:
        """The account, when it is an allowed one."""
        account = self._world.client("sts").get_caller_identity()["Account"]
        given: Any = config.get("allowedAccountIds")
        allowed = json.loads(given) if isinstance(given, str) else given
        if allowed and account not in allowed:
            raise LabError("AWS account ID not allowed", value=account, permitted=", ".join(allowed))
        if config.get("region") != self._world.region:
            raise LabError("another region", value=config.get("region"), permitted=self._world.region)
        return self._world


@cache
def _types() -> list[MotoType]:
    # The SDK loads its modules when they are used, which only one thread may do at a time.
    arguments(CLUSTER)
    kinds = (
        *(*network_types.TYPES, *data_types.TYPES, *bucket_types.TYPES),
        *(*cluster_types.TYPES, *time_types.TYPES),
    )
    return [kind.load() for kind in kinds]


@contextmanager
def attached(world: World) -> Iterator[dict[str, str]]:
    """The environment by which one run of the engine attaches to the plugins. One server a run, as each real
    plugin process serves one."""
    server, port = start(AwsProvider(world), workers=8)
    eks_server, eks_port = start(EksProvider(world.kubeconfig), workers=4)
    try:
        yield {"PULUMI_DEBUG_PROVIDERS": f"aws:{port},eks:{eks_port}"}
    finally:
        server.stop(None).wait()
        eks_server.stop(None).wait()
