"""The Pulumi engine over the Automation API, on a lab's own project directory.

:class:`EnginePort` is what operations need of it; tests put a fake in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pulumi.automation import (
    CommandError,
    ConcurrentUpdateError,
    LocalWorkspace,
    OutputMap,
    Stack,
    StackAlreadyExistsError,
    StackNotFoundError,
    UpdateSummary,
)
from pulumi.automation._stack import StackInitMode  # what the public constructors pass, for Stack alone
from pulumi.automation.events import EngineEvent

from cli.backend import file_backend
from cli.events import PROVIDER_ENDED, EventLog, PlannedStep, silent
from cli.forwarding import ForwardingCommand
from cli.interrupts import Interrupts
from cli.locks import has_pending_operations, remove_stale, stack_is_there, stacks_there
from cli.project import Lab, require_own
from contracts.errors import LabError
from contracts.settings import Role


class InterruptedRunError(LabError):
    """Somebody asked to stop; the engine finished what was in flight."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one run of the engine did. ``changes`` counts resources by operation (create, update,
    delete, replace, same …); ``durations_s`` are seconds by resource name, slowest first; ``log_file``
    holds all the engine printed; ``outputs`` are the stack's as the run showed them, secrets masked;
    ``steps`` are the resources that it saw, in order."""

    stack: str
    operation: str
    changes: Mapping[str, int]
    durations_s: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    log_file: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[PlannedStep, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything but ``same`` and ``read`` was done."""
        return any(count for name, count in self.changes.items() if name not in ("same", "read"))


class EnginePort(Protocol):
    """What operations ask of the engine."""

    def up(self, role: Role, *, config_file: Path | None = None) -> RunResult:
        """Makes the stack as the program says."""
        ...

    def preview(self, role: Role, *, diff: bool = False) -> RunResult:
        """Says what ``up`` would do."""
        ...

    def refresh(self, role: Role, *, clear_pending: bool = False) -> RunResult:
        """Reads what is really there into the state."""
        ...

    def destroy(self, role: Role) -> RunResult:
        """Removes what the stack made."""
        ...

    def outputs(self, role: Role, *, secrets: bool = False) -> dict[str, Any] | None:
        """The stack's outputs; None when there is no such stack."""
        ...

    def exists(self, role: Role) -> bool:
        """Whether the stack has been made."""
        ...

    def remove(self, role: Role) -> None:
        """Forgets a stack that was destroyed, with its history."""
        ...

    def take_settings(self, role: Role) -> None:
        """Writes the file of a stack as its last run had it, what its secrets are encrypted with included.
        One that never ran leaves the file as it is."""
        ...

    def stack_names(self) -> list[str]:
        """Names of all stacks of the backend, those of other labs that share it included."""
        ...

    def create(self, role: Role) -> bool:
        """Makes the stack with nothing in it. Returns whether it did: False where it is there already."""
        ...


WITHOUT_CHECKPOINTS: Mapping[str, str] = {"PULUMI_EXPERIMENTAL": "1", "PULUMI_SKIP_CHECKPOINTS": "1"}
"""The engine then writes a stack's state once, at the run's end, and not before and after each of a hundred
resources."""


NEVER_RAN = "no previous deployment"
"""In what the CLI says of a stack that was made and never run."""


class LeanStack(Stack):
    """Leaves out what the SDK asks for before and after each run, whether the stack is there, outputs twice
    and history: four more starts of the CLI, for answers that are known or that nobody here reads.
    :meth:`PulumiEngine.outputs` asks when they are wanted."""

    def __init__(self, name: str, workspace: LocalWorkspace, *, known: bool, create: bool) -> None:
        if known:
            # Every command names its stack, so that none has to be selected.
            self.name, self.workspace, self._mode = name, workspace, StackInitMode.SELECT
        else:
            super().__init__(
                name, workspace, StackInitMode.CREATE_OR_SELECT if create else StackInitMode.SELECT
            )

    def outputs(self) -> OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:  # noqa: ARG002  the SDK's signature
        now = datetime.now(UTC)
        return UpdateSummary(
            kind="update",
            start_time=now,
            message="",
            environment={},
            config={},
            result="succeeded",
            end_time=now,
            resource_changes={},
        )


