"""What a lab keeps inside its own cluster: PostgreSQL and an S3 store that narrows sessions, in a namespace
of their own that belongs to the persistent stack (docs/adr/0029)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi

from contracts.errors import UsageError
from contracts.outputs import Backups, Database, StoreUser, Warehouse
from contracts.settings import SETTINGS, Settings, cache_home
from contracts.slots import bucket_in, data_namespace
from contracts.versions import FOUNDATION_IMAGES
from contracts.workload import Deployed
from placements.kubernetes.cluster import Cluster
from placements.kubernetes.external.servers import Servers
from placements.kubernetes.foundation import Namespace
from placements.kubernetes.images import image_references, require_images
from placements.kubernetes.inside.policies import admissions
from placements.kubernetes.inside.services import (
    BACKUP_NAME,
    backup_workload,
    postgres_workload,
    statements,
    store_workload,
)
from placements.kubernetes.layout import first_port, image_of
from placements.kubernetes.naming import Scope
from placements.kubernetes.placement import KubernetesPlacement
from placements.kubernetes.resources import register
from placements.local.foundation import DATABASES, STORE_USERS, database_name, postgres, store
from placements.local.foundation.buckets import ObjectStore
from placements.local.foundation.databases import Databases
from placements.local.ports import service_port
from placements.local.software import PYTHON_ARTIFACT

BACKUP = "backup"
"""What its password and its user of the store are known by, beside DATABASES and STORE_USERS."""
IMAGES = (*FOUNDATION_IMAGES, image_of(BACKUP_NAME, PYTHON_ARTIFACT))
"""Images that run here."""
QUOTA_MEMORY_MIB, QUOTA_CPU_MILLICORES = 2048, 1000

_LOOPBACK = "127.0.0.1"
_PATIENCE_S = 60.0
"""For so long a tunnel may be away."""
_NAME_LENGTH = 63
_OF_EXTERNAL = (
    *("databaseUrl", "objectStoreUrl", "objectStoreKeys", "moreObjectStoreKeys"),
    "objectStorePathStyle",
)


def is_inside(values: Mapping[str, Any]) -> bool:
    """Whether a persistent stack's settings ask for data services in the cluster."""
    return values.get("dataServices") == "inside"


def check_inside(settings: Settings, namespace: str) -> None:
    """Raises UsageError where settings say something that data services inside the cluster can't be, before
    anything is made."""
    values = settings.values
    refuse_given([s.key for s in SETTINGS if s.key in _OF_EXTERNAL and values[s.key] != s.parse(s.default)])
    refuse_shared(values["moreLabs"])
    if len(data_namespace(namespace)) > _NAME_LENGTH:
        raise UsageError(
            "the namespace of the data services would have too long a name",
            value=data_namespace(namespace),
            permitted=f"{_NAME_LENGTH} characters, five of which stand after the lab's namespace",
            next_command=f"pulumi config set namespace lakehouse-{settings.name}",
        )


def refuse_given(keys: Sequence[str]) -> None:
    """Raises UsageError for settings of servers that are not used."""
    if keys:
        raise UsageError(
            f"setting {keys[0]!r} does nothing with data services inside the cluster",
            value=f"dataServices: inside, and {', '.join(keys)}",
            permitted="one or the other",
            next_command=f"pulumi config rm {keys[0]} -s persistent, or "
            "pulumi config set dataServices external -s persistent",
        )


def refuse_shared(more_labs: Sequence[str]) -> None:
    """Raises UsageError where labs would share data services inside the cluster."""
    if more_labs:
        raise UsageError(
            "data services inside the cluster are one lab's: a backup is of the whole server, and restoring "
            "it would take every lab back",
            value=f"dataServices: inside, and moreLabs: {', '.join(more_labs)}",
            permitted="no moreLabs, or a PostgreSQL and an S3 store of yours (dataServices: external)",
            next_command=f"lab --name {more_labs[0]} up --set dataServices=inside, a lab of its own",
        )


