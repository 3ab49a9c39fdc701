"""A lab for one pull request: up, verified, and removed again whatever happens: ``python3 ci/ephemeral.py``.

Each step is the lab's own command, a program on Pulumi's Automation API, in a process of its own: a step
that fails, hangs or is killed can't take the removal with it. A signal ends the step that runs, once and
gently, and goes on with the removal; a second one ends it at once. A guardian in a session of its own removes
the lab when this process itself is killed. What none of them can do, since the whole machine goes, a later
run does: ``--remove-only``.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import pathlib
    import sys

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    from ci.start import in_environment

    in_environment("ci.ephemeral")

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from ci.mark import Mark
from cli.project import ROOT
from contracts.errors import LabError
from contracts.settings import environment

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
_GENTLE_S = 600.0
"""How long a step may take to end after the first signal: the engine finishes what is in flight."""
_ORPHAN_S = 60.0
_ATTEMPTS = 60
_PAUSE_S = 5.0


def say(text: str) -> None:
    """A line of progress."""
    print(f"ephemeral: {text}", file=sys.stderr, flush=True)


@dataclass
class Steps:
    """Runs commands one by one, each in a process group of its own, so that a terminal's or a runner's signal
    reaches this process alone. ``note`` hears of each.
    ``requests`` counts signals; ``deaf`` during the removal."""

    lab: Sequence[str]
    note: Callable[[int | None], None] = lambda _: None
    requests: int = 0
    deaf: bool = False
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _told_at: float | None = None

    def listen(self) -> None:
        """From now on signals are requests to stop."""
        for number in SIGNALS:
            signal.signal(number, self._request)

    def run(self, *arguments: str) -> int:
        """The command's exit code; :data:`INTERRUPTED` when it was asked to stop before or meanwhile."""
        if self.requests and not self.deaf:
            return INTERRUPTED
        say(f"lab {' '.join(arguments)}")
        with subprocess.Popen([*self.lab, *arguments], stdin=subprocess.DEVNULL, process_group=0) as child:
            self._child, self._told_at = child, None
            self.note(child.pid)
            if self._asked_meanwhile():
                self._tell(child)
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(0.5)
                        break
                    if self._is_overdue():
                        self._end(child)
            finally:
                self._child = None
        self.note(None)
        return INTERRUPTED if self.requests and not self.deaf else child.returncode

    def _is_overdue(self) -> bool:
        """Whether the child was told to end long ago."""
        return self._told_at is not None and time.monotonic() - self._told_at > _GENTLE_S

    def _asked_meanwhile(self) -> bool:
        """Whether a signal came between the first look and the child's start."""
        return self.requests > 0 and not self.deaf

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
        child = self._child
        if self.deaf:
            say("the lab is being removed; this takes a moment")
        elif child is None:
            return
        elif self.requests == 1:
            say("stopping: this step finishes what is in flight, then the lab is removed")
            self._tell(child)
        else:
            say("ending this step at once; the lab is removed next")
            self._end(child)

    def _tell(self, child: subprocess.Popen[bytes]) -> None:
        self._told_at = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            # The command alone: what it started hears of it from the command, exactly once.
            child.send_signal(signal.SIGINT)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def remove(
    steps: Steps,
    mark: Mark,
    ending: Sequence[str],
    *,
    attempts: int = _ATTEMPTS,
    pause: Callable[[float], None] = time.sleep,
    anyway: bool = False,
) -> bool:
    """Removes what was made, again where another command still holds the lab. Returns whether it is gone;
    the mark that it is to be removed stays until then. ``anyway``: also where this machine knows of none,
    since its stack may lie elsewhere."""
    steps.deaf = True
    for attempt in range(attempts):
        if attempt:
            pause(_PAUSE_S)
        if not (anyway or mark.lab_was_begun()) or steps.run("--name", mark.lab, *ending) == 0:
            mark.clear()
            return True
    say(f"lab {mark.lab!r} is NOT removed; try: python3 ci/ephemeral.py --remove-only --name {mark.lab}")
    return False


