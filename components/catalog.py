"""What every implementation of the lab's ``Catalog`` is given, whichever product it is (DESIGN §6)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.service import TRINO_CATALOG, LabContext, secret


@dataclass(frozen=True, kw_only=True)
class CatalogArgs:
    """Database, object store and identity provider of the catalog; any value of the slot may be secret."""

    warehouse: str
    realm_url: str
    issuer_url: str
    jwks_url: str
    database_jdbc_url: pulumi.Input[str]
    database_role: pulumi.Input[str]
    database_password: pulumi.Input[str]
    location: pulumi.Input[str]
    s3_endpoint_url: pulumi.Input[str]
    s3_sts_endpoint_url: pulumi.Input[str]
    s3_region: pulumi.Input[str]
    s3_path_style: pulumi.Input[str]
    s3_access_key: pulumi.Input[str]
    s3_secret_key: pulumi.Input[str]
    root_secret: pulumi.Input[str]
    token_private_key: pulumi.Input[str]
    token_public_key: pulumi.Input[str]


def catalog_args(context: LabContext) -> CatalogArgs:
    """The slot's values for the catalog."""
    slot = context.slot
    return CatalogArgs(
        warehouse=TRINO_CATALOG,
        realm_url=context.realm_url,
        issuer_url=context.issuer_url,
        jwks_url=context.jwks_url,
        database_jdbc_url=slot.apply(lambda s: s.catalog_database.jdbc_url),
        database_role=slot.apply(lambda s: s.catalog_database.role),
        database_password=secret(slot, lambda s: s.catalog_database.password),
        location=slot.apply(lambda s: s.warehouse.location),
        s3_endpoint_url=slot.apply(lambda s: s.warehouse.endpoint_url),
        s3_sts_endpoint_url=slot.apply(lambda s: s.warehouse.sts_endpoint_url),
        s3_region=slot.apply(lambda s: s.warehouse.region),
        s3_path_style=slot.apply(lambda s: str(s.warehouse.path_style).lower()),
        s3_access_key=secret(slot, lambda s: s.catalog_store_user.access_key),
        s3_secret_key=secret(slot, lambda s: s.catalog_store_user.secret_key),
        root_secret=secret(slot, lambda s: s.secrets.catalog_root_secret),
        token_private_key=secret(slot, lambda s: s.secrets.catalog_token_private_key),
        token_public_key=slot.apply(lambda s: s.secrets.catalog_token_public_key),
    )


def store_environment(args: CatalogArgs) -> dict[str, pulumi.Input[str]]:
    """Names that the catalogs' configuration expands; nothing of it stands in a file."""
    return {
        "CATALOG_JDBC_URL": args.database_jdbc_url,
        "CATALOG_DATABASE_ROLE": args.database_role,
        "CATALOG_DATABASE_PASSWORD": args.database_password,
        "CATALOG_LOCATION": args.location,
        "S3_ENDPOINT_URL": args.s3_endpoint_url,
        "S3_STS_ENDPOINT_URL": args.s3_sts_endpoint_url,
        "S3_REGION": args.s3_region,
        "S3_PATH_STYLE": args.s3_path_style,
        "S3_ACCESS_KEY": args.s3_access_key,
        "S3_SECRET_KEY": args.s3_secret_key,
    }
