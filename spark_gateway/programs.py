"""Which programs a job may be given."""

from __future__ import annotations

import re

from contracts.errors import UsageError
from spark_gateway.client import Program

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.(py|jar)")
_PYTHON_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.(py|zip|egg)")


def check_program(program: Program) -> None:
    """Raises UsageError unless the files have names that are safe to write, and a jar a main class."""
    if not _FILE_NAME.fullmatch(program.file_name):
        raise UsageError(
            "Spark can't be given this file",
            value=program.file_name,
            permitted="a Python file (.py) or a jar, its name of letters, digits, '.', '_' and '-'",
        )
    if program.file_name.endswith(".jar") != (program.main_class is not None):
        raise UsageError(
            "a jar needs a main class, and nothing else has one",
            value=program.main_class or program.file_name,
            next_command="lab spark submit app.jar --class com.example.Main",
        )
    names = [program.file_name, *program.python_files]
    for name in program.python_files:
        if not _PYTHON_FILE.fullmatch(name) or names.count(name) > 1:
            raise UsageError(
                "Spark can't be given this further Python file",
                value=name,
                permitted="names that end in .py, .zip or .egg, each once",
            )
