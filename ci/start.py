"""Lets a script of this folder be started by its path, with any Python that is new enough."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def in_environment(module: str) -> None:
    """Goes on as ``module`` in the lab's virtual environment, which is made when it is missing; returns at
    once where this process runs there already."""
    sys.path.insert(0, str(ROOT))
    from cli import virtualenv

    sys.exit(virtualenv.start(str(ROOT), sys.argv[1:], module=module))


def output_of(*command: str) -> str:
    """What a command of the system prints, stripped; empty where it fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def run_url() -> str | None:
    """The address of this pipeline's run, None outside one."""
    env = os.environ
    if env.get("GITHUB_RUN_ID"):
        return f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"
    return env.get("CI_PIPELINE_URL") or None
