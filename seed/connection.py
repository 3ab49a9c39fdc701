"""How seeds and loads reach the Iceberg REST catalog and the governor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyiceberg.catalog import Catalog

from contracts.errors import LabError
from ingestion import catalog
from seed.tokens import ClientCredentials


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the catalog is and who asks.

    ``properties`` are further catalog properties of pyiceberg (for example ``s3.endpoint`` where the
    operator reaches the store at another address than the catalog names), see
    https://py.iceberg.apache.org/configuration/#rest-catalog
    """

    catalog_uri: str
    warehouse: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    governor_url: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)

    def token_provider(self) -> ClientCredentials:
        """Tokens of this connection's service account."""
        return ClientCredentials(
            token_url=self.token_url, client_id=self.client_id, client_secret=self.client_secret
        )

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any]) -> Connection:
        """Reads a resource's ``connection`` input. Raises LabError naming a missing key."""
        required = ("catalog_uri", "warehouse", "token_url", "client_id", "client_secret")
        for key in required:
            if not inputs.get(key):
                raise LabError(
                    f"the connection lacks {key!r}", permitted=", ".join(required), next_command="lab up"
                )
        return cls(
            **{key: str(inputs[key]) for key in required},
            governor_url=str(inputs.get("governor_url") or ""),
            properties={str(k): str(v) for k, v in (inputs.get("properties") or {}).items()},
        )


def open_catalog(connection: Connection) -> Catalog:
    """The catalog as this connection's service account. Raises LabError: the catalog or the token endpoint
    can't be reached or refuses the client."""
    return catalog.open_catalog(
        connection.catalog_uri, connection.warehouse, connection.token_provider(), connection.properties
    )