class InsideFoundation(pulumi.ComponentResource):
    """Both servers, and the lab's slot in them. Destroying it removes the servers; their volumes go with
    their namespace, which the engine does not remove while ``dataProtect`` holds.

    Attributes:
        databases: by the names of :data:`DATABASES`; resolves once the database is there.
        warehouse: the buckets; resolves once they are there and the store was seen to narrow sessions.
        store_users: by the names of :data:`STORE_USERS`.
        checked: depend on it to come after all of this.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        cluster: Cluster,
        provider: Any,
        admin_password: pulumi.Input[str],
        root_password: pulumi.Input[str],
        database_passwords: Mapping[str, pulumi.Input[str]],
        store_keys: Mapping[str, pulumi.Input[str]],
        certificate: pulumi.Input[str],
        key: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:kubernetes:InsideFoundation", name, None, opts)
        self._settings = settings
        self._child = pulumi.ResourceOptions(parent=self)
        self._admin, self._root = admin_password, root_password
        self._passwords, self._keys = database_passwords, store_keys
        self.scope, self.placement = self._begin(cluster, provider)
        self._names = {purpose: database_name(settings.name, purpose) for purpose in DATABASES}
        self._users = {purpose: f"{settings.name}-{purpose}" for purpose in store_keys}
        server = self._deploy_postgres(certificate, key)
        objects = self._deploy_store()
        made = [self._make_databases(server), self._make_buckets(objects)]
        self.checked = self._check(made)
        self._schedule()
        self.databases, self.store_users, self.warehouse = self._described()
        self.register_outputs({"databases": list(DATABASES), "store_users": list(STORE_USERS)})

    def _begin(self, cluster: Cluster, provider: Any) -> tuple[Scope, KubernetesPlacement]:
        """The namespace with all that holds in it, and the placement of what runs there."""
        settings, values = self._settings, self._settings.values
        protect = values["dataProtect"] == "true"
        namespace = data_namespace(cluster.namespace)
        given = values["imagesFile"]
        images = image_references(Path(given).expanduser() if given else None)
        require_images(IMAGES, images)
        scope = Scope(
            lab=settings.name,
            namespace=namespace,
            stack="persistent",
            storage_class=values["storageClass"],
            pull_secret=values["imagePullSecret"],
        )
        made = Namespace(
            "data-namespace",
            provider=provider,
            scope=scope,
            memory_mib=QUOTA_MEMORY_MIB,
            cpu_millicores=QUOTA_CPU_MILLICORES,
            prefix="data-",
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(protect=protect)),
        )
        options = pulumi.ResourceOptions(parent=self, provider=provider, depends_on=made.objects)
        policies = [
            register(manifest, manifest["metadata"]["name"], options)
            for manifest in admissions(scope, cluster.namespace)
        ]
        placement = KubernetesPlacement(
            cluster=replace(cluster, namespace=namespace),
            scope=scope,
            images=images,
            provider=provider,
            home=settings.home,
            port_base=settings.port_base,
            cache=cache_home(),
            service_order=(),
            after=[*made.objects, *policies],
            protect=protect,
        )
        return scope, placement

    def _deploy_postgres(self, certificate: pulumi.Input[str], key: pulumi.Input[str]) -> Deployed:
        passwords = {self._names[purpose]: self._passwords[purpose] for purpose in DATABASES}
        known: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            admin=self._admin, backup=self._passwords[BACKUP], roles=passwords
        )
        given: pulumi.Output[dict[str, Any]] = pulumi.Output.secret(known)
        workload = postgres_workload(
            self.placement.layout(postgres.SERVICE, postgres.ARTIFACT, ("tcp",)),
            volume_mib=self._settings.values["databaseVolumeMib"],
            given_statements=given.apply(lambda g: statements(g["admin"], g["backup"], g["roles"])),
            certificate=certificate,
            key=key,
        )
        return self.placement.deploy(workload, self._child)

    def _deploy_store(self) -> Deployed:
        workload = store_workload(
            self.placement.layout(store.SERVICE, store.ARTIFACT, ("http",)),
            volume_mib=self._settings.values["objectStoreVolumeMib"],
            region=self._settings.values["objectStoreRegion"],
            root_password=self._root,
        )
        return self.placement.deploy(workload, self._child)

    def _make_databases(self, server: Deployed) -> Databases:
        return Databases(
            f"{self._settings.name}-databases",
            host=_LOOPBACK,
            port=self.operator_port(postgres.SERVICE),
            superuser=postgres.SUPERUSER,
            superuser_password=self._admin,
            databases={name: name for name in self._names.values()},
            passwords={self._names[purpose]: self._passwords[purpose] for purpose in DATABASES},
            patience_s=_PATIENCE_S,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[server.resource]),
        )

    def _make_buckets(self, objects: Deployed) -> ObjectStore:
        bucket, policy_bucket, backups = self.buckets()
        policies = {
            "catalog": store.catalog_policy(bucket=bucket, prefix=self._settings.warehouse_prefix),
            "governor": store.governor_policy(bucket=policy_bucket),
            "opa": store.opa_policy(bucket=policy_bucket),
            BACKUP: store.backup_policy(bucket=backups),
        }
        return ObjectStore(
            f"{self._settings.name}-object-store",
            endpoint=f"{_LOOPBACK}:{self.operator_port(store.SERVICE)}",
            region=self._settings.values["objectStoreRegion"],
            root_user=store.ROOT_USER,
            root_password=self._root,
            buckets={bucket: "versioned", policy_bucket: "plain", backups: "plain"},
            users={self._users[purpose]: policy for purpose, policy in policies.items()},
            secret_keys={self._users[purpose]: self._keys[purpose] for purpose in policies},
            patience_s=_PATIENCE_S,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[objects.resource]),
        )

    def _check(self, made: Sequence[pulumi.Resource]) -> Servers:
        """The same look at both that servers of the user's own get, as the lab's own users: TLS, and sessions
        that are really narrowed."""
        bucket, policy_bucket, _ = self.buckets()
        return Servers(
            f"{self._settings.name}-servers",
            server={
                "host": _LOOPBACK,
                "port": self.operator_port(postgres.SERVICE),
                "database": "postgres",
                "role": postgres.SUPERUSER,
                "password": self._admin,
                "ssl_mode": "require",
                "root_certificate": "",
            },
            store={
                "endpoint_url": self.operator_endpoint_url,
                "region": self._settings.values["objectStoreRegion"],
                "path_style": True,
                "bucket": bucket,
                "prefix": self._settings.warehouse_prefix,
                "policy_bucket": policy_bucket,
                "keys": {purpose: [self._users[purpose], self._keys[purpose]] for purpose in STORE_USERS},
            },
            databases=(),
            passwords={},
            patience_s=_PATIENCE_S,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(made)),
        )

    def _schedule(self) -> None:
        """Backups at their times, once there is something to back up and a place for it."""
        values, placement = self._settings.values, self.placement
        workload = backup_workload(
            placement.layout(BACKUP_NAME, PYTHON_ARTIFACT, ()),
            keep=values["backupKeep"],
            database=(self.scope.host(postgres.SERVICE), first_port(postgres.SERVICE)),
            database_password=self._passwords[BACKUP],
            endpoint_url=placement.internal_url(store.SERVICE, "http"),
            region=values["objectStoreRegion"],
            bucket=self.buckets()[2],
            access_key=self._users[BACKUP],
            secret_key=self._keys[BACKUP],
        )
        after = pulumi.ResourceOptions(depends_on=[self.checked])
        placement.repeat(workload, values["backupSchedule"], pulumi.ResourceOptions.merge(self._child, after))

    @property
    def backups(self) -> pulumi.Output[Backups]:
        """Where backups are, as the operator's machine reaches them."""
        known: pulumi.Output[Any] = pulumi.Output.all(
            pulumi.Output.secret(self._keys[BACKUP]), self.checked.digest
        )
        return known.apply(
            lambda values: Backups(
                endpoint_url=self.operator_endpoint_url,
                region=self._settings.values["objectStoreRegion"],
                bucket=self.buckets()[2],
                access_key=self._users[BACKUP],
                secret_key=str(values[0]),
            )
        )

    def _described(
        self,
    ) -> tuple[
        Mapping[str, pulumi.Output[Database]],
        Mapping[str, pulumi.Output[StoreUser]],
        pulumi.Output[Warehouse],
    ]:
        digest: pulumi.Output[Any] = self.checked.digest
        bucket, policy_bucket, _ = self.buckets()
        host, port = self.scope.host(postgres.SERVICE), first_port(postgres.SERVICE)

        def database(purpose: str) -> pulumi.Output[Database]:
            name = self._names[purpose]
            password = pulumi.Output.secret(self._passwords[purpose])
            return pulumi.Output.all(password, digest).apply(
                lambda values: Database(host=host, port=port, name=name, role=name, password=str(values[0]))
            )

        def user(purpose: str) -> pulumi.Output[StoreUser]:
            secret_key = pulumi.Output.secret(self._keys[purpose])
            return pulumi.Output.all(secret_key, digest).apply(
                lambda values: StoreUser(access_key=self._users[purpose], secret_key=str(values[0]))
            )

        url = self.placement.internal_url(store.SERVICE, "http")
        warehouse = digest.apply(
            lambda _: Warehouse(
                endpoint_url=url,
                sts_endpoint_url=url,
                region=self._settings.values["objectStoreRegion"],
                path_style=True,
                bucket=bucket,
                prefix=self._settings.warehouse_prefix,
                policy_bucket=policy_bucket,
                role_arn=None,
                operator_endpoint_url=self.operator_endpoint_url,
            )
        )
        return (
            {purpose: database(purpose) for purpose in DATABASES},
            {purpose: user(purpose) for purpose in STORE_USERS},
            warehouse,
        )

    @property
    def operator_endpoint_url(self) -> str:
        """The store at its tunnel's end."""
        return f"http://{_LOOPBACK}:{self.operator_port(store.SERVICE)}"

    def operator_port(self, service: str) -> int:
        """The loopback port of a service's tunnel."""
        return service_port(self._settings.port_base, (), service, 0)

    def buckets(self) -> tuple[str, str, str]:
        """Of tables, of access bundles, and of backups."""
        settings, lab = self._settings, self._settings.name
        return bucket_in(settings, lab, "warehouse"), bucket_in(settings, lab, "policy"), f"{lab}-{BACKUP}"
