"""``lab:ExternalServers``: servers that were checked, and one lab's databases and roles in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from placements.local.foundation.patience import patiently

SERVERS_DIGEST = "1"

_COMPARED = ("server", "store", "databases", "passwords", "digest")
_SECRET = ("server", "store", "passwords")


class ServersProvider(ResourceProvider):
    """Checks first, then makes what is missing; what exists is adopted. Never deletes anything."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any(olds.get(key) != news.get(key) for key in _COMPARED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _converge(props)
        return CreateResult(id_=f"{props['server']['host']}/{props['store']['bucket']}", outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _converge(news)
        return UpdateResult(outs=dict(news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything."""


def _converge(props: Mapping[str, Any]) -> None:
    patiently(_once, props)


def _once(props: Mapping[str, Any]) -> None:
    # Their clients take a second to import; comparing inputs does not need them.
    from placements.kubernetes.external import database_checks, store_checks

    store_checks.check(props["store"])
    database_checks.converge(props["server"], props["databases"], props["passwords"])


class Servers(Resource, module="lab", name="ExternalServers"):
    """The lab's slot in external servers; ``digest`` resolves once it was checked and is as declared."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        server: Mapping[str, Any],
        store: Mapping[str, Any],
        databases: Sequence[str],
        passwords: Mapping[str, pulumi.Input[str]],
        patience_s: float = 0,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            ServersProvider(),
            name,
            {
                "server": pulumi.Output.secret(dict(server)),
                "store": pulumi.Output.secret(dict(store)),
                "databases": list(databases),
                "passwords": pulumi.Output.secret(dict(passwords)),
                "digest": SERVERS_DIGEST,
                **({"patience_s": patience_s} if patience_s else {}),
            },
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=list(_SECRET))
            ),
        )