def guard(steps: Steps, mark: Mark, ending: Sequence[str]) -> int:
    """Starts a guardian that outlives this process. Returns the descriptor whose closing by death it waits
    for; :func:`dismiss` ends its watch."""
    reading, writing = os.pipe()
    sys.stderr.flush()
    if os.fork():
        os.close(reading)
        return writing
    # The guardian: no signal of a terminal or of the pipeline's process group reaches it.
    try:
        os.setsid()
        os.close(writing)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if not os.read(reading, 1):
            say("the run was killed; its guardian removes the lab")
            mark.end_step(_ORPHAN_S)
            remove(Steps(lab=steps.lab), mark, ending)
    finally:
        os._exit(0)


def dismiss(guardian: int) -> None:
    """All is done: the guardian has nothing to do."""
    with contextlib.suppress(OSError):
        os.write(guardian, b"x")
    os.close(guardian)


def run(steps: Steps, mark: Mark, *, up: Sequence[str], verify: Sequence[str], ending: Sequence[str]) -> int:
    """Up, verify and remove. The exit code is that of the first step that failed, 1 when the lab could not be
    removed although all else went well.

    Raises:
        UsageError: there is a lab of this name that no such run made; nothing is touched.
    """
    mark.make()
    steps.note = mark.note_step
    guardian = guard(steps, mark, ending)
    steps.listen()
    gone = False
    try:
        code = steps.run("--name", mark.lab, "up", *up)
        if code == 0:
            code = steps.run("--name", mark.lab, "verify", *verify)
    finally:
        gone = remove(steps, mark, ending)
        dismiss(guardian)
    return code or (0 if gone else 1)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--name", default="ci", show_default=True, help="The lab's name, such as pr-12.")
@click.option(
    "--keep-persistent", is_flag=True, help="End with lab down: what is kept belongs to others, too."
)
@click.option(
    "--remove-only", is_flag=True, help="Remove what an earlier run of this name left, if anything."
)
@click.option(
    "--shares",
    metavar="LAB",
    help="Be in the slot of this name in that lab's persistent stack, one run at a time. The same as "
    "LAB_SHARES; LAB_BACKEND_URL says where its state lies.",
)
@click.option("--lab", type=click.Path(path_type=Path), default=ROOT / "lab", help="The command; for tests.")
@click.argument("up", nargs=-1, type=click.UNPROCESSED)
def main(
    name: str, keep_persistent: bool, remove_only: bool, shares: str | None, lab: Path, up: tuple[str, ...]
) -> None:
    """Bring a lab up, verify it, remove it. Arguments after -- are those of lab up."""
    steps = Steps(lab=[str(lab)])
    shares = shares or environment("LAB_SHARES")
    ending = ["down"] if keep_persistent else ["destroy", "--yes"]
    if shares:
        if keep_persistent:
            raise click.UsageError("--keep-persistent is of no use with --shares: its slot stays in any case")
        # A slot that somebody uses is not taken, and not removed.
        up, ending = ("--shares", shares, "--fresh", *up), [*ending, "--shares", shares]
    try:
        mark = Mark(name)
        if remove_only:
            if shares:
                mark.end_step(_ORPHAN_S)
                steps.listen()
                sys.exit(0 if remove(steps, mark, ending, anyway=True) else 1)
            if not mark.exists():
                say(f"no run left a lab {name!r}")
                sys.exit(0)
            mark.end_step(_ORPHAN_S)
            steps.listen()
            sys.exit(0 if remove(steps, mark, ending) else 1)
        code = run(steps, mark, up=up, verify=(), ending=ending)
    except LabError as error:
        print(error.render(), file=sys.stderr)
        sys.exit(error.exit_code)
    say("done: the lab was verified and is removed" if code == 0 else f"failed with exit code {code}")
    sys.exit(code)


if __name__ == "__main__":
    main()
