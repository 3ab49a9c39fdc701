"""One real lab for the whole suite, brought up by the command that a newcomer types.

Its home is below the system's temporary folder (the path has a space on purpose); artifacts come from the
per-user cache, as they do for anybody. With LAB_LIVE_HOME a lab below that folder is used and left up.
Tests that stop or edit the lab leave it running as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCALE_FACTOR = "0.01"


@dataclass(frozen=True)
class LiveLab:
    """The running lab, and the ``lab`` command on it."""

    environment: Mapping[str, str]
    home: Path

    def run(
        self, *arguments: str, timeout_s: float = 600, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command's result, whatever its exit code."""
        return subprocess.run(
            [str(ROOT / "lab"), *arguments],
            env=dict(self.environment),
            cwd=tempfile.gettempdir(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ok(self, *arguments: str, timeout_s: float = 600, stdin: str | None = None) -> str:
        """Standard output of a command that must succeed."""
        result = self.run(*arguments, timeout_s=timeout_s, stdin=stdin)
        assert result.returncode == 0, f"lab {' '.join(arguments)}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def json(self, *arguments: str, timeout_s: float = 600) -> Any:
        """The parsed answer of ``--json``."""
        return json.loads(self.ok("--json", *arguments, timeout_s=timeout_s))

    def rows(self, sql: str, persona: str) -> list[dict[str, Any]]:
        """Rows of a statement as one of the sample users."""
        out = self.ok("sql", sql, "--as", persona, "--json")
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def value(self, sql: str, persona: str) -> Any:
        """The one value of a statement."""
        (row,) = self.rows(sql, persona)
        (value,) = row.values()
        return value

    def service(self, name: str) -> dict[str, Any]:
        """One service's entry of ``lab status``."""
        found: dict[str, Any] = next(s for s in self.json("status")["services"] if s["name"] == name)
        return found

    def shell(self, script: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """A bash script in the checkout, with this lab as the default one."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=dict(self.environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture(scope="session")
def lab() -> Iterator[LiveLab]:
    """A lab with the default components and small sample tables."""
    folder = Path(os.environ.get("LAB_LIVE_HOME") or tempfile.mkdtemp(prefix="lab live "))
    folder.chmod(0o755)
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {"LAB_HOME", "LAB_NAME", "PYTHONPATH", "VIRTUAL_ENV"} and not key.startswith("PULUMI_")
    }
    environment["LAB_HOME"] = str(folder)
    live = LiveLab(environment=environment, home=folder / "lab")
    try:
        live.ok("up", "--set", f"scaleFactor={SCALE_FACTOR}", timeout_s=3000)
        yield live
    finally:
        if "LAB_LIVE_HOME" not in os.environ:
            live.run("destroy", "--yes", timeout_s=300)
            shutil.rmtree(folder, ignore_errors=True)
