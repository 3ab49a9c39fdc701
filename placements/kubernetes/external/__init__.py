"""What a lab on a cluster keeps in servers of the user's own: PostgreSQL, and an S3 store with STS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pulumi

from contracts.errors import UsageError
from contracts.outputs import Database, StoreUser, Warehouse
from contracts.settings import Settings
from contracts.slots import bucket_in, labs_of
from placements.kubernetes.external.servers import Servers
from placements.local.foundation import DATABASES, STORE_USERS, database_name

_SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
_REQUIRED = ("databaseUrl", "objectStoreUrl", "objectStoreKeys")


@dataclass(frozen=True, kw_only=True)
class DatabaseServer:
    """PostgreSQL and a role there that may make databases and roles."""

    host: str
    port: int
    database: str
    role: str
    password: str
    ssl_mode: str
    root_certificate: str


@dataclass(frozen=True, kw_only=True)
class Store:
    """An S3 store, the lab's buckets there, and the access and secret key of each of STORE_USERS."""

    endpoint_url: str
    region: str
    path_style: bool
    bucket: str
    prefix: str
    policy_bucket: str
    keys: Mapping[str, tuple[str, str]]


def check_given(settings: Settings) -> None:
    """Raises UsageError unless database and store are given, which this placement brings none of, and each
    lab with a slot there has keys and buckets of its own."""
    absent = [key for key in _REQUIRED if not settings.values[key]]
    if absent:
        secret = "--secret " if absent[0] != "objectStoreUrl" else ""
        raise UsageError(
            "a lab on a cluster keeps its data in a PostgreSQL and an S3 store of yours, which are not named",
            value=f"not set: {', '.join(absent)}",
            permitted="databaseUrl, objectStoreUrl and objectStoreKeys; or dataServices: inside, which runs "
            "both in the cluster",
            next_command=f"pulumi config set -s persistent {secret}{absent[0]}",
        )
    buckets: dict[str, str] = {}
    access_keys: dict[str, str] = {}
    for lab in labs_of(settings):
        own = store(settings, lab)
        _own_of(lab, "bucket", {own.bucket, own.policy_bucket}, buckets)
        _own_of(lab, "key", {access_key for access_key, _ in own.keys.values()}, access_keys)


def _own_of(lab: str, kind: str, found: set[str], taken: dict[str, str]) -> None:
    """Notes what a lab has of the store. Raises UsageError where another one has it, too."""
    common = sorted(found & taken.keys())
    if common:
        bucket = "lab bootstrap --set warehouseBucket=NAME-{lab} --set policyBucket=OTHER-{lab}"
        key = "pulumi config set -s persistent --secret moreObjectStoreKeys JSON"
        raise UsageError(
            f"labs {taken[common[0]]!r} and {lab!r} would share a {kind} of the S3 store",
            value=common[0],
            permitted=f"each {kind} for one lab",
            next_command=bucket if kind == "bucket" else key,
        )
    taken.update(dict.fromkeys(found, lab))


def database_server(url: str) -> DatabaseServer:
    """Reads ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&sslrootcert=FILE``. Without
    ``sslmode`` the connection is encrypted. Raises UsageError, which never repeats the URL."""
    parts = urlsplit(url)
    try:
        port = parts.port or 5432
    except ValueError:
        port = 0
    query = parse_qs(parts.query)
    ssl_mode = query.pop("sslmode", ["require"])[-1]
    root_certificate = query.pop("sslrootcert", [""])[-1]
    wrong = [
        what
        for what, is_wrong in (
            ("no host", not parts.hostname),
            ("no user", not parts.username),
            ("no password", not parts.password),
            ("no valid port", not 0 < port < 65536),
            (f"sslmode {ssl_mode}, which is none of {', '.join(_SSL_MODES)}", ssl_mode not in _SSL_MODES),
            (
                "sslrootcert is no absolute path",
                bool(root_certificate) and not root_certificate.startswith("/"),
            ),
            (f"unknown options {', '.join(sorted(query))}", bool(query)),
        )
        if is_wrong
    ]
    if wrong:
        raise UsageError(
            f"setting 'databaseUrl' is not understood: {'; '.join(wrong)}",
            permitted="postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full",
            next_command="pulumi config set --secret databaseUrl URL",
        )
    return DatabaseServer(
        host=str(parts.hostname),
        port=port,
        database=unquote(parts.path.lstrip("/")) or "postgres",
        role=unquote(str(parts.username)),
        password=unquote(str(parts.password)),
        ssl_mode=ssl_mode,
        root_certificate=root_certificate,
    )


