"""Spark's configuration as pure functions, one per generated file (https://spark.apache.org/docs/4.1.4/).

What drivers of one user have of their own, secrets among it, is added by the gateway that starts them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from components.java import properties
from components.service import TRINO_CATALOG
from contracts.errors import LabError
from contracts.outputs import Warehouse
from contracts.versions import SPARK, SPARK_PY4J_VERSION
from contracts.workload import Layout
from spark_gateway.drivers import ExecutorPlan, LaunchPlan

LOG_LEVELS_FILE = "log4j2.properties"
ARTIFACTS = ("spark", "iceberg-spark-runtime", "iceberg-aws-bundle")

_OPENED = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)
"""Packages that Spark reaches into; its start scripts open the same."""

_MIB_PER_THREAD = 512
_IDLE_S = 60
"""After which an executor without tasks goes."""
_SHUFFLE_IDLE_S = 300
"""After which it goes although it holds what was shuffled, which would be computed again."""
_MAX_PENDING = 2
"""Executors of one driver that wait for a node side by side, so that others' get one too."""
_CATALOG_RETRIES = {"nessie": 2}
"""Nessie's refusals come as server errors, which Iceberg's client would repeat for half a minute."""


@dataclass(frozen=True, kw_only=True)
class ExecutorSize:
    """``maximum`` executors of one driver, none where it is 0; the heap of each."""

    maximum: int
    heap_mib: int


def java_command(layout: Layout, *, heap_mib: int) -> tuple[str, ...]:
    """The Java of a driver or an executor, up to what is a run's own. The start scripts'
    ``--add-modules=jdk.incubator.vector`` is left out: it speeds up some of ``ml``, and this Java does not
    have it.

    Raises:
        LabError: the placement gave no Java.
    """
    if layout.java_home is None:
        raise LabError("Spark needs Java and its layout has none", value=str(layout.artifact_dir))
    return (
        f"{layout.java_home}/bin/java",
        f"-Xmx{heap_mib}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Xlog:cds*=off",
        "--enable-native-access=ALL-UNNAMED",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
        "-Djdk.reflect.useDirectMethodHandle=false",
        "-Dio.netty.tryReflectionSetAccessible=true",
        f"-Dlog4j2.configurationFile={layout.file_uri(LOG_LEVELS_FILE)}",
        "-Dfile.encoding=UTF-8",
    )


def executor_plan(layout: Layout, size: ExecutorSize) -> ExecutorPlan | None:
    """Executors of one driver, which Spark asks for when tasks wait and lets go when they have none; None
    where there are to be none (https://spark.apache.org/docs/4.1.4/job-scheduling.html)."""
    if not size.maximum:
        return None
    threads = threads_of(size.heap_mib)
    return ExecutorPlan(
        java=java_command(layout, heap_mib=size.heap_mib),
        threads=threads,
        maximum=size.maximum,
        properties={
            "spark.executor.cores": str(threads),
            "spark.executor.memory": f"{size.heap_mib}m",
            "spark.sql.shuffle.partitions": str(4 * threads * size.maximum),
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.initialExecutors": "0",
            "spark.dynamicAllocation.minExecutors": "0",
            "spark.dynamicAllocation.maxExecutors": str(size.maximum),
            "spark.dynamicAllocation.executorIdleTimeout": f"{_IDLE_S}s",
            "spark.dynamicAllocation.shuffleTracking.enabled": "true",
            # What a statement shuffled stays with its session: without an end it would keep the executor.
            "spark.dynamicAllocation.shuffleTracking.timeout": f"{_SHUFFLE_IDLE_S}s",
            "spark.kubernetes.allocation.maxPendingPods": str(min(size.maximum, _MAX_PENDING)),
            # What Spark would make beside pods, or look for when it ends.
            "spark.kubernetes.executor.disableConfigMap": "true",
            "spark.kubernetes.driver.service.deleteOnTermination": "false",
            "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
            "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
            # Spark wants one to be named; whoever makes the pod takes its own.
            "spark.kubernetes.executor.container.image": "the-gateways-own",
            # Between driver and executors, on a network that others use.
            "spark.network.crypto.enabled": "true",
            "spark.network.crypto.authEngineVersion": "2",
            "spark.network.crypto.cipher": "AES/GCM/NoPadding",
            "spark.network.crypto.saslFallback": "false",
        },
    )


