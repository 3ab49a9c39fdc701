"""``lab:Databases``: the databases and roles of one lab in PostgreSQL, as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

DATABASES_DIGEST = "1"
_SERVER = ("host", "port")


class DatabasesProvider(ResourceProvider):
    """Converges: what exists is adopted, passwords and ownership are applied again. Never drops
    anything: data that was kept goes with the lab's home."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Inputs, and what is missing in the server where it can be asked."""
        compared = (*_SERVER, "superuser_password", "databases", "passwords", "digest")
        differs = any(olds.get(key) != news.get(key) for key in compared)
        return DiffResult(changes=differs or bool(_missing(olds)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _converge(props)
        return CreateResult(id_=_id(props), outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _converge(news)
        return UpdateResult(outs=dict(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Without those databases that are gone, when the server can be asked."""
        gone = _missing(props)
        present = {name: role for name, role in props["databases"].items() if name not in gone}
        return ReadResult(id_=id_, outs={**props, "databases": present})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything."""


def _converge(props: Mapping[str, Any]) -> None:
    # The driver takes a fifth of a second to import; comparing inputs does not need it.
    from placements.local.foundation.patience import patiently
    from placements.local.foundation.postgres_admin import converge

    patiently(converge, props)


def _missing(props: Mapping[str, Any]) -> list[str]:
    from placements.local.foundation.postgres_admin import missing

    return missing(props)


def _id(props: Mapping[str, Any]) -> str:
    return f"{props['host']}:{int(props['port'])}/{','.join(sorted(props['databases']))}"


class Databases(Resource, module="lab", name="Databases"):
    """The databases of one lab; ``digest`` resolves once all of them are as declared."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        superuser: str,
        superuser_password: pulumi.Input[str],
        databases: Mapping[str, str],
        passwords: Mapping[str, pulumi.Input[str]],
        patience_s: float = 0,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            DatabasesProvider(),
            name,
            {
                "host": host,
                "port": port,
                "superuser": superuser,
                "superuser_password": pulumi.Output.secret(superuser_password),
                "databases": dict(databases),
                "passwords": pulumi.Output.secret(dict(passwords)),
                "digest": DATABASES_DIGEST,
                **({"patience_s": patience_s} if patience_s else {}),
            },
            pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(additional_secret_outputs=["superuser_password", "passwords"]),
            ),
        )
