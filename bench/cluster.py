"""A lab on a cluster against the same lab on this machine, interleaved in one run.

    ./lab test --help            # makes the development environment
    python -m bench.cluster --pairs 3

As root on Linux: the cluster is that of ``tests/cluster``, one node in namespaces of its own, with the team's
PostgreSQL and S3 store beside it. A pair is a lab on either side, whoever is first alternating: from nothing
(on the cluster no namespace, on this machine no folder) to the first rows that a sample user gets under the
rules, then ``up`` with nothing to do, twice. Both have the same components, sizes and data. Software and
images are there before; what that takes on the cluster's side is printed beside. ``--cold`` measures that
alone, from an empty cache: Kubernetes, packages and layers are built or fetched, which takes long.

Prints medians in seconds, the ratio of a pair's two first rows, and what the lab's pods request.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contracts.settings import cache_home
from tests.cluster import software
from tests.cluster.labs import (
    NAMESPACE,
    SCALE_FACTOR,
    ClusterLab,
    lab_without_servers,
    set_servers,
    settings_of,
)
from tests.cluster.running import ROOT, TestCluster, running
from tests.live import leftovers
from tests.live.conftest import LiveLab, clean_environment, temporary_folder

STATEMENT = "SELECT count(*) AS n FROM retail.customer"
PERSON = "analyst_emea"
"""Sees a part of the rows."""
AGAIN = 2
SIDES = ("cluster", "local")
NODE_MIB = 16 * 1024
FIRST, NOTHING = "to the first governed rows", "lab up, nothing to do"
_UNITS_MIB = {"Ki": 1 / 1024, "Mi": 1.0, "Gi": 1024.0}


def main() -> None:
    """Runs the pairs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", choices=SIDES, help="one side alone, without a ratio")
    parser.add_argument("--cold", action="store_true", help="only the cluster, from an empty cache")
    given = parser.parse_args()
    if (lacking := software.missing_need()) is not None:
        sys.exit(lacking)
    labs = leftovers.make_folder()
    try:
        if given.cold:
            cold()
        else:
            pairs(given.pairs, [given.only] if given.only else list(SIDES))
    finally:
        leftovers.remove_folder(labs)


def pairs(count: int, wanted: Sequence[str]) -> None:
    """Each side that is wanted ``count`` times, and the table."""
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        sides: dict[str, Callable[[], Mapping[str, list[float]]]] = {"local": on_this_machine}
        if "cluster" in wanted:
            started, ready_s = stack.enter_context(cluster(cache_home()))
            print(f"the cluster, software cached: {ready_s:.1f} s until its node was ready", flush=True)
            sides["cluster"] = lambda: on_cluster(started)
        for number in range(count):
            for side in wanted if number % 2 == 0 else reversed(wanted):
                for name, values in sides[side]().items():
                    seconds.setdefault(name, []).extend(values)
                    print(f"pair {number + 1}/{count}: {name}: {shown(values)}", flush=True)
    print(f"\n{'':44}median  lowest  highest   ({count} pairs, {os.cpu_count()} cores)")
    for name, values in seconds.items():
        print(f"{name:44}{statistics.median(values):6.1f}  {min(values):6.1f}  {max(values):7.1f}")
    firsts = [seconds[f"{side}, {FIRST}"] for side in wanted]
    if len(firsts) == len(SIDES):
        ratios = [there / here for there, here in zip(*firsts, strict=True)]
        least, most = min(ratios), max(ratios)
        print(f"cluster / local, {FIRST}: {statistics.median(ratios):.2f} ({least:.2f} to {most:.2f})")


def shown(values: list[float]) -> str:
    """Some seconds in a line."""
    return ", ".join(f"{value:.1f} s" for value in values)


@contextmanager
def cluster(cache: Path) -> Iterator[tuple[TestCluster, float]]:
    """The cluster, and the seconds until its node was ready, software included."""
    began = time.monotonic()
    with running(software.node_programs(cache), software.packages(cache)) as started:
        yield started, time.monotonic() - began


def cold() -> None:
    """The cluster with a name server and a lab's images, from an empty cache; then the same again."""
    with tempfile.TemporaryDirectory(prefix="lab-cold-") as folder:
        os.environ["LAB_CACHE"] = folder
        for what in ("empty", "filled"):
            with cluster(Path(folder)) as (started, ready_s):
                print(f"cache {what}: {ready_s:.0f} s until the node was ready", flush=True)
                began = time.monotonic()
                with lab_without_servers(started):
                    print(
                        f"cache {what}: {time.monotonic() - began:.0f} s more for images and servers",
                        flush=True,
                    )


def on_cluster(started: TestCluster) -> dict[str, list[float]]:
    """One lab's life on the cluster. The team's servers are new, as on the first day."""
    began = time.monotonic()
    try:
        with lab_without_servers(started) as lab:
            print(f"images and the team's servers: {time.monotonic() - began:.1f} s", flush=True)
            told = lab.outside.run(
                "up", "--catalog", "nessie", *settings_of(started, lab.live.home), timeout_s=900
            )
            if told.returncode != 2:
                raise SystemExit(f"{told.stdout}{told.stderr}")
            set_servers(lab)
            found = life(lab.live, lab.explained)
            print(requests(lab), flush=True)
    finally:
        # A volume that was claimed once is not claimed again.
        started.run("delete", "persistentvolume", "audit")
    return {f"cluster, {name}": values for name, values in found.items()}


def on_this_machine() -> dict[str, list[float]]:
    """One lab's life on this machine, with the same components and sizes."""
    with temporary_folder() as folder:
        lab = LiveLab(
            environment={**clean_environment(), "LAB_HOME": str(folder), "LAB_NAME": "lab"},
            home=folder / "lab",
            root=ROOT,
        )
        options = ("--catalog", "nessie", "--set", f"scaleFactor={SCALE_FACTOR}", "--set", "trinoHeapMib=768")
        try:
            return {f"local, {name}": values for name, values in life(lab, lambda: "", *options).items()}
        finally:
            lab.run("destroy", "--yes", timeout_s=300)


def life(lab: LiveLab, explained: Callable[[], str], *options: str) -> dict[str, list[float]]:
    """From nothing to rows, and then nothing to do."""

    def run(*words: str) -> float:
        began = time.monotonic()
        done = lab.run(*words, timeout_s=1800)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}\n{explained()}")
        return time.monotonic() - began

    first = run("up", *options) + run("sql", STATEMENT, "--as", PERSON)
    return {FIRST: [first], NOTHING: [run("up") for _ in range(AGAIN)]}


def requests(lab: ClusterLab) -> str:
    """What the lab's pods request of a node, against one of 16 GiB."""
    asked = [
        container["resources"]["requests"]
        for pod in lab.cluster.objects("pods", NAMESPACE)
        for container in pod["spec"]["containers"]
    ]
    memory = sum(float(one["memory"][:-2]) * _UNITS_MIB[one["memory"][-2:]] for one in asked)
    cpu = sum(int(one["cpu"][:-1]) if one["cpu"].endswith("m") else 1000 * int(one["cpu"]) for one in asked)
    return (
        f"the lab's {len(asked)} pods request {memory:.0f} MiB and {cpu} millicores: "
        f"{memory / NODE_MIB:.0%} of {NODE_MIB} MiB"
    )


if __name__ == "__main__":
    main()