def store(settings: Settings, lab: str | None = None) -> Store:
    """The store that the settings name, with the buckets and keys there of one lab, the owner's by default.
    Raises UsageError, which never repeats a key."""
    values, lab = settings.values, lab or settings.name
    return Store(
        endpoint_url=str(values["objectStoreUrl"]),
        region=str(values["objectStoreRegion"]),
        path_style=values["objectStorePathStyle"] == "true",
        bucket=bucket_in(settings, lab, "warehouse"),
        prefix=settings.warehouse_prefix,
        policy_bucket=bucket_in(settings, lab, "policy"),
        keys=_keys_of(settings, lab),
    )


def _keys_of(settings: Settings, lab: str) -> dict[str, tuple[str, str]]:
    if lab == settings.name:
        return _keys("objectStoreKeys", _json(str(settings.values["objectStoreKeys"])))
    setting = "moreObjectStoreKeys"
    found = _json(str(settings.values[setting]) or "{}")
    if not isinstance(found, dict) or lab not in found:
        raise UsageError(
            f"lab {lab!r} of moreLabs has no keys of its own in the S3 store",
            value=f"keys for: {', '.join(sorted(found)) or 'nobody'}"
            if isinstance(found, dict)
            else "no JSON",
            permitted='{"LAB": {"catalog": ["ID", "SECRET"], "governor": …, "opa": …}}, each lab by its name',
            next_command=f"pulumi config set -s persistent --secret {setting} JSON",
        )
    return _keys(setting, found[lab])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _keys(setting: str, document: Any) -> dict[str, tuple[str, str]]:
    found = document if isinstance(document, dict) else {}
    pairs = {
        user: (pair[0], pair[1])
        for user, pair in found.items()
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) and part for part in pair)
    }
    if set(pairs) != set(STORE_USERS) or set(found) != set(STORE_USERS):
        raise UsageError(
            f"setting {setting!r} is not understood",
            value=f"pairs of keys for: {', '.join(sorted(pairs)) or 'nobody'}",
            permitted='{"catalog": ["ID", "SECRET"], "governor": ["ID", "SECRET"], "opa": ["ID", "SECRET"]}',
            next_command=f"pulumi config set --secret {setting} JSON",
        )
    return pairs


class ExternalFoundation(pulumi.ComponentResource):
    """One lab's slot in servers that somebody else runs. Destroying it leaves all of it there.

    Attributes:
        databases: by the names of :data:`DATABASES`; resolves once the servers were checked and the database
            is there.
        warehouse: the buckets; resolves once they were checked.
        store_users: by the names of :data:`STORE_USERS`.
        checked: depend on it to come after the checks.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        lab: str,
        database_passwords: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:kubernetes:ExternalFoundation", name, None, opts)
        server = database_server(str(settings.values["databaseUrl"]))
        objects = store(settings, lab)
        names = {purpose: database_name(lab, purpose) for purpose in DATABASES}
        self.checked = Servers(
            f"{lab}-servers",
            server=vars(server),
            store={**vars(objects), "keys": {user: list(pair) for user, pair in objects.keys.items()}},
            databases=list(names.values()),
            passwords={names[purpose]: database_passwords[purpose] for purpose in DATABASES},
            opts=pulumi.ResourceOptions(parent=self),
        )
        digest: pulumi.Output[Any] = self.checked.digest

        def database(purpose: str) -> pulumi.Output[Database]:
            role = names[purpose]
            password = pulumi.Output.secret(database_passwords[purpose])
            return pulumi.Output.all(password, digest).apply(
                lambda values: Database(
                    host=server.host, port=server.port, name=role, role=role, password=str(values[0])
                )
            )

        def user(purpose: str) -> pulumi.Output[StoreUser]:
            access_key, secret_key = objects.keys[purpose]
            known = pulumi.Output.all(pulumi.Output.secret(secret_key), digest)
            return known.apply(lambda values: StoreUser(access_key=access_key, secret_key=str(values[0])))

        self.databases: Mapping[str, pulumi.Output[Database]] = {name: database(name) for name in DATABASES}
        self.store_users: Mapping[str, pulumi.Output[StoreUser]] = {name: user(name) for name in STORE_USERS}
        self.warehouse: pulumi.Output[Warehouse] = digest.apply(
            lambda _: Warehouse(
                endpoint_url=objects.endpoint_url,
                sts_endpoint_url=objects.endpoint_url,
                region=objects.region,
                path_style=objects.path_style,
                bucket=objects.bucket,
                prefix=objects.prefix,
                policy_bucket=objects.policy_bucket,
                role_arn=None,
            )
        )
        self.register_outputs({"databases": list(DATABASES), "store_users": list(STORE_USERS)})
