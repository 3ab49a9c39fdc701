"""What the engine's event stream says, boiled down: changes, errors, and where the time went.

https://www.pulumi.com/docs/iac/using-pulumi/automation-api/concepts-terminology/#engine-events
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

_SHOWN = {"create": "made", "update": "changed", "delete": "removed", "replace": "replaced"}
_QUIET_TYPES = ("pulumi:providers:", "pulumi:pulumi:")
_WORTH_A_LINE_S = 5.0
_SHOWN_ELSEWHERE = (":Process",)
"""Services have lines of their own, from the supervisor."""

_NOISE = re.compile(
    r"failed with an unhandled exception|^\s*at [\w.$/@<>]+\(|^\s*\.\.\. \d+ more|^\s*(Killed|Terminated)$"
)
_BROKEN_OFF = re.compile(r"error reading from server: EOF|transport is closing|code = Unavailable")
PROVIDER_ENDED = "the process that makes it ended in the middle"
"""What is said of a resource whose provider was killed, as the kernel does when memory runs out."""


def silent(_: str) -> None:
    """Says nothing."""


class EventLog:
    """Collects the events of one run. ``say`` gets one line for each resource that was changed."""

    def __init__(
        self, *, say: Callable[[str], None] = silent, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._clock = say, clock
        self._began = clock()
        self._started: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._summary: Mapping[str, int] | None = None
        self.errors: list[str] = []
        self.outputs: dict[str, Any] = {}
        """The stack's outputs as shown at its end; secrets are masked."""

    def add(self, event: Any) -> None:
        """Takes one ``pulumi.automation.EngineEvent``."""
        if event.resource_pre_event:
            self._started[event.resource_pre_event.metadata.urn] = self._clock()
        elif event.res_outputs_event:
            self._finished(event.res_outputs_event.metadata)
        elif event.res_op_failed_event:
            metadata = event.res_op_failed_event.metadata
            self._say(f"  failed   {short_name(metadata.urn)}")
        elif event.diagnostic_event and event.diagnostic_event.severity == "error":
            self._error(event.diagnostic_event.message, event.diagnostic_event.urn or "")
        elif event.summary_event:
            self._summary = {str(_text(k)): int(v) for k, v in event.summary_event.resource_changes.items()}

    @property
    def changes(self) -> dict[str, int]:
        """Resources by operation: the engine's own summary, or what was seen so far."""
        return dict(self._summary if self._summary is not None else self._counts)

    def durations_s(self) -> dict[str, float]:
        """Seconds by resource, slowest first, those under a tenth left out."""
        slow = sorted(self._spent.items(), key=lambda item: -item[1])
        return {name: round(seconds, 1) for name, seconds in slow if seconds >= 0.1}

    def seconds(self) -> float:
        """Since the run began."""
        return round(self._clock() - self._began, 1)

    def _finished(self, metadata: Any) -> None:
        operation = str(_text(metadata.op))
        self._counts[operation] += 1
        began = self._started.pop(metadata.urn, None)
        if metadata.type == "pulumi:pulumi:Stack" and metadata.new is not None:
            self.outputs = dict(metadata.new.outputs or {})
        if operation not in _SHOWN or began is None or metadata.type.startswith(_QUIET_TYPES):
            return
        seconds = self._clock() - began
        name = short_name(metadata.urn)
        self._spent[name] = max(self._spent.get(name, 0.0), seconds)
        if seconds >= _WORTH_A_LINE_S and not metadata.type.endswith(_SHOWN_ELSEWHERE):
            self._say(f"  {_SHOWN[operation]:8} {name}  {seconds:.1f} s")

    def _error(self, message: str, urn: str) -> None:
        lines = readable_error(message)
        if lines and urn and "::pulumi:pulumi:Stack::" not in urn:
            lines[0] = f"{short_name(urn)}: {lines[0]}"
        for line in lines:
            if line not in self.errors:
                self.errors.append(line)


def short_name(urn: str) -> str:
    """``Process keycloak`` of ``urn:pulumi:lab::project::…$pulumi-python:dynamic/lab:Process::keycloak``
    (https://www.pulumi.com/docs/iac/concepts/resources/names/#urns)."""
    parts = urn.split("::")
    if len(parts) < 4:
        return urn
    return f"{parts[2].split(':')[-1]} {parts[-1]}"


def readable_error(message: str) -> list[str]:
    """The lines of a diagnostic that say something to a person: colour codes and the frames of a Python
    traceback are left out, the exception's own text is kept."""
    text = re.sub(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m", "", message)
    kept: list[str] = []
    in_traceback = False
    for line in text.splitlines():
        if line.strip().startswith("Traceback (most recent call last)"):
            in_traceback = True
            continue
        if in_traceback and (line.startswith((" ", "\t")) or not line.strip()):
            continue
        in_traceback = False
        if _BROKEN_OFF.search(line):
            kept.append(PROVIDER_ENDED)
        elif line.strip() and not _NOISE.search(line):
            kept.append(re.sub(r"^[a-z_.]+(?:\.[A-Z]\w*): ", "", line.rstrip()))
    return kept


def _text(value: Any) -> Any:
    """The engine's word for an operation, which the SDK gives as an enum member or as text."""
    return getattr(value, "value", value)
