"""Spark's own vocabulary as pure functions: a driver's properties and its command line.

https://spark.apache.org/docs/4.1.4/configuration.html
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import UsageError
from spark_gateway.client import Program

CONNECT_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
SUBMIT = "org.apache.spark.deploy.SparkSubmit"
EXECUTOR = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
CONNECT_PORT = 15002
"""Of a Connect server that has an address of its own."""


@dataclass(frozen=True, kw_only=True)
class ExecutorPlan:
    """What a driver's executors are, where it can have some.

    Args:
        java: the command line up to the class path.
        threads: tasks side by side in one of them.
        maximum: of one driver.
        properties: Spark's, which drivers with executors have beside those of all.
    """

    java: tuple[str, ...]
    threads: int
    maximum: int
    properties: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """How drivers are started on this machine, the same for all users; no secret.

    Args:
        java: the command line up to the class path.
        classpath: its entries.
        environment: the whole environment of a driver but its own folders.
        catalog: the name of the Iceberg catalog in Spark.
        spark_version: for display.
        executors: None where a driver works alone. Where drivers are processes, they always do.
    """

    java: tuple[str, ...]
    classpath: tuple[str, ...]
    environment: Mapping[str, str]
    catalog: str
    spark_version: str
    executors: ExecutorPlan | None = None

    def to_json(self) -> str:
        """The form of the generated file."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> LaunchPlan:
        """The reverse of :meth:`to_json`. Raises UsageError when the text is not a plan's."""
        try:
            document = json.loads(text)
            return cls(
                java=tuple(document["java"]),
                classpath=tuple(document["classpath"]),
                environment=dict(document["environment"]),
                catalog=document["catalog"],
                spark_version=document["spark_version"],
                executors=_executor_plan(document["executors"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"the launch plan can't be read: {error}") from error


def _executor_plan(document: Mapping[str, Any] | None) -> ExecutorPlan | None:
    if document is None:
        return None
    return ExecutorPlan(
        java=tuple(document["java"]),
        threads=int(document["threads"]),
        maximum=int(document["maximum"]),
        properties=dict(document["properties"]),
    )


def properties_text(values: Mapping[str, str]) -> str:
    """Properties as ``spark-submit --properties-file`` reads them, which is Java's format: ``=`` and ``:``
    end a key, backslashes escape.

    Raises:
        UsageError: a line break, which would begin another property.
    """
    lines = []
    for key, value in values.items():
        if any(character in f"{key}{value}" for character in "\r\n"):
            raise UsageError("a Spark property must not hold a line break", value=key)
        escaped_key = "".join(f"\\{c}" if c in " \\=:#!" else c for c in key)
        lines.append(f"{escaped_key}={value.replace(chr(92), chr(92) * 2)}\n")
    return "".join(lines)


def command(
    plan: LaunchPlan,
    *,
    options: Sequence[str],
    folder: Path,
    properties_file: Path,
    program: Program | None,
) -> list[str]:
    """A driver's command line: the JVM itself, without Spark's shell scripts, so that its pid is the
    driver's. ``folder`` is the run's own, with the program's files in it;
    ``options`` are more of Java's."""
    return [
        *plan.java,
        *options,
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        "-cp",
        ":".join(plan.classpath),
        SUBMIT,
        "--properties-file",
        str(properties_file),
        *_what(program, folder),
    ]


def _what(program: Program | None, folder: Path) -> Sequence[str]:
    if program is None:
        return ("--class", CONNECT_SERVER, "spark-internal")
    files = ",".join(str(folder / name) for name in program.python_files)
    return (
        *(("--py-files", files) if files else ()),
        *(("--class", program.main_class) if program.main_class else ()),
        str(folder / program.file_name),
        *program.arguments,
    )
