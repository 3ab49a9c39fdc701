"""A fresh checkout, an empty cache and no network at all: an imported cache is enough.

The second machine of the guide is a network namespace of its own, which has a loopback and nothing else.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import ROOT, SCALE_FACTOR, clean_environment, copy_checkout, temporary_folder
from tests.live.test_guides import blocks

pytestmark = [pytest.mark.live, pytest.mark.docs]

GUIDE = ROOT / "docs" / "guides" / "without-a-network.md"
NAMESPACE = ["unshare", "--net"]
LOOPBACK = "ip link set lo up"


@pytest.fixture
def folder() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root; this is an ordinary user")
    probe = [*NAMESPACE, "sh", "-c", LOOPBACK]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this machine gives out no network namespaces")
    with temporary_folder() as path:
        yield path


def shell(script: str, *, cwd: Path, environment: dict[str, str], before: list[str]) -> str:
    result = subprocess.run(
        [*before, "bash", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_the_guide_brings_a_lab_up_where_there_is_no_network(folder: Path) -> None:
    file = shlex.quote(str(folder / "lab-cache.zip"))
    here, there, *_ = [block.replace("/tmp/lab-cache.zip", file) for block in blocks(GUIDE)]
    shell(here, cwd=ROOT, environment=clean_environment(), before=[])
    other = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "LAB_HOME": str(folder / "labs"),
        "LAB_CACHE": str(folder / "cache"),
    }
    (folder / "home").mkdir()
    checkout = copy_checkout(folder / "checkout")
    script = [
        LOOPBACK,
        # What runs in the namespace can't be reached from outside it.
        "trap './lab destroy --yes' EXIT",
        there.replace("up --core", f"up --core --set scaleFactor={SCALE_FACTOR}"),
        "./lab --json status",
        "./lab --json fingerprint",
        "./lab cache list",
    ]
    said = shell("\necho ---\n".join(script), cwd=checkout, environment=other, before=NAMESPACE)
    status, fingerprint, contents = said.split("---\n")[3:]
    assert json.loads(status)["ready"] is True
    assert json.loads(fingerprint)["tables"]["retail.nation"]["rows"] == 25
    assert "no longer" not in contents
