"""Processor time of processes and their children: steadier than seconds on a machine that others use too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import psutil

from placements.local.supervisor import SupervisorClient


def spent_s(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds of processor time by name, since each process began: its own, of the children that run, and of
    those that ended."""
    return {name: _tree_s(psutil.Process(pid)) for name, pid in pids.items()}


def since_s(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What was spent in between. A child that ended in between counts where it was counted before."""
    return {name: max(0.0, now[name] - before[name]) for name in now}


def _tree_s(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


class Processors:
    """Processor time of a lab's services and of the twin's server, by whose statement it was spent on. What
    decides and records works for the lab's Trino only, and so counts there whenever it was spent."""

    RULES_ALONE: ClassVar[tuple[str, ...]] = ("opa", "governor")

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._last = spent_s(pids)
        self.spent_s: dict[str, defaultdict[str, float]] = {
            side: defaultdict(float) for side in ("governed", "twin")
        }

    @classmethod
    def of(cls, home: Path, twin_pid: int) -> Processors:
        """The services of the lab at ``home``, beside a twin's server."""
        services = {one.name: one.pid for one in SupervisorClient(home).status() if one.pid is not None}
        return cls({**services, "twin": twin_pid})

    def skip(self) -> None:
        """What was spent until now counts for nobody."""
        self._last = spent_s(self._pids)

    def count(self, side: str) -> None:
        """What was spent since the last call is this side's."""
        now = spent_s(self._pids)
        for name, seconds in since_s(self._last, now).items():
            self.spent_s["governed" if name in self.RULES_ALONE else side][name] += seconds
        self._last = now

    def report(self, count: int) -> None:
        """Prints milliseconds a statement by process."""
        print(f"\n{'processor time':14}{'governed':>10}{'twin':>8}   (ms a statement)")
        for name in self._pids:
            a, b = (1000 * self.spent_s[side][name] / count for side in ("governed", "twin"))
            print(f"{name:14}{a:10.1f}{b:8.1f}")
        a, b = (1000 * sum(spent.values()) / count for spent in self.spent_s.values())
        print(f"{'all':14}{a:10.1f}{b:8.1f}   ratio {a / b:.3f}")
