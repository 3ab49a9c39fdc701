"""Trino's configuration as pure functions, one per generated file (https://trino.io/docs/476/).

``${ENV:NAME}`` is Trino's own expansion of the environment, which alone holds secrets.
"""

from __future__ import annotations

from components.java import java_command, properties
from contracts.queues import QUEUES_SCHEMA, TRINO_ENVIRONMENT
from contracts.workload import Layout

DRAIN_PERIOD_S = 15
"""How long a worker waits twice while it shuts down: until the coordinator gives it no more work, and until
that has seen how the last of it ended. It looks every few seconds."""

CLOCK_SKEW_S = 20
"""How far Keycloak's clock and Trino's may be apart."""

QUEUES_REFRESH_S = 5
"""How soon a changed quota is Trino's."""


def config(layout: Layout, *, issuer_url: str, realm_url: str, heap_mib: int, workers: int = 0) -> str:
    """``config.properties`` of the coordinator: HTTPS and OAuth2 for clients. One without ``workers`` (their
    largest number) does their work itself, and speaks to itself alone: in plain HTTP, behind the internal
    secret."""
    if workers:
        address = internal_tls(f"https://{layout.host}:{layout.ports['https']}")
    else:
        address = {
            "node.internal-address": layout.host,
            "http-server.http.port": str(layout.ports["internal"]),
            "discovery.uri": f"http://{layout.host}:{layout.ports['internal']}",
        }
    return properties(
        {
            "node.environment": TRINO_ENVIRONMENT,
            "node.id": "coordinator",
            "node.bind-ip": layout.bind_address,
            "coordinator": "true",
            "node-scheduler.include-coordinator": "false" if workers else "true",
            "catalog.management": "static",
            "catalog.config-dir": str(layout.files_dir / "catalog"),
            "plugin.dir": f"{layout.artifact_dir}/plugin",
            "hide-inaccessible-columns": "true",
            "access-control.config-files": layout.file("access-control.properties"),
            "event-listener.config-files": layout.file("event-listener.properties"),
            **address,
            "http-server.https.enabled": "true",
            "http-server.https.port": str(layout.ports["https"]),
            "http-server.https.keystore.path": layout.file("server.pem"),
            # Its absolute addresses are those that people asked for.
            **({"http-server.process-forwarded": "true"} if layout.proxied else {}),
            "internal-communication.shared-secret": "${ENV:TRINO_INTERNAL_SECRET}",
            **authentication(issuer_url=issuer_url, realm_url=realm_url),
            **limits(heap_mib, nodes=max(1, workers)),
        }
    )


def worker_config(
    layout: Layout, *, coordinator_url: str, issuer_url: str, realm_url: str, heap_mib: int, workers: int
) -> str:
    """``config.properties`` of a worker, which takes work from whoever knows the internal secret, and for the
    rest asks for the same tokens as the coordinator
    (https://trino.io/docs/476/installation/deployment.html). Its identifier is made anew at each start."""
    return properties(
        {
            "node.environment": TRINO_ENVIRONMENT,
            "node.bind-ip": layout.bind_address,
            "coordinator": "false",
            "catalog.management": "static",
            "catalog.config-dir": str(layout.files_dir / "catalog"),
            "plugin.dir": f"{layout.artifact_dir}/plugin",
            "access-control.config-files": layout.file("access-control.properties"),
            **internal_tls(coordinator_url),
            "http-server.https.enabled": "true",
            "http-server.https.port": str(layout.ports["https"]),
            "internal-communication.shared-secret": "${ENV:TRINO_INTERNAL_SECRET}",
            **worker_authentication(issuer_url=issuer_url, realm_url=realm_url),
            "shutdown.grace-period": f"{DRAIN_PERIOD_S}s",
            **limits(heap_mib, nodes=workers),
        }
    )


def internal_tls(coordinator_url: str) -> dict[str, str]:
    """Between coordinator and workers: TLS alone, with certificates for their addresses that they derive from
    the internal secret (https://trino.io/docs/476/security/internal-communication.html). The coordinator's
    name has to lead to its own address."""
    return {
        "http-server.http.enabled": "false",
        "internal-communication.https.required": "true",
        "discovery.uri": coordinator_url,
    }


