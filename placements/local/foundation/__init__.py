"""What is kept on one machine: PostgreSQL and the S3 store, and one lab's slot in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from contracts.outputs import Database, StoreUser, Warehouse
from contracts.workload import Deployed, Scheme
from placements.local.foundation import postgres, store
from placements.local.foundation.buckets import ObjectStore
from placements.local.foundation.databases import Databases
from placements.local.placement import BIND_ADDRESS, LocalPlacement

__all__ = ["DATABASES", "STORE_USERS", "FoundationArgs", "LocalFoundation"]

DATABASES = ("catalog", "keycloak", "governance", "masking", "control_plane", "agent")
"""One database and one role that owns it, for each of these."""

STORE_USERS = ("catalog", "governor", "opa")


@dataclass(frozen=True, kw_only=True)
class FoundationArgs:
    """What the foundation is made from. All passwords are made secret.

    ``database_passwords`` has a key for each of :data:`DATABASES`, ``store_secret_keys`` for each of
    :data:`STORE_USERS` (8 to 40 characters: MinIO's limits).
    """

    lab: str
    warehouse_prefix: str
    postgres_superuser_password: pulumi.Input[str]
    store_root_password: pulumi.Input[str]
    database_passwords: Mapping[str, pulumi.Input[str]]
    store_secret_keys: Mapping[str, pulumi.Input[str]]


class LocalFoundation(pulumi.ComponentResource):
    """Brings up both servers and this lab's slot. Destroying it stops the servers and keeps the data.

    Attributes:
        databases: by the names of :data:`DATABASES`; resolves once the database can be used.
        warehouse: the buckets; resolves once they are there.
        store_users: by the names of :data:`STORE_USERS`.
        postgres, s3: the two services.
    """

    databases: Mapping[str, pulumi.Output[Database]]
    warehouse: pulumi.Output[Warehouse]
    store_users: Mapping[str, pulumi.Output[StoreUser]]
    postgres: Deployed
    s3: Deployed

    def __init__(
        self,
        name: str,
        args: FoundationArgs,
        *,
        placement: LocalPlacement,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:local:Foundation", name, None, opts)
        self._placement = placement
        self._child = pulumi.ResourceOptions(parent=self)
        self.postgres = self._deploy_postgres(args)
        self.s3 = self._deploy_store(args)
        self.databases = self._make_databases(args)
        self.warehouse, self.store_users = self._make_buckets(args)
        self.register_outputs({"databases": list(DATABASES), "store_users": list(STORE_USERS)})

    def _deploy_postgres(self, args: FoundationArgs) -> Deployed:
        layout = self._placement.layout(postgres.SERVICE, postgres.ARTIFACT, ("tcp",), unprivileged=True)
        home = self._placement.home
        spec = pulumi.Output.secret(args.postgres_superuser_password).apply(
            lambda password: postgres.service(layout, home=home, superuser_password=password)
        )
        return self._placement.register(
            postgres.SERVICE,
            spec,
            depends_on=(),
            artifacts=[postgres.ARTIFACT],
            schemes={"tcp": Scheme.TCP},
            opts=self._child,
        )

    def _deploy_store(self, args: FoundationArgs) -> Deployed:
        layout = self._placement.layout(store.SERVICE, store.ARTIFACT, ("http",))
        spec = pulumi.Output.secret(args.store_root_password).apply(
            lambda password: store.service(layout, root_password=password)
        )
        return self._placement.register(
            store.SERVICE,
            spec,
            depends_on=(),
            artifacts=[store.ARTIFACT],
            schemes={"http": Scheme.HTTP},
            opts=self._child,
        )

    def _make_databases(self, args: FoundationArgs) -> dict[str, pulumi.Output[Database]]:
        port = self._placement.layout(postgres.SERVICE, postgres.ARTIFACT, ("tcp",), unprivileged=True).ports[
            "tcp"
        ]
        names = {purpose: database_name(args.lab, purpose) for purpose in DATABASES}
        resource = Databases(
            f"{args.lab}-databases",
            host=BIND_ADDRESS,
            port=port,
            superuser=postgres.SUPERUSER,
            superuser_password=args.postgres_superuser_password,
            databases={name: name for name in names.values()},
            passwords={names[purpose]: args.database_passwords[purpose] for purpose in DATABASES},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.postgres.resource]),
        )

        def database(purpose: str) -> pulumi.Output[Database]:
            name = names[purpose]
            password = pulumi.Output.secret(args.database_passwords[purpose])
            return pulumi.Output.all(password, resource.digest).apply(
                lambda values: Database(
                    host=BIND_ADDRESS, port=port, name=name, role=name, password=str(values[0])
                )
            )

        return {purpose: database(purpose) for purpose in DATABASES}

    def _make_buckets(
        self, args: FoundationArgs
    ) -> tuple[pulumi.Output[Warehouse], dict[str, pulumi.Output[StoreUser]]]:
        url = self._placement.internal_url(store.SERVICE, "http")
        bucket, policy_bucket = f"{args.lab}-warehouse", f"{args.lab}-policy"
        users = {purpose: f"{args.lab}-{purpose}" for purpose in STORE_USERS}
        policies = {
            "catalog": store.catalog_policy(bucket=bucket, prefix=args.warehouse_prefix),
            "governor": store.governor_policy(bucket=policy_bucket),
            "opa": store.opa_policy(bucket=policy_bucket),
        }
        resource = ObjectStore(
            f"{args.lab}-object-store",
            endpoint=url.removeprefix("http://"),
            region=store.REGION,
            root_user=store.ROOT_USER,
            root_password=args.store_root_password,
            buckets={bucket: "versioned", policy_bucket: "plain"},
            users={users[purpose]: policies[purpose] for purpose in STORE_USERS},
            secret_keys={users[purpose]: args.store_secret_keys[purpose] for purpose in STORE_USERS},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.s3.resource]),
        )
        warehouse = resource.digest.apply(
            lambda _: Warehouse(
                endpoint_url=url,
                sts_endpoint_url=url,
                region=store.REGION,
                path_style=True,
                bucket=bucket,
                prefix=args.warehouse_prefix,
                policy_bucket=policy_bucket,
                role_arn=None,
            )
        )

        def user(purpose: str) -> pulumi.Output[StoreUser]:
            secret_key = pulumi.Output.secret(args.store_secret_keys[purpose])
            return pulumi.Output.all(secret_key, resource.digest).apply(
                lambda values: StoreUser(access_key=users[purpose], secret_key=str(values[0]))
            )

        return warehouse, {purpose: user(purpose) for purpose in STORE_USERS}


def database_name(lab: str, purpose: str) -> str:
    """The database of a purpose, which is also its role's name: a lab's name has no underscore, so no
    two labs share one."""
    return f"{lab.replace('-', '_')}_{purpose}"
