"""Settings of Spark: how many drivers and executors there may be, and how large they are."""

from __future__ import annotations

from contracts.setting_values import Role, Setting, integer

_LAB = frozenset({Role.LAB})

SPARK_SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="sparkHeapMib",
        roles=_LAB,
        default="768",
        example="2048",
        parse=integer(512, 262144),
        doc="Java heap in MiB of each Spark server and each Spark job.",
    ),
    Setting(
        key="sparkMaxRuns",
        roles=_LAB,
        default="4",
        example="8",
        parse=integer(1, 100),
        doc="How many Spark servers and Spark jobs may run side by side, all users together.",
    ),
    Setting(
        key="sparkDriverMillicores",
        roles=_LAB,
        default="500",
        example="2000",
        parse=integer(50, 1000000),
        placements=("kubernetes", "aws"),
        doc="thousandths of a processor that the pod of each Spark server and each Spark job requests.",
    ),
    Setting(
        key="sparkMaxExecutors",
        roles=_LAB,
        default="2",
        example="8",
        parse=integer(0, 100),
        placements=("kubernetes", "aws"),
        doc="how many executors, each a pod, a Spark server or job gets while it has work for them. 0: none, "
        "it works in its own pod.",
    ),
    Setting(
        key="sparkExecutorHeapMib",
        roles=_LAB,
        default="1024",
        example="4096",
        parse=integer(512, 262144),
        placements=("kubernetes", "aws"),
        doc="Java heap in MiB of each executor.",
    ),
    Setting(
        key="sparkExecutorMillicores",
        roles=_LAB,
        default="500",
        example="2000",
        parse=integer(50, 1000000),
        placements=("kubernetes", "aws"),
        doc="thousandths of a processor that each executor requests.",
    ),
    Setting(
        key="sparkIdleS",
        roles=_LAB,
        default="900",
        example="3600",
        parse=integer(10, 86400),
        doc="Seconds without a message to or from its clients after which a user's Spark server is stopped.",
    ),
)