def authentication(*, issuer_url: str, realm_url: str) -> dict[str, str]:
    """OAuth2: bearer tokens are accepted as they are, browsers are sent to Keycloak, groups come from
    the token. Endpoints are given, not discovered, so that Trino starts beside Keycloak."""
    oauth2 = "http-server.authentication.oauth2"
    public = f"{issuer_url}/protocol/openid-connect"
    internal = f"{realm_url}/protocol/openid-connect"
    return {
        "http-server.authentication.type": "oauth2",
        "http-server.authentication.allow-insecure-over-http": "false",
        "web-ui.authentication.type": "oauth2",
        f"{oauth2}.issuer": issuer_url,
        f"{oauth2}.oidc.discovery": "false",
        f"{oauth2}.auth-url": f"{public}/auth",
        f"{oauth2}.token-url": f"{internal}/token",
        f"{oauth2}.jwks-url": f"{internal}/certs",
        f"{oauth2}.end-session-url": f"{public}/logout",
        f"{oauth2}.client-id": "trino",
        f"{oauth2}.client-secret": "${ENV:TRINO_CLIENT_SECRET}",
        f"{oauth2}.scopes": "openid",
        f"{oauth2}.principal-field": "preferred_username",
        # A minute unless it is set: that long a token that has ended would still be believed.
        f"{oauth2}.max-clock-skew": f"{CLOCK_SKEW_S}s",
        "deprecated.http-server.authentication.oauth2.groups-field": "groups",
    }


def worker_authentication(*, issuer_url: str, realm_url: str) -> dict[str, str]:
    """The same tokens on a worker, which has no OAuth2: else it would believe whatever name it is told."""
    tokens = "http-server.authentication.jwt"
    return {
        "http-server.authentication.type": "jwt",
        "http-server.authentication.allow-insecure-over-http": "false",
        f"{tokens}.key-file": f"{realm_url}/protocol/openid-connect/certs",
        f"{tokens}.required-issuer": issuer_url,
        f"{tokens}.required-audience": "trino",
        f"{tokens}.principal-field": "preferred_username",
    }