class PulumiEngine:
    """:class:`EnginePort` over the real engine."""

    def __init__(
        self,
        lab: Lab,
        *,
        path: Path,
        version: str,
        environment: Mapping[str, str],
        interrupts: Interrupts,
        say: Callable[[str], None] = silent,
        verbose: bool = False,
        rebuilt_at_will: bool = False,
        policy_packs: Mapping[Path, Path | None] | None = None,
        secrets_key: str | None = None,
    ) -> None:
        """``rebuilt_at_will``: whatever the lab stack makes is found again by its next run, so that a run
        which is killed in its middle may leave the state as it was before. ``policy_packs`` judge every
        ``up`` and ``preview``; each may have a file with its configuration. ``secrets_key`` is the URL of
        the key that encrypts a new stack's secrets; None: its passphrase."""
        packs = policy_packs or {}
        self._judged: dict[str, Any] = {}
        if packs:
            self._judged["policy_packs"] = [str(pack) for pack in packs]
        if configured := [str(file) for file in packs.values() if file]:
            self._judged["policy_pack_configs"] = configured
        self._without_checkpoints = {Role.LAB} if rebuilt_at_will else set[Role]()
        self._lab, self._say, self._verbose, self._interrupts = lab, say, verbose, interrupts
        self._environment = dict(environment)
        self._workspace = LocalWorkspace(
            work_dir=str(lab.project_dir),
            pulumi_home=str(lab.pulumi_home),
            env_vars=dict(environment),
            secrets_provider=secrets_key,
            pulumi_command=ForwardingCommand(path, version, interrupts),
        )
        self._state_dir = file_backend(lab, environment)

    def up(self, role: Role, *, config_file: Path | None = None) -> RunResult:
        stack = self._open(role, create=True)
        file = str(config_file) if config_file else None
        return self._run(
            "up",
            role,
            lambda **k: stack.up(show_secrets=False, config_file=file, **self._judged, **k),
        )

    def preview(self, role: Role, *, diff: bool = False) -> RunResult:
        stack = self._open(role, create=True)
        return self._run(
            "preview",
            role,
            lambda **k: stack.preview(diff=diff, **self._judged, **k),
            print_output=diff,
        )

    def refresh(self, role: Role, *, clear_pending: bool = False) -> RunResult:
        stack = self._open(role, create=False)
        return self._refresh(stack, role, clear_pending)

    def destroy(self, role: Role) -> RunResult:
        stack = self._open(role, create=False)
        return self._run("destroy", role, lambda **k: stack.destroy(show_secrets=False, **k))

    def outputs(self, role: Role, *, secrets: bool = False) -> dict[str, Any] | None:
        arguments = ["stack", "output", "--json", "--stack", self._lab.stack_name(role)]
        try:
            result = self._workspace.pulumi_command.run(
                [*arguments, "--show-secrets"] if secrets else arguments,
                self._workspace.work_dir,
                self._workspace.env_vars,
            )
        except StackNotFoundError:
            return None
        except CommandError as error:
            raise self._command_failure(error, f"outputs of stack {role}") from error
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def exists(self, role: Role) -> bool:
        name = self._lab.stack_name(role)
        return stack_is_there(self._state_dir, name) if self._state_dir else name in self.stack_names()

    def stack_names(self) -> list[str]:
        if self._state_dir:
            return stacks_there(self._state_dir)
        try:
            return sorted(stack.name for stack in self._workspace.list_stacks())
        except CommandError as error:
            raise self._command_failure(error, "list of stacks") from error

    def create(self, role: Role) -> bool:
        require_own(self._lab, role)
        try:
            self._workspace.create_stack(self._lab.stack_name(role))
        except StackAlreadyExistsError:
            return False
        except CommandError as error:
            raise self._command_failure(error, f"stack {role}") from error
        return True

    def remove(self, role: Role) -> None:
        require_own(self._lab, role)
        try:
            # Its settings go with the lab's folder: a destroy that is ended here has to find them again.
            self._workspace.remove_stack(self._lab.stack_name(role), preserve_config=True)
        except CommandError as error:
            raise self._command_failure(error, f"removal of stack {role}") from error

    def take_settings(self, role: Role) -> None:
        try:
            self._workspace.pulumi_command.run(
                ["config", "refresh", "--force", "--stack", self._lab.stack_name(role)],
                self._workspace.work_dir,
                self._workspace.env_vars,
            )
        except CommandError as error:
            if NEVER_RAN in str(error):
                return
            raise self._command_failure(error, f"settings of stack {role}") from error

    def _open(self, role: Role, *, create: bool) -> Stack:
        """The stack, free of what a killed run left behind."""
        require_own(self._lab, role)
        name = self._lab.stack_name(role)
        if self._state_dir:
            own = [self._lab.stack_name(one) for one in self._lab.own_roles]
            for lock in remove_stale(self._state_dir, stacks=own):
                self._say(f"removed the lock that pid {lock.pid} left on stack {lock.stack}: it runs no more")
        try:
            stack = LeanStack(
                name,
                self._workspace,
                known=self._state_dir is not None and stack_is_there(self._state_dir, name),
                create=create,
            )
        except CommandError as error:
            raise self._command_failure(error, f"stack {role}") from error
        if self._state_dir and has_pending_operations(self._state_dir, name):
            self._say(f"stack {role} was interrupted: its pending operations are cleared first")
            self._refresh(stack, role, clear_pending=True)
        return stack

    def _refresh(self, stack: Stack, role: Role, clear_pending: bool) -> RunResult:
        return self._run(
            "refresh",
            role,
            lambda **k: stack.refresh(show_secrets=False, clear_pending_creates=clear_pending, **k),
        )

    def _command_failure(self, error: CommandError, what: str) -> LabError:
        """A command that failed or, interrupted before it could handle that, died of it."""
        if self._interrupts.requested:
            return InterruptedRunError(
                f"stopped at the {what}; both stacks are as they were",
                next_command="the same command again",
            )
        return LabError(
            "\n".join([f"Pulumi failed on {what}", *_tail(str(error))]), next_command="lab doctor"
        )

    def _run(
        self, operation: str, role: Role, call: Callable[..., Any], *, print_output: bool = False
    ) -> RunResult:
        if self._interrupts.requested:
            raise InterruptedRunError("stopped before the next step", next_command=_again(operation))
        log_file = self._lab.logs_dir / f"pulumi-{role.value}-{operation}.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        events = EventLog(say=self._say)
        with log_file.open("w", encoding="utf-8") as log:

            def keep(text: str) -> None:
                print(text, file=log, flush=True)
                if print_output or self._verbose:
                    self._say(text)

            def on_event(event: EngineEvent) -> None:
                events.add(event)

            self._workspace.env_vars = {
                **self._environment,
                **(WITHOUT_CHECKPOINTS if role in self._without_checkpoints else {}),
            }
            try:
                call(on_output=keep, on_error=keep, on_event=on_event, color="never", suppress_outputs=True)
            except CommandError as error:
                if self._interrupts.requested:
                    raise InterruptedRunError(
                        f"{operation} of stack {role} was stopped; what was in flight is finished",
                        next_command=_again(operation),
                    ) from error
                raise _run_failure(error, operation, role, events, log_file) from error
        return RunResult(
            stack=role.value,
            operation=operation,
            changes=events.changes,
            durations_s=events.durations_s(),
            seconds=events.seconds(),
            log_file=str(log_file),
            outputs=events.outputs,
            steps=tuple(events.steps),
        )


