"""What a preview of both stacks of placement aws costs, and what a first `up` has to wait for.

    python -m bench.preview --pairs 10

The real engine previews both stacks as they would be made on an empty account that moto plays (its provider
plugins ``aws`` and ``eks`` are the tests', and so is ``kubernetes`` where the official one is not on PATH),
and a program that registers nothing, in turn. Prints the medians and the ratios with their intervals (95 %,
by order statistics). From the plans that the engine saves: how many resources of which provider, and the
longest chain of resources that wait for each other, with the published creation times of the slow ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.audit import median_interval
from contracts.settings import NAMESPACE
from tests.cluster.support import with_provider
from tests.engine.aws_account import ACCOUNT, CHECKOUT, REGION, Account, running_account_with_database
from tests.engine.plugins_support import Outcome, Project, new_project
from tests.mocks.test_kubernetes import make_inputs

WORKLOAD, NODE_GROUP = "kubernetes:apps/v1:", "aws:eks/nodeGroup:NodeGroup"
_APPLY = "https://github.com/DevopsArtFactory/terraform-provisioning/pull/46"
PUBLISHED_S: Mapping[str, tuple[float, str]] = {
    "aws:eks/cluster:Cluster": (8 * 60 + 33, _APPLY),
    NODE_GROUP: (60 + 59, _APPLY),
}
"""Seconds that AWS took to make one, by its type, and where they were published. What is not here counts as
nothing: no figure for it was found that can be pointed at."""

LAB = f"""\
import sys

sys.path.insert(0, {str(CHECKOUT)!r})

from contracts.settings import program_settings
from stacks.lab import lab

lab(program_settings())
"""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A resource that is to be made."""

    type: str
    name: str
    waits_for: frozenset[str]
    """URNs."""


def planned(document: Mapping[str, Any]) -> dict[str, Planned]:
    """The resources of a plan (``pulumi preview --save-plan``) by URN, with what each comes after: what its
    inputs come from, what it names, and its provider. Where a component is named, its children are meant."""
    goals = {urn: one["goal"] for urn, one in document["resourcePlans"].items() if "goal" in one}
    children: dict[str, set[str]] = {}
    for urn, goal in goals.items():
        children.setdefault(goal.get("parent") or "", set()).add(urn)

    def made_by(urn: str) -> set[str]:
        if urn not in goals or goals[urn].get("custom"):
            return {urn}
        return set[str]().union(*(made_by(child) for child in children.get(urn, ())))

    found = {}
    for urn, goal in goals.items():
        named = {*(goal.get("dependencies") or ())}
        if provider := goal.get("provider"):
            named.add(provider.rpartition("::")[0])
        waits = set[str]().union(*(made_by(one) for one in named)) if named else set()
        found[urn] = Planned(
            type=goal["type"], name=goal["name"], waits_for=frozenset(waits & goals.keys() - {urn})
        )
    return found


def longest(
    resources: Mapping[str, Planned], last: str, seconds: Callable[[Planned], float]
) -> tuple[float, list[Planned]]:
    """What ``last`` (a URN) waits for, in the order in which it is made, itself at the end: the chain that
    takes most time; of those, the longest. And the seconds."""
    known: dict[str, tuple[float, int, list[Planned]]] = {}

    def chain(urn: str) -> tuple[float, int, list[Planned]]:
        if urn not in known:
            before = max(
                (chain(one) for one in resources[urn].waits_for), key=lambda c: c[:2], default=(0.0, 0, [])
            )
            own = resources[urn]
            known[urn] = (before[0] + seconds(own), before[1] + 1, [*before[2], own])
        return known[urn]

    took, _, found = chain(last)
    return took, found


def published(resource: Planned) -> float:
    """Seconds of a resource alone."""
    return PUBLISHED_S.get(resource.type, (0.0, ""))[0]


def behind(resources: Mapping[str, Planned], urn: str) -> set[str]:
    """All that a resource waits for, at any distance."""
    seen: set[str] = set()
    left = [urn]
    while left:
        fresh = resources[left.pop()].waits_for - seen
        seen |= fresh
        left += fresh
    return seen