def limits(heap_mib: int, *, nodes: int = 1) -> dict[str, str]:
    """Memory that fits the heap: a third of it is headroom for what Trino does not track. A query may use
    that of all ``nodes`` that work."""
    headroom = max(192, heap_mib // 4)
    per_node = (heap_mib - headroom) * 2 // 3
    return {
        "memory.heap-headroom-per-node": f"{headroom}MB",
        "query.max-memory-per-node": f"{per_node}MB",
        "query.max-memory": f"{per_node * nodes}MB",
        "task.concurrency": "2",
        "task.max-writer-count": "2",
        "task.max-worker-threads": "4",
        "query.min-expire-age": "30m",
        "query.max-history": "200",
        "spill-enabled": "false",
    }


def access_control(opa_url: str) -> str:
    """``access-control.properties`` (https://trino.io/docs/476/security/opa-access-control.html)."""
    decisions = f"{opa_url}/v1/data/lab/trino"
    return properties(
        {
            "access-control.name": "opa",
            "opa.policy.uri": f"{decisions}/allow",
            "opa.policy.batched-uri": f"{decisions}/batch",
            "opa.policy.row-filters-uri": f"{decisions}/rowFilters",
            "opa.policy.batch-column-masking-uri": f"{decisions}/columnMasks",
            "opa.allow-permission-management-operations": "false",
            "opa.log-requests": "false",
            "opa.log-responses": "false",
            # A query is denied when its decision can't be had: a slow machine gets more than 5 s to connect,
            # and connections are not made anew after each quiet minute.
            "opa.http-client.connect-timeout": "30s",
            "opa.http-client.idle-timeout": "10m",
            "opa.http-client.destination-idle-timeout": "10m",
        }
    )


def event_listener(audit_url: str) -> str:
    """``event-listener.properties``: every query's beginning and end to the governor's collector
    (https://trino.io/docs/476/admin/event-listeners-http.html). Attempts go on for some forty minutes."""
    listener = "http-event-listener"
    return properties(
        {
            "event-listener.name": "http",
            f"{listener}.log-created": "true",
            f"{listener}.log-completed": "true",
            f"{listener}.log-split": "false",
            f"{listener}.connect-ingest-uri": f"{audit_url}/v1/audit/queries",
            f"{listener}.connect-http-headers": "Authorization:Bearer ${ENV:TRINO_AUDIT_TOKEN}",
            f"{listener}.connect-retry-count": "45",
            f"{listener}.connect-retry-delay": "1s",
            f"{listener}.connect-backoff-base": "2",
            f"{listener}.connect-max-delay": "1m",
        }
    )


def lake_catalog(*, catalog_uri: str, warehouse: str, token_url: str, min_retention_days: int) -> str:
    """``catalog/lake.properties``: Iceberg over REST with this engine's own identity. Procedures that
    adopt foreign files are off; those that delete keep ``min_retention_days``, whoever asks."""
    rest = "iceberg.rest-catalog"
    return properties(
        {
            "connector.name": "iceberg",
            "iceberg.catalog.type": "rest",
            f"{rest}.uri": catalog_uri,
            f"{rest}.warehouse": warehouse,
            f"{rest}.security": "OAUTH2",
            f"{rest}.oauth2.credential": "trino:${ENV:TRINO_CLIENT_SECRET}",
            f"{rest}.oauth2.server-uri": token_url,
            f"{rest}.oauth2.scope": "profile",
            # Each call of the catalog gets a token of its own. Refreshed, every one of them would ask for
            # another each few minutes for an hour after.
            f"{rest}.oauth2.token-refresh-enabled": "false",
            f"{rest}.vended-credentials-enabled": "true",
            f"{rest}.nested-namespace-enabled": "true",
            "iceberg.register-table-procedure.enabled": "false",
            "iceberg.add-files-procedure.enabled": "false",
            "iceberg.expire-snapshots.min-retention": f"{min_retention_days}d",
            "iceberg.remove-orphan-files.min-retention": f"{min_retention_days}d",
            "fs.native-s3.enabled": "true",
            "s3.endpoint": "${ENV:S3_ENDPOINT_URL}",
            "s3.region": "${ENV:S3_REGION}",
            "s3.path-style-access": "${ENV:S3_PATH_STYLE}",
            "s3.streaming.part-size": "8MB",
            "parquet.writer.block-size": "32MB",
        }
    )


def masking_catalog() -> str:
    """``catalog/masking.properties``: the hash mask's key, which the identity ``$row-filter`` alone may read
    (https://trino.io/docs/476/connector/postgresql.html). What the connector asks about the table is kept
    for an hour, so that a masked query costs one connection."""
    return properties(
        {
            "connector.name": "postgresql",
            "connection-url": "${ENV:TRINO_MASKING_JDBC_URL}?options=-c%20default_transaction_read_only=on",
            "connection-user": "${ENV:TRINO_MASKING_ROLE}",
            "connection-password": "${ENV:TRINO_MASKING_PASSWORD}",
            "metadata.cache-ttl": "1h",
            "statistics.enabled": "false",
        }
    )


def resource_groups() -> str:
    """``etc/resource-groups.properties``: queues by workspace, which the governor writes
    (https://trino.io/docs/476/admin/resource-groups.html). While PostgreSQL is away those read last hold, for
    an hour."""
    groups = "resource-groups"
    return properties(
        {
            f"{groups}.configuration-manager": "db",
            f"{groups}.config-db-url": "${ENV:TRINO_MASKING_JDBC_URL}?currentSchema="
            f"{QUEUES_SCHEMA}&options=-c%20default_transaction_read_only=on",
            f"{groups}.config-db-user": "${ENV:TRINO_MASKING_ROLE}",
            f"{groups}.config-db-password": "${ENV:TRINO_MASKING_PASSWORD}",
            f"{groups}.db-migrations-enabled": "false",
            f"{groups}.refresh-interval": f"{QUEUES_REFRESH_S}s",
            f"{groups}.max-refresh-interval": "1h",
        }
    )


def log_levels() -> str:
    """``log.properties``."""
    return properties({"io.trino": "INFO", "org.apache.iceberg": "WARN"})


def command(layout: Layout, *, heap_mib: int) -> list[str]:
    """The server's main class without its launcher, so that the pid is the service's. The launcher's
    ``--add-modules=jdk.incubator.vector`` is left out: Trino runs without it."""
    return [
        *java_command(
            layout,
            heap_mib=heap_mib,
            collector="-XX:+UseG1GC",
            options=(
                "-XX:G1HeapRegionSize=4M",
                "-XX:-OmitStackTraceInFastThrow",
                "-XX:ReservedCodeCacheSize=192M",
                "-Djdk.attach.allowAttachSelf=true",
                "-Dfile.encoding=UTF-8",
                "-XX:+EnableDynamicAgentLoading",
                f"-Dconfig={layout.file('config.properties')}",
                # Below it Trino looks for etc/resource-groups.properties, whose place has no setting.
                f"-Duser.dir={layout.files_dir}",
                f"-Dlog.levels-file={layout.file('log.properties')}",
            ),
        ),
        "-cp",
        f"{layout.artifact_dir}/lib/*",
        "io.trino.server.TrinoServer",
    ]
