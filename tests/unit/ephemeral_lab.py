"""Stands in for the ``lab`` command of ``ci/ephemeral.py``: keeps a log of what it was asked, takes its time.

FAKE_SLOW names the step that waits for a signal; FAKE_STUBBORN makes it ignore SIGINT; FAKE_FAIL names the
step that fails. FAKE_BUSY: how many times the removal finds the lab held by somebody else. FAKE_TAKEN: ``up``
refuses before it makes anything. FAKE_ARGUMENTS: the log has each step's, too.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

log = Path(os.environ["FAKE_LOG"])


def note(word: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{word}\n")


def interrupted(*_: object) -> None:
    note(f"{step} interrupted")
    sys.exit(1)


name, step = sys.argv[2:4]
home = Path(os.environ["LAB_HOME"]) / name
# Python's own, whatever the parent left.
stubborn = "FAKE_STUBBORN" in os.environ and step not in ("destroy", "down")
signal.signal(signal.SIGINT, signal.SIG_IGN if stubborn else interrupted)
if step == "up" and "FAKE_TAKEN" in os.environ:
    note("up refused")
    sys.exit(2)
if step == "up":
    (home / "project").mkdir(parents=True)
    (home / "project" / "Pulumi.yaml").touch()
note(f"{step} began")
if "FAKE_ARGUMENTS" in os.environ:
    note(f"with {' '.join(sys.argv[4:])}")
if os.environ.get("FAKE_SLOW") == step:
    if step == "destroy":
        time.sleep(1.5)
    else:
        time.sleep(120)
if os.environ.get("FAKE_FAIL") == step:
    sys.exit(3)
if step == "destroy":
    busy = log.read_text(encoding="utf-8").count("destroy began") <= int(os.environ.get("FAKE_BUSY", "0"))
    if busy:
        sys.exit(1)
    shutil.rmtree(home, ignore_errors="--shares" in sys.argv)
note(f"{step} done")
