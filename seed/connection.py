"""How seeds and loads reach the Iceberg REST catalog and the governor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.rest.auth import AuthManager
from pyiceberg.exceptions import RESTError
from pyiceberg.schema import Schema
from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter

from contracts.errors import LabError
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


class BearerTokens(AuthManager):
    """pyiceberg's hook for tokens of our own making
    (https://py.iceberg.apache.org/configuration/#custom-authentication)."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_header(self) -> str:
        return f"Bearer {self._token()}"


class LabCatalog(RestCatalog):
    """A REST catalog on the loopback or in the same cluster: never through a proxy of the environment,
    and :func:`compatible` from its first request on."""

    def _create_session(self) -> Session:
        session = super()._create_session()
        _prepare(session)
        return session


def open_catalog(connection: Connection) -> Catalog:
    """A REST catalog whose tokens renew themselves and whose storage credentials are vended per table.

    Raises:
        LabError: the catalog or the token endpoint can't be reached or refuses the client.
    """
    properties: dict[str, Any] = {
        "uri": connection.catalog_uri,
        "warehouse": connection.warehouse,
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        "auth": {
            "type": "custom",
            "impl": f"{BearerTokens.__module__}.{BearerTokens.__qualname__}",
            "custom": {"token": connection.token_provider()},
        },
        **connection.properties,
    }
    try:
        return LabCatalog("lab", **properties)
    except (RequestException, RESTError) as error:
        raise LabError(
            f"the catalog can't be opened: {error}", value=connection.catalog_uri, next_command="lab status"
        ) from error


def compatible(catalog: RestCatalog) -> RestCatalog:
    """Makes ``catalog`` send ``last-column-id`` with each ``add-schema`` update.

    The REST specification has deprecated it and pyiceberg leaves it out, but Nessie answers 500 to a
    table created in one request without it; other catalogs ignore it.
    """
    _prepare(catalog._session)
    return catalog


def _prepare(session: Session) -> None:
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, _LastColumnIdAdapter())


class _LastColumnIdAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        if isinstance(request.body, bytes) and b'"add-schema"' in request.body:
            document = json.loads(request.body)
            for update in document.get("updates", ()):
                if update.get("action") == "add-schema":
                    schema = Schema.model_validate(update["schema"])
                    update["last-column-id"] = schema.highest_field_id
            request.prepare_body(data=json.dumps(document).encode(), files=None)
        return super().send(request, *args, **kwargs)
