"""Rows of :data:`contracts.settings.SETTINGS` that only a placement on a cluster reads."""

from __future__ import annotations

from contracts.aws_settings import AWS_SETTINGS
from contracts.setting_values import (
    Role,
    Setting,
    choice,
    cron,
    folder,
    integer,
    lab_names,
    matching,
    text_mapping,
)

_BOTH = frozenset(Role)
_PERSISTENT = frozenset({Role.PERSISTENT})
_LAB = frozenset({Role.LAB})
_KUBERNETES = ("kubernetes",)
_CLUSTERS = ("kubernetes", "aws")

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_BUCKET = matching(
    r"(?=.{3,63}$)([a-z0-9]|\{lab\})([a-z0-9.-]|\{lab\})*([a-z0-9]|\{lab\})|",
    "a bucket's name, {lab} in it for the lab's, or nothing",
)

CLUSTER_SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="moreLabs",
        roles=_PERSISTENT,
        default="",
        example="team-b,ci",
        parse=lab_names,
        placements=_CLUSTERS,
        doc="further labs that have a slot in this persistent stack, with databases, roles, "
        "secrets, a part of the warehouse, identities and a namespace of their own. Each comes up with "
        "`lab --name NAME up --shares OWNER`.",
    ),
    Setting(
        key="kubeconfig",
        roles=_BOTH,
        default="",
        example="~/.kube/config",
        parse=folder,
        placements=_KUBERNETES,
        doc="file that says how the cluster is reached. Empty: as kubectl finds it (KUBECONFIG, "
        "~/.kube/config).",
    ),
    Setting(
        key="kubeContext",
        roles=_BOTH,
        default="",
        example="on-prem",
        parse=matching(r"\S*", "a context of the kubeconfig, or nothing"),
        placements=_KUBERNETES,
        doc="the context to use. Empty: the kubeconfig's current one.",
    ),
    Setting(
        key="clusterId",
        roles=_BOTH,
        default="",
        example="6f1f6c2e-7b0e-4a53-9d0b-0a4f6d1b8a11",
        parse=matching(r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?", "a UID, or nothing"),
        placements=_KUBERNETES,
        doc="UID of the namespace kube-system of this lab's cluster; any other cluster is "
        "refused. Empty: not compared.",
    ),
    Setting(
        key="namespace",
        roles=_BOTH,
        default="",
        example="lakehouse-lab",
        parse=matching(f"({_LABEL})?", "lower-case letters, digits and hyphens, or nothing"),
        placements=_CLUSTERS,
        doc="the lab's own namespace. Empty: lakehouse-<name>, which those of moreLabs have in any case.",
    ),
    Setting(
        key="quotaMemoryMib",
        roles=_BOTH,
        default="16384",
        example="65536",
        parse=integer(4096, 16777216),
        placements=_CLUSTERS,
        doc="MiB of memory that all pods of a lab may request together.",
    ),
    Setting(
        key="quotaCpuMillicores",
        roles=_BOTH,
        default="8000",
        example="32000",
        parse=integer(1000, 10000000),
        placements=_CLUSTERS,
        doc="thousandths of a processor that all pods of a lab may request together.",
    ),
    Setting(
        key="imagesFile",
        roles=_BOTH,
        default="",
        example="~/lab-images.json",
        parse=folder,
        placements=_CLUSTERS,
        doc="JSON file with the reference of each image by digest. Without one nothing is deployed.",
    ),
    Setting(
        key="imagePullSecret",
        roles=_BOTH,
        default="",
        example="registry",
        parse=matching(f"({_LABEL})?", "a secret's name, or nothing"),
        placements=_KUBERNETES,
        doc="secret in the namespace with which images are pulled. Empty: none.",
    ),
    Setting(
        key="storageClass",
        roles=_BOTH,
        default="",
        example="standard",
        parse=matching(r"[a-z0-9.-]*", "a storage class, or nothing"),
        placements=_KUBERNETES,
        doc="storage class of the volumes that are retained. Empty: the cluster's default.",
    ),
    Setting(
        key="nodeClasses",
        roles=_LAB,
        default="preferred",
        example="required",
        parse=choice("preferred", "required"),
        placements=_KUBERNETES,
        doc="whether pods prefer or require nodes that the label lakehouse-lab/class gives to "
        "their class: system, query or batch. A taint of that name is tolerated.",
    ),
    Setting(
        key="trinoWorkers",
        roles=_LAB,
        default="0",
        example="2",
        parse=integer(0, 500),
        placements=_CLUSTERS,
        doc="Trino's workers beside its coordinator, each with a heap of trinoHeapMib. 0: the "
        "coordinator works alone.",
    ),
    Setting(
        key="trinoMaxWorkers",
        roles=_LAB,
        default="0",
        example="6",
        parse=integer(0, 500),
        placements=_CLUSTERS,
        doc="up to how many workers Trino gets when trinoWorkers are busy; the cluster needs a "
        "metrics server for it. 0: no more than trinoWorkers.",
    ),
    Setting(
        key="trinoDrainS",
        roles=_LAB,
        default="600",
        example="3600",
        parse=integer(60, 86400),
        placements=_CLUSTERS,
        doc="seconds that a worker which is taken away may go on with the queries it works on.",
    ),
    Setting(
        key="ingressDomain",
        roles=_BOTH,
        default="",
        example="lab.example.org",
        parse=matching(rf"({_LABEL}(\.{_LABEL})+)?", "a domain's name, or nothing"),
        placements=_KUBERNETES,
        doc="domain below which an Ingress publishes what people use: keycloak, trino, "
        "control-plane and agent. Empty: nothing is published.",
    ),
    Setting(
        key="ingressNamespace",
        roles=_LAB,
        default="",
        example="ingress-nginx",
        parse=matching(f"({_LABEL})?", "a namespace's name, or nothing"),
        placements=_KUBERNETES,
        doc="the namespace in which the pods of the cluster's ingress controller run; no others "
        "are let through. Needed with ingressDomain.",
    ),
    Setting(
        key="ingressClass",
        roles=_LAB,
        default="",
        example="nginx",
        parse=matching(r"[a-z0-9.-]*", "an IngressClass, or nothing"),
        placements=_KUBERNETES,
        doc="the class of the ingresses. Empty: the cluster's default.",
    ),
    Setting(
        key="ingressTls",
        roles=_LAB,
        default="lab",
        example="cluster-issuer:letsencrypt",
        parse=matching(
            rf"lab|(secret|issuer|cluster-issuer):{_LABEL}",
            "lab, secret:NAME, issuer:NAME or cluster-issuer:NAME",
        ),
        placements=_KUBERNETES,
        doc="certificate of the ingresses: of the lab's own authority (lab), in a secret of the "
        "namespace that you made (secret:NAME), or made by cert-manager (issuer:NAME, cluster-issuer:NAME).",
    ),
    Setting(
        key="ingressAnnotations",
        roles=_LAB,
        default="{}",
        example='{"nginx.ingress.kubernetes.io/proxy-body-size": "64m"}',
        parse=text_mapping,
        placements=_KUBERNETES,
        doc="JSON object of annotations that every ingress gets.",
    ),
    Setting(
        key="dataServices",
        roles=_PERSISTENT,
        default="external",
        example="inside",
        parse=choice("external", "inside"),
        placements=_KUBERNETES,
        doc="where the lab's databases and objects are kept: in a PostgreSQL and an S3 store of yours, "
        "named by databaseUrl, objectStoreUrl and objectStoreKeys (external), or in a PostgreSQL and a MinIO "
        "that the persistent stack runs in the namespace <namespace>-data of the same cluster (inside).",
    ),
    Setting(
        key="dataProtect",
        roles=_PERSISTENT,
        default="true",
        example="false",
        parse=choice("true", "false"),
        placements=_KUBERNETES,
        doc="whether the engine refuses to remove the data services inside the cluster, their namespace and "
        "their volumes.",
    ),
    Setting(
        key="databaseVolumeMib",
        roles=_PERSISTENT,
        default="10240",
        example="51200",
        parse=integer(1024, 16777216),
        placements=_KUBERNETES,
        doc="MiB of the volume of the PostgreSQL inside the cluster, once it is made.",
    ),
    Setting(
        key="objectStoreVolumeMib",
        roles=_PERSISTENT,
        default="51200",
        example="512000",
        parse=integer(1024, 1073741824),
        placements=_KUBERNETES,
        doc="MiB of the volume of the MinIO inside the cluster, once it is made: tables, their old versions "
        "and backups.",
    ),
    Setting(
        key="backupSchedule",
        roles=_PERSISTENT,
        default="17 2 * * *",
        example="17 */6 * * *",
        parse=cron,
        placements=_KUBERNETES,
        doc="when the PostgreSQL inside the cluster is backed up: minute, hour, day, month and weekday, as "
        "a Kubernetes CronJob has them, in UTC. Empty: by `lab backup` alone.",
    ),
    Setting(
        key="backupKeep",
        roles=_PERSISTENT,
        default="7",
        example="30",
        parse=integer(1, 1000),
        placements=_KUBERNETES,
        doc="how many backups are kept; an older one goes when a newer one is whole.",
    ),
    Setting(
        key="databaseUrl",
        roles=_PERSISTENT,
        default="",
        example="postgresql://admin:PASSWORD@db.example:5432/postgres?sslmode=verify-full",
        parse=matching(r"(postgres(ql)?://\S+)?", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        placements=_KUBERNETES,
        doc="PostgreSQL 16 or newer and a role there that may make databases and roles. "
        "pulumi config set --secret.",
        secret=True,
    ),
    Setting(
        key="objectStoreUrl",
        roles=_PERSISTENT,
        default="",
        example="https://s3.example",
        parse=matching(r"(https?://[^/\s]+)?", "https://HOST[:PORT]"),
        placements=_KUBERNETES,
        doc="an S3 store whose STS enforces session policies. http is accepted, and nothing on "
        "the way to such a store is private.",
    ),
    Setting(
        key="objectStoreRegion",
        roles=_PERSISTENT,
        default="us-east-1",
        example="eu-central-1",
        parse=matching(r"[a-z0-9-]+", "a region's name"),
        placements=_KUBERNETES,
        doc="region of the S3 store, as its signatures name it.",
    ),
    Setting(
        key="objectStorePathStyle",
        roles=_PERSISTENT,
        default="true",
        example="false",
        parse=choice("true", "false"),
        placements=_KUBERNETES,
        doc="whether buckets are parts of the store's paths (true) or of its host name (false).",
    ),
    Setting(
        key="warehouseBucket",
        roles=_PERSISTENT,
        default="",
        example="team-warehouse",
        parse=_BUCKET,
        placements=_KUBERNETES,
        doc="existing bucket of Iceberg data, in which {lab} stands for the lab's name; without "
        "it those of moreLabs have <name>-warehouse, as all do where this is empty.",
    ),
    Setting(
        key="policyBucket",
        roles=_PERSISTENT,
        default="",
        example="team-policy",
        parse=_BUCKET,
        placements=_KUBERNETES,
        doc="existing bucket of access bundles; {lab} as in warehouseBucket. Empty: <name>-policy.",
    ),
    Setting(
        key="objectStoreKeys",
        roles=_PERSISTENT,
        default="",
        example='{"catalog": ["ID", "SECRET"], "governor": ["ID", "SECRET"], "opa": ["ID", "SECRET"]}',
        parse=str,
        placements=_KUBERNETES,
        doc="JSON with the access key and secret key of catalog (reads and writes the warehouse, "
        "may AssumeRole), governor (writes bundles) and opa (reads bundles). pulumi config set --secret.",
        secret=True,
    ),
    Setting(
        key="moreObjectStoreKeys",
        roles=_PERSISTENT,
        default="",
        example='{"team-b": {"catalog": ["ID", "SECRET"], "governor": ["ID", "SECRET"], "opa": …}}',
        parse=str,
        placements=_KUBERNETES,
        doc="JSON with the same for each lab of moreLabs, by its name: no two labs have a key in common. "
        "pulumi config set --secret.",
        secret=True,
    ),
    *AWS_SETTINGS,
)
