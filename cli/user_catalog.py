"""The Iceberg catalog as one user sees it, with a token that renews itself during long loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.rest.auth import AuthManager
from pyiceberg.exceptions import OAuthError, RESTError
from requests import RequestException

from contracts.errors import LabError
from contracts.outputs import LabOutputs
from seed.connection import compatible


class UserTokenManager(AuthManager):
    """pyiceberg's hook for a caller's own tokens
    (https://py.iceberg.apache.org/configuration/#custom-authentication)."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_header(self) -> str:
        return f"Bearer {self._token()}"


def open_user_catalog(outputs: LabOutputs, token: Callable[[], str]) -> RestCatalog:
    """The lab's catalog with the user's own rights; storage credentials are vended per table.

    Raises:
        LabError: the catalog does not answer or refuses the user.
    """
    # The signature says text, the documentation a nested mapping for ``auth``.
    properties: dict[str, Any] = {
        "uri": outputs.users_catalog_uri,
        "warehouse": outputs.catalog_warehouse,
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        "auth": {
            "type": "custom",
            "impl": f"{UserTokenManager.__module__}.{UserTokenManager.__qualname__}",
            "custom": {"token": token},
        },
    }
    try:
        catalog = RestCatalog("lab", **properties)
    except (RequestException, RESTError, OAuthError) as error:
        raise LabError(
            f"the catalog can't be opened: {error}",
            value=outputs.users_catalog_uri,
            next_command="lab status",
        ) from error
    return compatible(catalog)