def threads_of(heap_mib: int) -> int:
    """Tasks side by side that fit a heap."""
    return max(2, heap_mib // _MIB_PER_THREAD)


def launch_plan(layout: Layout, *, heap_mib: int, executors: ExecutorSize) -> str:
    """``plan.json``: how the gateway starts a driver on this machine, and its executors."""
    spark = layout.also["spark"]
    library = f"{spark}/lib/py4j-{SPARK_PY4J_VERSION}-src.zip"
    plan = LaunchPlan(
        java=java_command(layout, heap_mib=heap_mib),
        classpath=(
            f"{spark}/deps/jars/*",
            *(f"{layout.also[name]}/{name}.jar" for name in ARTIFACTS[1:]),
        ),
        environment={
            "PATH": f"{layout.java_home}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "JAVA_HOME": str(layout.java_home),
            "SPARK_HOME": f"{spark}/deps",
            "PYTHONPATH": f"{spark}:{library}",
            "PYSPARK_PYTHON": layout.python,
            "PYSPARK_DRIVER_PYTHON": layout.python,
            "SPARK_LOCAL_IP": layout.bind_address,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            # The store's credentials come from the catalog, table by table, and from nowhere else.
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        catalog=TRINO_CATALOG,
        spark_version=SPARK.version,
        executors=executor_plan(layout, executors),
    )
    return plan.to_json()


def defaults(
    *,
    catalog_kind: str,
    catalog_uri: str,
    token_url: str,
    bind_address: str,
    heap_mib: int,
    warehouse: Warehouse,
) -> str:
    """``defaults.json``: the properties that every driver has. ``token_url`` is the gateway's: Iceberg's
    client asks there for its user's token, again before each one ends, with a credential of its run."""
    catalog = f"spark.sql.catalog.{TRINO_CATALOG}"
    threads = threads_of(heap_mib)
    return json.dumps(
        {
            "spark.master": f"local[{threads}]",
            "spark.driver.memory": f"{heap_mib}m",
            "spark.driver.host": bind_address,
            "spark.driver.bindAddress": bind_address,
            "spark.connect.grpc.binding.address": bind_address,
            # Between the parts of one driver, which listen on ports of this machine.
            "spark.authenticate": "true",
            "spark.ui.enabled": "false",
            "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|credential",
            "spark.sql.catalogImplementation": "in-memory",
            "spark.sql.shuffle.partitions": str(4 * threads),
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.defaultCatalog": TRINO_CATALOG,
            catalog: "org.apache.iceberg.spark.SparkCatalog",
            f"{catalog}.type": "rest",
            f"{catalog}.rest.auth.type": "oauth2",
            f"{catalog}.uri": catalog_uri,
            f"{catalog}.warehouse": TRINO_CATALOG,
            f"{catalog}.oauth2-server-uri": token_url,
            f"{catalog}.token-exchange-enabled": "false",
            f"{catalog}.header.X-Iceberg-Access-Delegation": "vended-credentials",
            f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            f"{catalog}.rest.client.max-retries": str(_CATALOG_RETRIES.get(catalog_kind, 5)),
            f"{catalog}.s3.endpoint": warehouse.endpoint_url,
            f"{catalog}.s3.path-style-access": str(warehouse.path_style).lower(),
            f"{catalog}.client.region": warehouse.region,
        },
        indent=1,
    )


def log_levels() -> str:
    """``log4j2.properties``: warnings on standard error, which is the run's log."""
    return properties(
        {
            "rootLogger.level": "warn",
            "rootLogger.appenderRef.console.ref": "console",
            "appender.console.type": "Console",
            "appender.console.name": "console",
            "appender.console.target": "SYSTEM_ERR",
            "appender.console.layout.type": "PatternLayout",
            "appender.console.layout.pattern": "%d{HH:mm:ss} %p %c{1}: %m %ex{8}%n",
            # No Hadoop libraries of the machine's own are expected.
            "logger.hadoop.name": "org.apache.hadoop.util.NativeCodeLoader",
            "logger.hadoop.level": "error",
            # Of the client that asks for executors: it takes its time on a machine that is busy.
            "logger.vertx.name": "io.vertx.core.impl.BlockedThreadChecker",
            "logger.vertx.level": "error",
            # Errors of statements go to who sent them.
            "logger.statements.name": "org.apache.spark.sql.connect.utils.ErrorUtils",
            "logger.statements.level": "off",
        }
    )
