"""Java command lines, the same for every Java service."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import LabError
from contracts.workload import Layout


def java_command(
    layout: Layout,
    *,
    heap_mib: int,
    collector: str = "-XX:+UseSerialGC",
    options: Sequence[str] = (),
    archive: str = "classes",
) -> list[str]:
    """``java`` with a bounded heap, the collector that suits small heaps, and a class-data archive that
    the first run leaves behind for the next, in this lab or another (https://openjdk.org/jeps/350).
    ``archive`` names it: two programs of one artifact would overwrite each other's.

    Raises:
        LabError: the placement gave the workload no Java.
    """
    if layout.java_home is None:
        raise LabError("this workload needs Java and its layout has none", value=str(layout.artifact_dir))
    return [
        f"{layout.java_home}/bin/java",
        f"-Xmx{heap_mib}m",
        collector,
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+AutoCreateSharedArchive",
        f"-XX:SharedArchiveFile={layout.cache_dir}/{archive}.jsa",
        "-Xlog:cds*=off",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        f"-Djava.io.tmpdir={layout.scratch_dir}",
        "-Dfile.encoding=UTF-8",
        *options,
    ]


def properties(values: dict[str, str]) -> str:
    """A ``.properties`` file: one ``key=value`` a line, in the given order."""
    return "".join(f"{key}={value}\n" for key, value in values.items())
