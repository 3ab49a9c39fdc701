"""What the stacks export: the public contract between them and to tools (DESIGN §4).

Output names are public; renaming one is a changelog entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from contracts.errors import LabError


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database and the role that owns it."""

    host: str
    port: int
    name: str
    role: str
    password: str

    @property
    def jdbc_url(self) -> str:
        """For Java services; the password goes apart."""
        return f"jdbc:postgresql://{self.host}:{self.port}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """The object store as services and tools reach it, and the bucket and prefix of Iceberg data.
    ``operator_endpoint_url`` is where the operator's machine reaches it, None where that is the same."""

    endpoint_url: str
    sts_endpoint_url: str
    region: str
    path_style: bool
    bucket: str
    prefix: str
    policy_bucket: str
    role_arn: str | None
    operator_endpoint_url: str | None = None

    @property
    def location(self) -> str:
        """``s3://bucket/prefix`` without a trailing slash."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, kw_only=True)
class StoreUser:
    """An identity in the object store: a pair of keys, or, both empty, the IAM role that the workload has
    there by itself."""

    access_key: str
    secret_key: str
    role_arn: str | None = None


@dataclass(frozen=True, kw_only=True)
class Backups:
    """The bucket of backups as the operator's machine reaches it, and the store's user for it."""

    endpoint_url: str
    region: str
    bucket: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class Pki:
    """The lab's certificate authority and one server certificate (PEM). The authority's own key stays
    in the persistent stack."""

    ca_certificate: str
    server_certificate: str
    server_key: str


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Random values kept data remembers. All are secret outputs."""

    keycloak_admin_client_secret: str
    client_secrets: Mapping[str, str]
    persona_passwords: Mapping[str, str]
    catalog_root_secret: str
    catalog_token_private_key: str
    catalog_token_public_key: str
    bundle_signing_private_key: str
    bundle_signing_public_key: str
    encryption_key: str
    opa_token: str
    audit_trino_token: str
    audit_opa_token: str
    trino_internal_secret: str
    hash_salt: str


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What one lab owns in the persistent stack."""

    catalog_database: Database
    keycloak_database: Database
    governance_database: Database
    masking_database: Database
    control_plane_database: Database
    agent_database: Database
    warehouse: Warehouse
    catalog_store_user: StoreUser
    governor_store_user: StoreUser
    opa_store_user: StoreUser
    pki: Pki
    secrets: Secrets


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a lab stack puts a cluster into: subnets and route tables in the order of ``zones``, and the key
    that encrypts what is the lab's. ``shared_nat``: the way out of the private subnets is there for all labs;
    where it is not (False, or None of a stack of before) each lab brings its own."""

    region: str
    account_id: str
    vpc_id: str
    cidr: str
    zones: tuple[str, ...]
    private_subnet_ids: tuple[str, ...]
    public_subnet_ids: tuple[str, ...]
    private_route_table_ids: tuple[str, ...]
    key_arn: str
    shared_nat: bool | None = None


@dataclass(frozen=True, kw_only=True)
class PersistentOutputs:
    """Exports of the persistent stack. ``catalog_kind`` is pinned there and never flips by itself. ``lab`` is
    the lab that owns it, None from one that was made before it was an output; ``slots`` are by lab.
    ``cluster_id`` is the UID of the namespace kube-system of the cluster it was made on, None on none;
    ``ingress_domain`` is what its certificate is for beside the services' own names. ``backups`` is where
    those of data services inside a cluster are, None where there are none. ``network`` and
    ``ci_role_arns`` (``preview``, ``deploy``, and ``deploy-NAME`` for each further lab) are those of
    placement aws, None on others."""

    placement: str
    catalog_kind: str
    slots: Mapping[str, Slot]
    lab: str | None = None
    cluster_id: str | None = None
    ingress_domain: str | None = None
    backups: Backups | None = None
    network: Network | None = None
    ci_role_arns: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class LabOutputs:
    """Exports of the lab stack: where the operator's machine reaches things; no secret. ``catalog_uri`` is
    for services, ``raw_catalog_uri`` for people and the engines that act for them. ``component_urls`` has the
    first address of every component by its name, ``public_urls`` where people reach those that are published;
    None from a lab that was brought up before it was an output, as for ``raw_catalog_uri`` and
    ``realm_url``. ``store_url`` is where files are read and written from here, None where the catalog names
    that address itself."""

    lab: str
    catalog_kind: str
    catalog_uri: str
    raw_catalog_uri: str | None = None
    catalog_warehouse: str
    issuer_url: str
    realm_url: str | None = None
    governor_url: str
    opa_url: str
    trino_url: str | None
    components: tuple[str, ...]
    component_urls: Mapping[str, str] | None = None
    public_urls: Mapping[str, str] | None = None
    store_url: str | None = None
    ca_certificate: str

    @property
    def own_realm_url(self) -> str:
        """Where the operator's machine reaches the realm: the issuer may be published elsewhere."""
        return self.realm_url or self.issuer_url

    @property
    def file_properties(self) -> dict[str, str]:
        """What pyiceberg has to be told here of the store, beside what the catalog tells it."""
        return {"s3.endpoint": self.store_url} if self.store_url else {}

    @property
    def users_catalog_uri(self) -> str:
        """Where people and their engines reach the catalog."""
        return self.raw_catalog_uri or self.catalog_uri


T = TypeVar("T")


def to_exports(value: Any) -> Any:
    """A dataclass as plain dicts and lists, the form that a stack exports."""
    return dataclasses.asdict(value)


def from_exports(kind: type[T], document: Any, *, path: str = "", next_command: str = "lab bootstrap") -> T:
    """Reads ``document`` as ``kind``, recursively.

    Raises:
        LabError: an output is missing or has another type; names its path and ``next_command``.
    """
    if not isinstance(document, Mapping):
        raise LabError(f"the stack's output {path or kind.__name__!r} is missing", next_command=next_command)
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]  # T is one of the dataclasses above
        where = f"{path}.{item.name}" if path else item.name
        if item.name not in document:
            if type(None) in get_args(hints[item.name]):  # the engine drops null outputs
                values[item.name] = None
                continue
            raise LabError(f"the stack's output {where!r} is missing", next_command=next_command)
        values[item.name] = _read(hints[item.name], document[item.name], where, next_command)
    return kind(**values)


def _read(hint: Any, value: Any, where: str, next_command: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_exports(hint, value, path=where, next_command=next_command)
    arguments = get_args(hint)
    if type(None) in arguments:
        if value is None:
            return None
        return _read(next(a for a in arguments if a is not type(None)), value, where, next_command)
    origin = getattr(hint, "__origin__", hint)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise LabError(f"the stack's output {where!r} is not a mapping", next_command=next_command)
        return {str(k): _read(arguments[1], v, f"{where}.{k}", next_command) for k, v in value.items()}
    if origin is tuple:
        return tuple(_read(arguments[0], v, f"{where}[{i}]", next_command) for i, v in enumerate(value))
    if origin is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, origin):
        raise LabError(
            f"the stack's output {where!r} is not of type {origin.__name__}", next_command=next_command
        )
    return value
