"""The access data of the repository, given to the governor as the first revision (DESIGN §7, §8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import yaml
from pulumi.dynamic import Resource

from contracts.access import AccessData
from contracts.errors import LabError
from seed.resource import ConvergingProvider, keep_secret

if TYPE_CHECKING:
    from governance.client import SeedResult
    from seed.connection import Connection

POLICY_DATA = Path(__file__).parent.parent / "policies" / "data"


def read_access_data(folder: Path = POLICY_DATA) -> dict[str, Any]:
    """Joins the folder's YAML files into one document in the form of :class:`AccessData`.

    Raises:
        LabError: there is no file, one is not YAML, or two declare the same key.
        UsageError: a key, privilege, kind or mask is unknown.
    """
    document: dict[str, Any] = {}
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise LabError("there is no access data to seed", value=str(folder), permitted="*.yaml files")
    for path in paths:
        try:
            part = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise LabError(f"{path.name} is not valid YAML: {error}", value=str(path)) from error
        if not isinstance(part, Mapping):
            raise LabError(f"{path.name} must be a mapping", value=str(path), permitted="grants, tags, rules")
        for key, value in part.items():
            if key in document:
                raise LabError(f"{path.name} declares {key!r} a second time", value=str(path))
            document[str(key)] = value
    return AccessData.from_document(document).as_document()


def access_digest(document: Mapping[str, Any]) -> str:
    """Changes exactly when the document says something else."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def seed_access(
    connection: Connection, document: Mapping[str, Any], digest: str, reset: bool = False
) -> SeedResult:
    """Posts the document to the governor, which keeps what people changed unless ``reset``.

    Raises:
        LabError: the governor can't be reached or refuses the document.
    """
    from governance.client import GovernorClient

    if not connection.governor_url:
        raise LabError(
            "the connection has no governor", permitted="governor_url", next_command="lab up --core"
        )
    with GovernorClient(connection.governor_url, connection.token_provider()) as client:
        return client.seed_access(document, digest, reset=reset)


class AccessProvider(ConvergingProvider):
    """Seeds the access data, and ends once the catalog lets in whom it is to let in."""

    def converge(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        from seed.connection import Connection
        from seed.settling import settle_catalog

        connection = Connection.from_inputs(inputs["connection"])
        answer = seed_access(connection, json.loads(inputs["document"]), str(inputs["digest"]))
        settle_catalog(connection)
        return {"revision": answer.revision, "kept": answer.kept}


class Access(Resource, module="lab", name="Access"):
    """The access data of one lab. Outputs: ``revision``, the living one after seeding, and ``kept``,
    how many items of the seed people had changed and that were left alone."""

    revision: pulumi.Output[int]
    kept: pulumi.Output[int]

    def __init__(
        self,
        name: str,
        *,
        connection: pulumi.Input[Mapping[str, Any]],
        folder: Path = POLICY_DATA,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``connection`` has the keys of :class:`seed.connection.Connection`."""
        document = read_access_data(folder)
        super().__init__(
            AccessProvider(),
            name,
            {
                "name": name,
                "digest": access_digest(document),
                "document": json.dumps(document, sort_keys=True),
                "connection": pulumi.Output.secret(connection),
                "revision": None,
                "kept": None,
            },
            keep_secret(opts),
        )
