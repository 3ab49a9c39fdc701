"""What the tests on the cluster have in common."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from plugins.install import launcher
from tests.cluster.running import TestCluster
from tests.mocks.test_kubernetes import make_inputs, opened, recorded

PLUGIN = "pulumi-resource-kubernetes"


def rendered(folder: Path, role: str, *pairs: str) -> list[dict[str, Any]]:
    """The manifests of everything that a stack registers on a cluster."""
    found = recorded(make_inputs(folder / role), role, *pairs)
    assert found.error is None
    manifests = []
    for one in found.on_the_cluster:
        _, module, kind = one["type"].split(":")
        if module != "pulumi" and kind != "kubernetes":
            inputs = {key: value for key, value in opened(one["inputs"]).items() if value is not None}
            manifests.append({**inputs, "apiVersion": module.removeprefix("core/"), "kind": kind})
    assert manifests
    return manifests


def apply(cluster: TestCluster, manifests: Sequence[dict[str, Any]], *options: str) -> str:
    """Server-side apply of all; what went wrong, warnings included."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    command = ("apply", "--server-side", "--warnings-as-errors", "--filename=-", *options)
    done = cluster.run(*command, input_text=text)
    return "" if done.returncode == 0 and not done.stderr else f"exit code {done.returncode}: {done.stderr}"


def with_provider(project: Path) -> None:
    """Gives a project the provider plugin of the tests, where the official one is not on PATH."""
    if shutil.which(PLUGIN) is not None:
        return
    home = project / "plugins"
    program = home / PLUGIN
    text = launcher("kubernetes", Path(sys.executable)).replace(
        "plugins.kubernetes", "tests.cluster.provider"
    )
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    described = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    described["plugins"]["providers"].append({"name": "kubernetes", "path": str(home)})
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
