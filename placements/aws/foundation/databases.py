"""``lab:AuroraDatabases``: the databases and roles of one lab in Aurora, as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from contracts.errors import LabError

AURORA_DATABASES_DIGEST = "1"
_COMPARED = ("resource_arn", "databases", "passwords", "digest")


class AuroraDatabasesProvider(ResourceProvider):
    """Converges: what exists is adopted, passwords and ownership are applied again. Never drops anything.

    Comparing inputs asks nothing of Aurora, so that a preview does not wake a database that has paused;
    ``refresh`` does."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any(olds.get(key) != news.get(key) for key in _COMPARED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _converge(props)
        return CreateResult(
            id_=f"{props['resource_arn']}/{','.join(sorted(props['databases']))}", outs=dict(props)
        )

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _converge(news)
        return UpdateResult(outs=dict(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Without those databases that are gone."""
        from placements.aws.foundation.data_api import missing

        gone = missing(_aurora(props), props["databases"])
        present = {name: role for name, role in props["databases"].items() if name not in gone}
        return ReadResult(id_=id_, outs={**props, "databases": present})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything: it goes with the cluster."""


def _converge(props: Mapping[str, Any]) -> None:
    from placements.aws.foundation.data_api import converge

    absent = [role for role in props["databases"].values() if role not in props["passwords"]]
    if absent:
        raise LabError("a database role has no password", value=", ".join(absent))
    converge(_aurora(props), props["databases"], props["passwords"])


def _aurora(props: Mapping[str, Any]) -> Any:
    # Loaded here: comparing inputs does not need it.
    import boto3

    from placements.aws.foundation.data_api import Aurora

    client = boto3.client("rds-data", region_name=str(props["region"]))
    return Aurora(client, resource_arn=str(props["resource_arn"]), secret_arn=str(props["secret_arn"]))


class AuroraDatabases(Resource, module="lab", name="AuroraDatabases"):
    """The databases of one lab; ``digest`` resolves once all of them are as declared."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        region: str,
        resource_arn: pulumi.Input[str],
        secret_arn: pulumi.Input[str],
        databases: Mapping[str, str],
        passwords: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AuroraDatabasesProvider(),
            name,
            {
                "region": region,
                "resource_arn": resource_arn,
                "secret_arn": secret_arn,
                "databases": dict(databases),
                "passwords": pulumi.Output.secret(dict(passwords)),
                "digest": AURORA_DATABASES_DIGEST,
            },
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["passwords"])
            ),
        )
