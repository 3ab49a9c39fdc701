"""What the engine's event stream says, boiled down: changes, errors, and where the time went.

https://www.pulumi.com/docs/iac/using-pulumi/automation-api/concepts-terminology/#engine-events
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_SHOWN = {"create": "made", "update": "changed", "delete": "removed", "replace": "replaced"}
_PARTS_OF_REPLACEMENT = ("create-replacement", "delete-replaced")
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


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One resource as a run saw it. ``op`` is the engine's word (create, update, replace, delete, same …);
    ``before`` and ``after`` are inputs, secrets masked, None where there is none; ``changed`` names the
    properties that differ."""

    op: str
    type: str
    name: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    changed: tuple[str, ...] = ()


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
        self.steps: list[PlannedStep] = []
        """What was or would be done to each resource; a replacement is one step."""
        self.violations: list[str] = []
        """Mandatory policies that were violated, with the resource and what to do."""

    def add(self, event: Any) -> None:
        """Takes one ``pulumi.automation.EngineEvent``."""
        if event.resource_pre_event:
            self._started[event.resource_pre_event.metadata.urn] = self._clock()
            self._planned(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._finished(event.res_outputs_event.metadata)
        elif event.res_op_failed_event:
            metadata = event.res_op_failed_event.metadata
            self._say(f"  failed   {short_name(metadata.urn)}")
        elif event.policy_event and event.policy_event.enforcement_level == "mandatory":
            self._violated(event.policy_event)
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

    def _planned(self, metadata: Any) -> None:
        operation = str(_text(metadata.op))
        # A replacement comes as three steps; the middle one has both its sides.
        if operation in _PARTS_OF_REPLACEMENT or metadata.type.startswith(_QUIET_TYPES):
            return
        self.steps.append(
            PlannedStep(
                op=operation,
                type=metadata.type,
                name=metadata.urn.split("::")[-1],
                before=dict(metadata.old.inputs or {}) if metadata.old is not None else None,
                after=dict(metadata.new.inputs or {}) if metadata.new is not None else None,
                changed=tuple(metadata.detailed_diff or metadata.diffs or ()),
            )
        )

    def _violated(self, event: Any) -> None:
        """A guardrail's own words; the engine's message begins with its description."""
        text = readable_error(event.message)
        where = short_name(event.resource_urn) if event.resource_urn else "the stack"
        line = f"{event.policy_name}: {where}: {text[-1] if text else 'violated'}"
        if line not in self.violations:
            self.violations.append(line)

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
