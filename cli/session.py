"""What every operation is given: the lab, its engine and supervisor, and where to say things."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cli.backend import secrets_provider
from cli.events import silent
from cli.guardrails import guardrails_file
from cli.interrupts import Interrupts
from cli.locks import one_command
from cli.project import Lab, program_environment, read_config, write_private
from contracts.errors import LabError
from contracts.outputs import LabOutputs, PersistentOutputs, Slot, from_exports
from contracts.settings import Role
from contracts.slots import slot_command

if TYPE_CHECKING:
    from cli.engine import EnginePort
    from cli.toolchain import Engine
    from placements.local.artifacts.progress import Progress
    from placements.local.supervisor import ServiceStatus


class SupervisorPort(Protocol):
    """What operations ask of the supervisor."""

    def running(self) -> bool: ...

    def status(self) -> list[ServiceStatus]: ...

    def start(self, names: Sequence[str] | None = None) -> list[ServiceStatus]: ...

    def watch(self) -> Iterable[ServiceStatus]: ...

    def left_behind(self) -> list[str]: ...

    def unreadable(self) -> list[str]: ...

    def recover(self) -> None: ...

    def resume(self, names: Sequence[str]) -> list[str]: ...

    def stop(self, names: Sequence[str], *, wait: bool = True) -> None: ...

    def remove(self, name: str) -> None: ...

    def stop_all(self) -> None: ...

    def shutdown(self, *, stop_services: bool = True) -> None: ...


Watching = Callable[[Callable[[], Iterable["ServiceStatus"]]], AbstractContextManager[None]]


def _unwatched(_: Callable[[], Iterable[ServiceStatus]]) -> AbstractContextManager[None]:
    return nullcontext()


class Session:
    """One command's run on one lab. ``engine`` and ``supervisor`` are made when first asked for.

    Args:
        lab: the lab acted on.
        say: takes a line for the user; never a secret.
        progress: draws downloads and builds.
        watching: shows services on their way; it is given what yields their changes.
        verbose: show all the engine prints.
        environ: the process environment; another one in tests.
        engine, supervisor: in place of the real ones.
    """

    def __init__(
        self,
        lab: Lab,
        *,
        say: Callable[[str], None] = silent,
        progress: Progress | None = None,
        watching: Watching = _unwatched,
        verbose: bool = False,
        environ: Mapping[str, str] | None = None,
        engine: EnginePort | None = None,
        supervisor: SupervisorPort | None = None,
    ) -> None:
        self.lab, self.say, self.verbose = lab, say, verbose
        self._progress, self._watching = progress, watching
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.interrupts = Interrupts()
        self.guardrails = False
        """Set to have the guardrails judge a local lab, too."""
        self.throw_away = False
        """Set to have the guardrails let this one command take the lab's protection away."""
        self._engine, self._supervisor = engine, supervisor
        self._engine_made = False
        self._slot: Slot | None = None

    @property
    def progress(self) -> Progress:
        """What draws downloads and builds."""
        if self._progress is None:
            from placements.local.artifacts.progress import SilentProgress

            self._progress = SilentProgress()
        return self._progress

    @property
    def virtualenv(self) -> Path:
        """The environment this command runs in; the Pulumi program runs in the same."""
        return Path(sys.prefix)

    @property
    def engine(self) -> EnginePort:
        """The real engine, obtained when it is not there yet."""
        if self._engine is None:
            from cli.engine import PulumiEngine
            from cli.toolchain import pulumi_engine

            found = pulumi_engine(self.lab.cache, self.progress)
            self._engine_made = True
            self._engine = PulumiEngine(
                self.lab,
                path=found.program,
                version=found.version,
                environment=self.engine_environment(found),
                interrupts=self.interrupts,
                say=self.say,
                verbose=self.verbose,
                rebuilt_at_will=self.is_local(),
                policy_packs=self.policy_packs(),
                secrets_key=secrets_provider(self.lab, self.environ),
            )
        return self._engine

    def renew_engine(self) -> None:
        """After the lab's settings became others: what was made by them is made anew."""
        if self._engine_made:
            self._engine, self._engine_made = None, False

    def engine_environment(self, engine: Engine) -> dict[str, str]:
        """All that Pulumi needs to be run on this lab, as ``lab env`` prints it."""
        values = {
            **program_environment(self.lab, self.environ),
            **engine.environment(
                python=self.virtualenv / "bin" / "python",
                home=self.lab.pulumi_home,
                plugin_folders=(self.lab.launchers_dir, self.virtualenv / "bin"),
                base=self.environ,
            ),
        }
        # The project file names the virtual environment; the language host takes only one of the two.
        values.pop("PULUMI_PYTHON_CMD", None)
        return values

    @property
    def supervisor(self) -> SupervisorPort:
        """The way to the lab's supervisor."""
        if self._supervisor is None:
            from placements.local.supervisor import SupervisorClient

            self._supervisor = SupervisorClient(self.lab.home)
        return self._supervisor

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Ctrl-C is passed to the engine once instead of ending this process at once."""
        with self.interrupts:
            yield

    def watching_services(self) -> AbstractContextManager[None]:
        """Shows the services that are on their way, where they are processes of this machine."""
        return self._watching(self.supervisor.watch) if self.is_local() else nullcontext()

    @property
    def command_file(self) -> Path:
        """What the one command that changes the lab holds."""
        return self.lab.home / "command.lock"

    @contextmanager
    def exclusive(self, command: str) -> Iterator[None]:
        """Keeps other commands that change this lab out. Raises LabError when one is at it."""
        with one_command(self.command_file, command):
            yield

    # What the stacks export

    @property
    def outputs_file(self) -> Path:
        """The lab stack's outputs as of the last ``up``, so that quick commands need no engine."""
        return self.lab.home / "outputs.json"

    def remember_outputs(self) -> LabOutputs:
        """Asks the engine for the lab stack's outputs and keeps them (they hold no secret)."""
        # The authority's certificate is public and comes from a secret output, so it is marked as one.
        document = self.engine.outputs(Role.LAB, secrets=True)
        outputs = from_exports(LabOutputs, document or {}, next_command="lab up")
        write_private(self.outputs_file, json.dumps(document, indent=1, sort_keys=True) + "\n")
        return outputs

    def outputs_after(self, shown: Mapping[str, Any]) -> LabOutputs:
        """The outputs after a run that showed these: those kept when they are the same, else
        :meth:`remember_outputs`, which takes another start of the engine."""
        former = self._former_outputs_file
        if former.exists():
            former.replace(self.outputs_file)
        try:
            kept: Any = json.loads(self.outputs_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return self.remember_outputs()
        # A secret is shown masked; the one there is, the certificate, changes with the slot alone.
        same = all(kept.get(name) == value for name, value in shown.items() if name != "ca_certificate")
        return self.outputs() if shown and same else self.remember_outputs()

    def outputs(self) -> LabOutputs:
        """The lab stack's outputs. Raises LabError when the lab is not up."""
        self.lab.require()
        try:
            document: Any = json.loads(self.outputs_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"lab {self.lab.name!r} is not up", next_command="lab up") from None
        except ValueError:
            return self.remember_outputs()
        return from_exports(LabOutputs, document, next_command="lab up")

    def forget_outputs(self) -> None:
        """After ``down``: the lab stack is gone. The next one is likely to have the same outputs, which
        :meth:`outputs_after` then needn't ask for."""
        if self.outputs_file.exists():
            self.outputs_file.replace(self._former_outputs_file)

    def forget_former_outputs(self) -> None:
        """After the persistent stack changed: the lab stack's outputs may be others, masked ones too."""
        self._former_outputs_file.unlink(missing_ok=True)

    @property
    def _former_outputs_file(self) -> Path:
        return self.outputs_file.with_suffix(".former.json")

    def slot(self) -> Slot:
        """This lab's databases, keys and passwords, decrypted from the persistent stack's outputs."""
        if self._slot is None:
            self.lab.require()
            document = self.engine.outputs(Role.PERSISTENT, secrets=True)
            owner = self.lab.owner
            make = f"lab --name {owner} bootstrap" if owner else "lab bootstrap"
            persistent = from_exports(PersistentOutputs, document or {}, next_command=make)
            if self.lab.name not in persistent.slots:
                raise LabError(
                    f"the persistent stack{f' of lab {owner!r}' if owner else ''} has no slot for lab "
                    f"{self.lab.name!r}",
                    permitted=", ".join(sorted(persistent.slots)),
                    next_command=slot_command(owner, persistent.slots, self.lab.name) if owner else make,
                )
            self._slot = persistent.slots[self.lab.name]
        return self._slot

    def placement(self) -> str:
        """Where this lab is."""
        return read_config(self.lab, Role.LAB).get("placement", "local")

    def policy_packs(self) -> dict[Path, Path | None]:
        """What judges each change of the stacks, with its configuration: the guardrails where they were asked
        for, and always where a change reaches beyond this machine."""
        if not self.guardrails and self.is_local():
            return {}
        configured = guardrails_file(self.lab, self.environ, self.throw_away)
        return {self.lab.root / "policies" / "guardrails": configured}

    def is_local(self) -> bool:
        """Whether this lab's services are processes of this machine."""
        return self.placement() == "local"
