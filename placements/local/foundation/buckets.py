"""``lab:ObjectStore``: the buckets, users and policies of one lab in the S3 store, as a Pulumi resource."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

STORE_DIGEST = "1"

_COMPARED = ("endpoint", "root_user", "root_password", "buckets", "users", "secret_keys", "digest")


class ObjectStoreProvider(ResourceProvider):
    """Converges: what exists is adopted, secret keys and policies are applied again. Never deletes
    anything: data that was kept goes with the lab's home."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Inputs, and the buckets and users that are missing in the store where it can be asked."""
        differs = any(olds.get(key) != news.get(key) for key in _COMPARED)
        return DiffResult(changes=differs or bool(_missing(olds)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _converge(props)
        return CreateResult(id_=f"{props['endpoint']}/{','.join(sorted(props['buckets']))}", outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _converge(news)
        return UpdateResult(outs=dict(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Without the buckets and users that are gone, when the store can be asked."""
        gone = _missing(props)
        return ReadResult(
            id_=id_,
            outs={
                **props,
                "buckets": {name: kind for name, kind in props["buckets"].items() if name not in gone},
                "users": {name: policy for name, policy in props["users"].items() if name not in gone},
            },
        )

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything."""


def _converge(props: Mapping[str, Any]) -> None:
    # MinIO's client takes half a second to import; comparing inputs does not need it.
    from placements.local.foundation.patience import patiently
    from placements.local.foundation.store_admin import converge

    patiently(converge, props)


def _missing(props: Mapping[str, Any]) -> list[str]:
    from placements.local.foundation.store_admin import missing

    return missing(props)


class ObjectStore(Resource, module="lab", name="ObjectStore"):
    """What one lab has in the store; ``digest`` resolves once all of it is as declared."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        endpoint: str,
        region: str,
        root_user: str,
        root_password: pulumi.Input[str],
        buckets: Mapping[str, str],
        users: Mapping[str, Mapping[str, Any]],
        secret_keys: Mapping[str, pulumi.Input[str]],
        patience_s: float = 0,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            ObjectStoreProvider(),
            name,
            {
                "endpoint": endpoint,
                "region": region,
                "root_user": root_user,
                "root_password": pulumi.Output.secret(root_password),
                "buckets": dict(buckets),
                "users": {user: json.dumps(policy, sort_keys=True) for user, policy in users.items()},
                "secret_keys": pulumi.Output.secret(dict(secret_keys)),
                "digest": STORE_DIGEST,
                **({"patience_s": patience_s} if patience_s else {}),
            },
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["root_password", "secret_keys"])
            ),
        )
