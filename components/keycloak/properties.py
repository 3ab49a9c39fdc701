"""Keycloak's configuration as pure functions (https://www.keycloak.org/server/all-config)."""

from __future__ import annotations

from collections.abc import Mapping

from components.java import java_command
from contracts.workload import Layout

ADMIN_CLIENT_ID = "lab-bootstrap"
"""The service account in realm ``master`` that Keycloak makes on its first start."""

OPENED_PACKAGES = ("util", "util.concurrent", "security", "lang")


def command(layout: Layout) -> list[str]:
    """Runs the augmented server without its shell script, so that its pid is the service's, on a home
    below the scratch folder; the options are those of the script."""
    distribution, home = layout.artifact_dir, layout.scratch_dir / "home"
    options = (
        "-XX:TieredStopAtLevel=1",
        *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENED_PACKAGES),
        "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        "-Djava.util.concurrent.ForkJoinPool.common.threadFactory="
        "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
        "-Dpicocli.disable.closures=true",
        "-Dquarkus-log-max-startup-records=10000",
        # After PostgreSQL was restarted a pooled connection is dead: better found out before it is used.
        "-Dquarkus.datasource.jdbc.validate-on-borrow=true",
        f"-Dkc.home.dir={home}",
        f"-Djboss.server.config.dir={home}/conf",
    )
    return [
        *(layout.python, "-m", "components.keycloak.launch"),
        *("--distribution", str(distribution), "--home", str(home)),
        *("--schema", str(layout.cache_dir / "schema.sql"), "--"),
        *java_command(layout, heap_mib=192, options=options),
        *("-cp", f"{distribution}/lib/quarkus-run.jar"),
        *("io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--optimized"),
    ]


def environment(layout: Layout, *, hostname_url: str) -> Mapping[str, str]:
    """The settings that are no secret. The database's and the first admin's come from the slot."""
    return {
        "PYTHONPATH": str(layout.source_dir),
        "KC_HTTP_ENABLED": "true",
        "KC_HTTP_HOST": layout.bind_address,
        "KC_HTTP_PORT": str(layout.ports["http"]),
        "KC_HTTP_MANAGEMENT_PORT": str(layout.ports["management"]),
        "KC_HOSTNAME": hostname_url,
        "KC_HOSTNAME_BACKCHANNEL_DYNAMIC": "true",
        **({"KC_PROXY_HEADERS": "xforwarded"} if layout.proxied else {}),
        "KC_CACHE": "local",  # one replica: no cluster is formed, no cluster port is opened
        "KC_LOG_LEVEL": "INFO",
        "KC_DB_POOL_INITIAL_SIZE": "1",
        "KC_DB_POOL_MIN_SIZE": "1",
        "KC_DB_POOL_MAX_SIZE": "12",
        "KC_BOOTSTRAP_ADMIN_CLIENT_ID": ADMIN_CLIENT_ID,
    }
