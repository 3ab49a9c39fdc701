"""The Iceberg catalog as one user sees it, with a token that renews itself during long loads."""

from __future__ import annotations

from collections.abc import Callable

from pyiceberg.catalog.rest import RestCatalog

from contracts.outputs import LabOutputs
from ingestion.catalog import open_catalog


def open_user_catalog(outputs: LabOutputs, token: Callable[[], str]) -> RestCatalog:
    """The lab's catalog with the user's own rights; storage credentials are vended per table.

    Raises:
        LabError: the catalog does not answer or refuses the user.
    """
    return open_catalog(outputs.users_catalog_uri, outputs.catalog_warehouse, token, outputs.file_properties)
