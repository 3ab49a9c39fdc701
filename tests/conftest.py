"""Rules for every suite: nothing is skipped silently, no lab is left behind, the time is accounted for."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import defaultdict
from pathlib import Path

import hypothesis
import psutil
import pytest

from tests.live import leftovers

# How long one example takes says more about what else this machine does.
hypothesis.settings.register_profile("lab", deadline=None)
hypothesis.settings.load_profile("lab")

EXPECTED_SKIPS = Path(__file__).with_name("expected_skips.txt")
SLOWEST = 15
PROGRESS_EVERY_S = 300
WITHOUT_A_LAB_S = 900
_unexpected: list[str] = []
_seconds: defaultdict[str, float] = defaultdict(float)
_fixture_seconds: defaultdict[str, float] = defaultdict(float)
_begun = time.monotonic()
_said = 0.0
_done = 0
_terminal: list[pytest.TerminalReporter] = []

# A shell without job control starts what it runs in the background deaf to Ctrl-C, and so would be every
# command that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _expected() -> list[re.Pattern[str]]:
    lines = EXPECTED_SKIPS.read_text(encoding="utf-8").splitlines()
    return [re.compile(line) for line in lines if line.strip() and not line.startswith("#")]


def pytest_configure(config: pytest.Config) -> None:
    """Whoever starts the run answers for its labs."""
    if not hasattr(config, "workerinput"):
        folder = leftovers.make_folder()
        config.add_cleanup(lambda: leftovers.remove_folder(folder))


def pytest_report_header() -> str:
    """What the times that are printed stand for."""
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"machine: {os.cpu_count()} processors, {memory_gib:.0f} GiB of memory"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Failures are said where the run's progress is shown."""
    if (terminal := session.config.pluginmanager.getplugin("terminalreporter")) is not None:
        _terminal.append(terminal)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of live labs first: they take longest, and whole files are shared out one by one. Without a
    lab to wait for, nothing takes as long as a test may take at most."""
    items.sort(key=lambda item: item.get_closest_marker("live") is None)
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("live", "timeout")):
            item.add_marker(pytest.mark.timeout(WITHOUT_A_LAB_S))


def _say(line: str, *, red: bool = False) -> None:
    """For whoever reads a run that was cut off."""
    minutes, seconds = divmod(int(time.monotonic() - _begun), 60)
    for terminal in _terminal:
        terminal.write("\n")
        terminal.write_line(f"[{minutes}:{seconds:02}] {line}", red=red)


def _say_how_far() -> None:
    global _said
    now = time.monotonic() - _begun
    if now - _said >= PROGRESS_EVERY_S:
        _said = now
        _say(f"{_done} tests done")


def _say_at_once(report: pytest.TestReport) -> None:
    """A failure's name and first line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longreprtext).strip()
    first = text.partition("\n")[0]
    _say(f"{report.when} of {report.nodeid} failed: {first}", red=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Says failures at once, and how far the run is; notes a skip whose reason is not among the expected
    ones, and what each file took."""
    global _done
    if report.when == "teardown":
        _done += 1
        _say_how_far()
    if report.failed:
        _say_at_once(report)
    file = report.nodeid.partition("::")[0]
    _seconds[file] += report.duration
    if report.when != "call":
        _fixture_seconds[file] += report.duration
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(pattern.search(reason) for pattern in _expected()):
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI an unexpected skip is a failure."""
    if _unexpected and os.environ.get("CI") == "true" and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names every unexpected skip, and the files that took longest."""
    for line in _unexpected:
        terminalreporter.write_line(f"UNEXPECTED SKIP {line}", red=True)
    if len(_seconds) > 1:
        terminalreporter.write_sep("=", "where the time went")
        files = sorted(_seconds, key=lambda file: -_seconds[file])
        for file in files[:SLOWEST]:
            fixtures = (
                f", {_fixture_seconds[file]:.0f} s of it in fixtures" if _fixture_seconds[file] > 1 else ""
            )
            terminalreporter.write_line(f"{_seconds[file]:7.1f} s  {file}{fixtures}")
        if rest := files[SLOWEST:]:
            terminalreporter.write_line(
                f"{sum(_seconds[file] for file in rest):7.1f} s  {len(rest)} other files"
            )
