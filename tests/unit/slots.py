"""A slot with recognisable values, for tests of what is made from one."""

from __future__ import annotations

from dataclasses import replace

from contracts.identity import lab_realm
from contracts.outputs import Database, Pki, Secrets, Slot, StoreUser, Warehouse

MODEL = lab_realm("lab")


def _database(name: str) -> Database:
    return Database(host="127.0.0.1", port=5432, name=name, role=f"{name}_owner", password=f"{name}-password")


def make_aws_slot() -> Slot:
    """The same in an account: roles in place of keys, and an own role for vended credentials."""
    slot, role = make_slot(), "arn:aws:iam::123456789012:role/lakehouse-lab-"

    def user(name: str) -> StoreUser:
        return StoreUser(access_key="", secret_key="", role_arn=f"{role}{name}")

    host = "lakehouse-lab.cluster-x.eu-central-1.rds.amazonaws.com"
    warehouse = replace(
        slot.warehouse,
        endpoint_url="https://s3.eu-central-1.amazonaws.com",
        sts_endpoint_url="https://sts.eu-central-1.amazonaws.com",
        region="eu-central-1",
        path_style=False,
        role_arn=f"{role}vending",
    )
    database = replace(slot.catalog_database, host=host)
    return replace(
        slot,
        catalog_store_user=user("catalog"),
        governor_store_user=user("governor"),
        opa_store_user=user("opa"),
        warehouse=warehouse,
        catalog_database=database,
    )


def make_slot() -> Slot:
    """One lab's slot."""
    return Slot(
        catalog_database=_database("catalog"),
        keycloak_database=_database("keycloak"),
        governance_database=_database("governance"),
        masking_database=_database("masking"),
        control_plane_database=_database("control_plane"),
        agent_database=_database("agent"),
        warehouse=Warehouse(
            endpoint_url="http://127.0.0.1:9000",
            sts_endpoint_url="http://127.0.0.1:9000",
            region="us-east-1",
            path_style=True,
            bucket="lakehouse",
            prefix="warehouse",
            policy_bucket="policies",
            role_arn=None,
        ),
        catalog_store_user=StoreUser(access_key="catalog", secret_key="catalog-secret"),
        governor_store_user=StoreUser(access_key="governor", secret_key="governor-secret"),
        opa_store_user=StoreUser(access_key="opa", secret_key="opa-secret"),
        pki=Pki(ca_certificate="ca", server_certificate="certificate", server_key="server-key"),
        secrets=Secrets(
            keycloak_admin_client_secret="kc-admin",
            client_secrets={client.client_id: f"{client.client_id}-secret" for client in MODEL.clients},
            persona_passwords={p.username: f"{p.username}-password" for p in MODEL.personas},
            catalog_root_secret="root-secret",
            catalog_token_private_key="private",
            catalog_token_public_key="public",
            bundle_signing_private_key="signing",
            bundle_signing_public_key="verify",
            encryption_key="encryption",
            opa_token="opa-token",
            audit_trino_token="audit-trino-token",
            audit_opa_token="audit-opa-token",
            trino_internal_secret="internal",
            hash_salt="salt",
        ),
    )