def lab_project(account: Account, folder: Path) -> Project:
    """The lab stack beside the persistent one, whose outputs it reads."""
    folder.mkdir()
    made = new_project(folder)
    with_provider(folder)
    (folder / "__main__.py").write_text(LAB, encoding="utf-8")
    inputs = make_inputs(folder)
    fake = inputs.programs / "aws"
    fake.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    kept = account.project.environment
    names = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = {
        **made.environment,
        **{name: kept[name] for name in names},
        "PATH": f"{inputs.programs}:{made.environment['PATH']}",
    }
    project = dataclasses.replace(made, environment=environment)
    (folder / "Pulumi.dev.yaml").unlink(missing_ok=True)
    if (outcome := project.run("stack", "init", "lab")).code:
        raise SystemExit(outcome.text)
    described = yaml.safe_load((account.project.folder / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    described["config"] |= {
        f"{NAMESPACE}:role": "lab",
        f"{NAMESPACE}:persistentStack": "organization/plugins-test/dev",
        f"{NAMESPACE}:imagesFile": str(inputs.images),
    }
    (folder / "Pulumi.lab.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return project


def checked(outcome: Outcome) -> None:
    """Ends the bench when the engine did not do what it was to do."""
    if outcome.code:
        raise SystemExit(outcome.text)


def tell(name: str, resources: Mapping[str, Planned]) -> None:
    """Prints what a first run makes, and what waits longest."""
    counted = Counter(one.type.partition(":")[0] for one in resources.values())
    told = ", ".join(f"{number} {package}" for package, number in sorted(counted.items()))
    print(f"{name}: {len(resources)} resources: {told}")
    ends = {one: longest(resources, one, published) for one in resources}
    urn = max(ends, key=lambda one: (ends[one][0], len(ends[one][1])))
    took, chain = ends[urn]
    print(f"  the longest chain has {len(chain)} resources, {took / 60:.1f} min by published figures:")
    for link in chain:
        seconds = published(link)
        print(f"    {link.type} {link.name}" + (f"  {seconds:.0f} s" if seconds else ""))
    groups = {one for one, found in resources.items() if found.type == NODE_GROUP}
    for workload, found in resources.items():
        if found.type.startswith(WORKLOAD) and groups:
            waits = sorted(resources[group].name for group in groups & behind(resources, workload))
            print(f"  {found.name} waits for the node groups: {', '.join(waits)}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preview-") as name:
        folder = Path(name)
        (folder / "persistent").mkdir()
        (folder / "empty").mkdir()
        with running_account_with_database(folder / "persistent") as account:
            measure(account, folder, arguments.pairs)


def measure(account: Account, folder: Path, pairs: int) -> None:
    """Both stacks beside an empty program."""
    account.settings(catalog="polaris")
    account.up()
    kept = account.project
    (kept.folder / "Pulumi.new.yaml").write_bytes((kept.folder / "Pulumi.dev.yaml").read_bytes())
    checked(kept.run("stack", "init", "new"))
    lab = dataclasses.replace(account, project=lab_project(account, folder / "lab"))
    empty = new_project(folder / "empty")
    (empty.folder / "__main__.py").write_text("import pulumi\n", encoding="utf-8")

    def preview(whose: Account | Project, *arguments: str) -> float:
        begun = time.perf_counter()
        checked(whose.run("preview", *arguments))
        return time.perf_counter() - begun

    runs: dict[str, Callable[[], float]] = {
        "empty": lambda: preview(empty),
        "persistent": lambda: preview(account, "--stack", "new"),
        "lab": lambda: preview(lab, "--stack", "lab"),
    }
    took: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(pairs + 1):
        for name in list(runs) if number % 2 else list(reversed(runs)):
            seconds = runs[name]()
            if number:  # The first round warms.
                took[name].append(seconds)
        print(f"  round {number}", flush=True)
    report(took)
    for name, whose in (("persistent", account), ("lab", lab)):
        plan = folder / f"{name}.json"
        stack = "new" if name == "persistent" else "lab"
        checked(whose.run("preview", "--stack", stack, f"--save-plan={plan}"))
        tell(name, planned(json.loads(plan.read_text(encoding="utf-8"))))


def report(took: Mapping[str, Sequence[float]]) -> None:
    """Prints medians and ratios."""
    print(f"{os.cpu_count()} cores, account {ACCOUNT} of moto, {REGION}")
    for name, seconds in took.items():
        print(f"{name}: {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})")
        if name != "empty":
            ratios = [one / other for one, other in zip(seconds, took["empty"], strict=True)]
            low, high = median_interval(ratios)
            print(f"  against an empty program: {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