def _again(operation: str) -> str:
    command = {"destroy": "lab down", "refresh": "lab refresh"}.get(operation, "lab up")
    return f"{command}, which continues where this stopped"


def _run_failure(
    error: CommandError, operation: str, role: Role, events: EventLog, log_file: Path
) -> LabError:
    if isinstance(error, ConcurrentUpdateError):
        return LabError(
            f"another run of Pulumi works on stack {role}", next_command="wait for it, then lab doctor --fix"
        )
    if events.violations:
        return LabError(
            "\n".join(
                [
                    f"{operation} of stack {role} breaks the guardrails",
                    *(f"  {line}" for line in events.violations),
                ]
            ),
            permitted="what policies/guardrails says of it",
            next_command="lab preview --guardrails, once that is mended",
        )
    reasons: Sequence[str] = events.errors or _tail(str(error))
    ended = any(PROVIDER_ENDED in line for line in reasons)
    return LabError(
        "\n".join([f"{operation} of stack {role} failed", *(f"  {line}" for line in reasons)]),
        permitted=f"the whole log is in {log_file}",
        next_command=_again(operation) if ended else "lab doctor",
    )


def _tail(text: str, count: int = 12) -> list[str]:
    """The last lines of what the CLI printed, without the SDK's labels before them."""
    lines = [re.sub(r"^ ?(code: \d+|stdout:|stderr:) ?", "", line) for line in text.splitlines()]
    return [line for line in lines if line.strip()][-count:]
