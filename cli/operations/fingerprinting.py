"""What makes a lab the same lab: equal before ``down`` and after the next ``up``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from cli.access import governor_client, seeder_connection, token_url
from cli.session import Session
from contracts.errors import LabError
from contracts.outputs import LabOutputs
from contracts.versions import ARTIFACTS


@dataclass(frozen=True, kw_only=True)
class TableState:
    """A table's current snapshot, None for one without rows, and its number of rows."""

    snapshot_id: str | None
    rows: int | None
    snapshots: int


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Equal fingerprints mean the same data, people and rules; ``digest`` is over all of it."""

    lab: str
    catalog: str
    tables: Mapping[str, TableState]
    realm: str
    realm_counts: Mapping[str, int]
    access_revision: int | None
    access_digest: str
    versions: Mapping[str, str]
    digest: str


def fingerprint(session: Session) -> Fingerprint:
    """Asks catalog, identity provider and governor.

    Raises:
        LabError: one of them does not answer.
    """
    outputs = session.outputs()
    tables = _tables(session, outputs)
    realm, counts = _realm(session, outputs)
    with governor_client(session, outputs) as client:
        access = client.fingerprint()
    versions = {
        name: artifact.version for name, artifact in sorted(ARTIFACTS.items()) if name in outputs.components
    }
    content = {
        "tables": {name: [state.snapshot_id, state.rows] for name, state in tables.items()},
        "realm": realm,
        "access": [access.revision, access.digest],
        "versions": versions,
        "catalog": outputs.catalog_kind,
    }
    return Fingerprint(
        lab=session.lab.name,
        catalog=outputs.catalog_kind,
        tables=tables,
        realm=realm,
        realm_counts=counts,
        access_revision=access.revision,
        access_digest=access.digest,
        versions=versions,
        digest=digest_of(content),
    )


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _tables(session: Session, outputs: LabOutputs) -> dict[str, TableState]:
    from seed.connection import open_catalog

    catalog = open_catalog(seeder_connection(session, outputs))
    found: dict[str, TableState] = {}
    for namespace in sorted(catalog.list_namespaces()):
        for identifier in sorted(catalog.list_tables(namespace)):
            table = catalog.load_table(identifier)
            snapshot = table.current_snapshot()
            summary = snapshot.summary if snapshot is not None else None
            total = summary["total-records"] if summary is not None else None
            found[".".join(identifier)] = TableState(
                snapshot_id=str(snapshot.snapshot_id) if snapshot else None,
                rows=int(total) if total is not None else None,
                snapshots=len(table.metadata.snapshots),
            )
    return found


_USER_KEYS = ("id", "username", "email", "firstName", "lastName", "enabled")
_CLIENT_KEYS = ("id", "clientId", "enabled", "publicClient", "redirectUris", "optionalClientScopes")


def _realm(session: Session, outputs: LabOutputs) -> tuple[str, dict[str, int]]:
    """A digest of groups, users with their memberships, and the lab's own clients; the identities in it
    are Keycloak's, so a realm that was made anew differs."""
    base, _, realm = outputs.own_realm_url.rpartition("/realms/")
    secret = session.slot().secrets.client_secrets["governor"]
    try:
        with httpx.Client(base_url=f"{base}/admin/realms/{realm}", timeout=30.0, trust_env=False) as client:
            answer = client.post(
                token_url(outputs), data={"grant_type": "client_credentials"}, auth=("governor", secret)
            )
            answer.raise_for_status()
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            groups = _all(client, "/groups")
            members = {
                group["path"]: sorted(u["username"] for u in _all(client, f"/groups/{group['id']}/members"))
                for group in groups
            }
            users = [_only(user, _USER_KEYS) for user in _all(client, "/users")]
            clients = [_only(one, _CLIENT_KEYS) for one in _all(client, "/clients")]
    except httpx.HTTPError as error:
        raise LabError(f"the identity provider can't be asked: {error}", next_command="lab status") from error
    content = {
        "groups": sorted((group["path"], group["id"]) for group in groups),
        "members": members,
        "users": sorted(users, key=lambda user: str(user.get("username"))),
        "clients": sorted(clients, key=lambda one: str(one.get("clientId"))),
    }
    counts = {"groups": len(groups), "users": len(users), "clients": len(clients)}
    return digest_of(content), counts


def _all(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Every page of a list of the admin API."""
    found: list[dict[str, Any]] = []
    while True:
        answer = client.get(path, params={"first": len(found), "max": 500})
        answer.raise_for_status()
        page: list[dict[str, Any]] = answer.json()
        new = [item for item in page if item not in found] if found else page
        found += new
        if len(page) < 500 or not new:
            return found


def _only(document: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: sorted(value) if isinstance(value, list) else value
        for key in keys
        if (value := document.get(key)) is not None
    }
