"""An Iceberg REST catalog of the lab, with tokens that renew themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.rest.auth import AuthManager
from pyiceberg.exceptions import OAuthError, RESTError
from pyiceberg.io import FileIO
from pyiceberg.schema import Schema
from pyiceberg.typedef import EMPTY_DICT, Properties
from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter

from contracts.errors import LabError

_ENDPOINT = "s3.endpoint"


class BearerTokens(AuthManager):
    """pyiceberg's hook for tokens of our own making
    (https://py.iceberg.apache.org/configuration/#custom-authentication)."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_header(self) -> str:
        return f"Bearer {self._token()}"


class LabCatalog(RestCatalog):
    """A REST catalog on the loopback or in the same cluster: never through a proxy of the environment,
    and :func:`compatible` from its first request on. An ``s3.endpoint`` that it was given holds whatever the
    catalog says: it names the address that the engines have."""

    def __init__(self, name: str, **properties: Any) -> None:
        self._own = {key: properties[key] for key in (_ENDPOINT,) if key in properties}
        super().__init__(name, **properties)

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        return super()._load_file_io({**properties, **self._own}, location)

    def _create_session(self) -> Session:
        session = super()._create_session()
        _prepare(session)
        return session


def open_catalog(
    catalog_uri: str,
    warehouse: str,
    token: Callable[[], str],
    properties: Mapping[str, str] | None = None,
) -> RestCatalog:
    """The catalog as whoever ``token`` is of; storage credentials are vended per table.

    Args:
        token: gives a current access token whenever it is asked.
        properties: further ones of pyiceberg (for example ``s3.endpoint`` where the store has another
            address here than the catalog names), see
            https://py.iceberg.apache.org/configuration/#rest-catalog

    Raises:
        LabError: the catalog or the token endpoint can't be reached or refuses the caller.
    """
    # The signature says text, the documentation a nested mapping for ``auth``.
    given: dict[str, Any] = {
        "uri": catalog_uri,
        "warehouse": warehouse,
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        "auth": {
            "type": "custom",
            "impl": f"{BearerTokens.__module__}.{BearerTokens.__qualname__}",
            "custom": {"token": token},
        },
        **(properties or {}),
    }
    try:
        return LabCatalog("lab", **given)
    except (RequestException, RESTError, OAuthError) as error:
        raise LabError(
            f"the catalog can't be opened: {error}", value=catalog_uri, next_command="lab status"
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
