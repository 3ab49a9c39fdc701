"""The ``lab`` command: arguments in, text or JSON out. What is done is in ``cli.operations``."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from cli.commands import (
    asking,
    auditing,
    backups,
    caching,
    costing,
    data,
    development,
    governing,
    inspecting,
    lifecycle,
    maintaining,
    policies,
    spark,
    workspaces,
)
from cli.commands.common import Options, common_options, for_lab
from contracts.errors import LabError, nearest


class LabGroup(click.Group):
    """Suggests the nearest command for an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            close = nearest(name, self.list_commands(ctx))
            hint = f"; did you mean {close!r}?" if close else ""
            raise click.UsageError(f"there is no command named {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of use, not of the alphabet."""
        return list(self.commands)


@click.group(
    cls=LabGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this machine can't carry it, "
    "4 a compared change widens access (policy diff).",
)
@common_options
def lab() -> None:
    """A governed open lakehouse on this machine: `lab up` brings it up."""


for _module in (
    lifecycle,
    costing,
    inspecting,
    data,
    asking,
    spark,
    governing,
    policies,
    workspaces,
    auditing,
    maintaining,
    backups,
    caching,
    development,
):
    for _command in _module.COMMANDS:
        lab.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process with its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Unicode shows escapes instead of ending the command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    sys.exit(run(given))


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """The exit code of the command with these arguments; everything is printed."""
    options = Options()
    # Errors of the arguments themselves come before options are read.
    options.json = "--json" in arguments
    try:
        answer = lab.main(list(arguments), prog_name="lab", standalone_mode=False, obj=options)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        _print_error({"error": error.format_message(), "next_command": _help_of(error)}, options)
        return 2
    except click.ClickException as error:
        _print_error({"error": error.format_message()}, options)
        return 1
    except LabError as error:
        _print_error(error.as_dict(), options)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _print_error({"error": "interrupted", "next_command": "the same command again"}, options)
        return 1
    except BrokenPipeError:
        # The reader has seen enough (`lab logs trino | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _print_error(_disk_full(error), options)
            return 1
        if options.verbose:
            traceback.print_exc()
        _print_error(
            {
                "error": f"unexpected error: {type(error).__name__}: {error}",
                "next_command": "the same command with --verbose, and report what it prints",
            },
            options,
        )
        return 1
    finally:
        with contextlib.suppress(BrokenPipeError):
            options.close()
    return answer if isinstance(answer, int) else 0


def _disk_full(error: OSError) -> dict[str, Any]:
    return {
        "error": "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up",
        "value": error.filename,
        "permitted": "free space where the lab's home, its cache and temporary files are; nothing is lost",
        "next_command": "the same command again, or lab doctor",
    }


def _help_of(error: click.UsageError) -> str:
    return f"{error.ctx.command_path if error.ctx else 'lab'} --help"


def _print_error(facts: dict[str, Any], options: Options) -> None:
    if facts.get("next_command"):
        facts["next_command"] = for_lab(options, str(facts["next_command"]))
    if options.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    lines = [str(facts["error"])]
    if facts.get("value") is not None:
        lines.append(f"  given:     {facts['value']}")
    if facts.get("line") is not None:
        lines.append(f"  position:  line {facts['line']}, column {facts['column']}")
    for key, label in (("permitted", "permitted: "), ("next_command", "next:      ")):
        if facts.get(key):
            lines.append(f"  {label}{facts[key]}")
    options.drawing.close()
    print("\n".join(lines), file=sys.stderr)
