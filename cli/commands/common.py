"""What all commands share: the global options, before or after the command's name, and output."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.drawing import Drawing

if TYPE_CHECKING:
    from cli.session import Session


class Options:
    """The global options of one run, and where its lines go (standard error; results go to standard
    output, so that they can be piped)."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.json = False
        self.verbose = False
        self.drawing = Drawing(sys.stderr)

    def session(self) -> Session:
        """A session on the chosen lab."""
        from cli.project import open_lab
        from cli.session import Session

        return Session(
            open_lab(self.name),
            say=self.drawing.say,
            progress=self.drawing.progress,
            watching=self.drawing.watching,
            verbose=self.verbose,
        )

    def say(self, text: str) -> None:
        """A line that is not part of the result."""
        self.drawing.say(text)

    def show(self, result: Any, text: Callable[[], str]) -> None:
        """Prints a result, as JSON when that was asked for."""
        self.drawing.close()
        if self.json:
            from cli.render import to_json

            print(to_json(result))
        else:
            print(text())

    def next_steps(self, *steps: str) -> None:
        """Ends a command with what to do next; nothing in JSON, which a program reads."""
        if not self.json:
            self.say("")
            for number, step in enumerate(steps):
                self.say(f"{'next: ' if number == 0 else '      '}{step}")

    def close(self) -> None:
        """Leaves the terminal as it was."""
        self.drawing.close()


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --name, --json and --verbose; given twice, the one nearer to the end wins."""

    @click.option("--name", metavar="LAB", help="Which lab; default: LAB_NAME, else 'lab'.")
    @click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
    @click.option("--verbose", is_flag=True, help="Show all that the engine prints, and tracebacks.")
    @functools.wraps(function)
    def wrapper(*args: Any, name: str | None, as_json: bool, verbose: bool, **kwargs: Any) -> Any:
        options = click.get_current_context().ensure_object(Options)
        options.name = name or options.name
        options.json = as_json or options.json
        options.verbose = verbose or options.verbose
        return function(*args, **kwargs)

    return wrapper


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A subcommand that takes the global options and is given :class:`Options` first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def with_options(*args: Any, **kwargs: Any) -> Any:
            return function(click.get_current_context().find_object(Options), *args, **kwargs)

        decorated: Callable[[Callable[..., Any]], click.Command] = click.command(name, **settings)
        return decorated(common_options(with_options))

    return decorate


def split_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """``a,b c`` as three names."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def lab_command(options: Options, words: str) -> str:
    """How to type a command for this lab."""
    return f"./lab {f'--name {options.name} ' if options.name else ''}{words}"


OF_NO_LAB = ("cache", "images", "lock", "templates", "test")
"""Commands that act on no lab."""

_COMMAND = re.compile(rf"\blab (?!(?:{'|'.join(OF_NO_LAB)})\b)(?=[a-z])")


def for_lab(options: Options, advice: str) -> str:
    """Advice on what to run next, with every ``lab COMMAND`` of it naming the lab that this run is about."""
    return _COMMAND.sub(f"lab --name {options.name} ", advice) if options.name else advice
