"""The engine's command line as a process that signals reach once."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from cli.interrupts import Interrupts


class ForwardingCommand(PulumiCommand):
    """The installed CLI, run in a process group of its own so that interrupts reach it exactly once."""

    def __init__(self, path: Path, version: str, interrupts: Interrupts) -> None:
        # The base class would start the CLI only to ask for its version, which is known here.
        self.command = str(path)
        self.version = VersionInfo.parse(version.removeprefix("v"))
        self._interrupts = interrupts

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """As the base class; see there."""
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        environment.pop("PULUMI_CONFIG_PASSPHRASE", None)
        with subprocess.Popen(
            [self.command, "--non-interactive", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            env=environment,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        ) as process:
            self._interrupts.watch(process.pid)
            try:
                assert process.stdout is not None  # noqa: S101 - both were asked for above
                assert process.stderr is not None  # noqa: S101 - both were asked for above
                out, err = _Reader(process.stdout, on_output), _Reader(process.stderr, on_error)
                out.join()
                err.join()
                process.wait()
            finally:
                self._interrupts.forget()
        result = CommandResult(stdout=out.text(), stderr=err.text(), code=process.returncode)
        if process.returncode != 0:
            raise create_command_error(result)
        return result


class _Reader(threading.Thread):
    """Keeps a stream's lines and hands each on as it comes."""

    def __init__(self, stream: IO[str], callback: Callable[[str], Any] | None) -> None:
        super().__init__(daemon=True)
        self._stream, self._callback, self._lines = stream, callback, list[str]()
        self.start()

    def run(self) -> None:
        for line in self._stream:
            text = line.rstrip()
            if self._callback:
                self._callback(text)
            self._lines.append(text)

    def text(self) -> str:
        return "\n".join(self._lines)
