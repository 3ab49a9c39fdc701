"""Spark's configuration as pure functions, one per generated file (https://spark.apache.org/docs/4.1.4/).

What drivers of one user have of their own, secrets among it, is added by the gateway that starts them.
"""

from __future__ import annotations

import json

from components.java import properties
from components.service import TRINO_CATALOG
from contracts.errors import LabError
from contracts.outputs import Warehouse
from contracts.versions import SPARK, SPARK_PY4J_VERSION
from contracts.workload import Layout
from spark_gateway.drivers import LaunchPlan

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
_CATALOG_RETRIES = {"nessie": 2}
"""Nessie's refusals come as server errors, which Iceberg's client would repeat for half a minute."""


def java_command(layout: Layout, *, heap_mib: int) -> tuple[str, ...]:
    """A driver's Java, up to what is a run's own. The start scripts' ``--add-modules=jdk.incubator.vector``
    is left out: it speeds up some of ``ml``, and this Java does not have it.

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


def launch_plan(layout: Layout, *, heap_mib: int) -> str:
    """``plan.json``: how the gateway starts a driver on this machine."""
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
    threads = max(2, heap_mib // _MIB_PER_THREAD)
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
            # Errors of statements go to who sent them.
            "logger.statements.name": "org.apache.spark.sql.connect.utils.ErrorUtils",
            "logger.statements.level": "off",
        }
    )
