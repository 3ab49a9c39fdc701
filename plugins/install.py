"""Writes the launchers that the Pulumi engine starts the plugins by.

The engine takes the directory named in ``plugins: providers:`` of the project file; without one it looks
for ``pulumi-resource-NAME`` on PATH, with a warning at each run, and below ``PULUMI_HOME/plugins``.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

PLUGINS: Final = ("keycloak", "random")
"""The providers served from this package."""


def install(plugin_home: Path, python: Path) -> None:
    """Write the launchers into ``plugin_home``, to be put on PATH or named in the project file.

    Args:
        plugin_home: made when it is not there; other files in it are left alone.
        python: interpreter of the environment that has the provider SDKs; kept absolute and not
            resolved, since a virtual environment's interpreter is a link.

    Raises:
        OSError: a launcher can't be written.
    """
    plugin_home.mkdir(parents=True, exist_ok=True)
    for name in PLUGINS:
        _write(plugin_home / f"pulumi-resource-{name}", launcher(name, python))


def launcher(name: str, python: Path) -> str:
    """The shell text that becomes the plugin process itself, so that the engine's signals reach it."""
    root = Path(__file__).resolve().parent.parent
    run = f"import sys; sys.path.insert(0, {str(root)!r}); import runpy; " + (
        f"runpy.run_module('plugins.{name}', run_name='__main__')"
    )
    # -P and no PYTHONPATH: the project's own directory must not shadow a module of the plugin.
    command = shlex.join([os.path.abspath(python), "-P", "-c", run])  # noqa: PTH100 (resolve follows links)
    return f'#!/bin/sh\nunset PYTHONPATH PYTHONHOME\nexec {command} "$@"\n'


def _write(path: Path, text: str) -> None:
    """Replace ``path`` in one step: an engine that starts meanwhile sees the old or the new launcher."""
    if path.is_file() and path.read_text(encoding="utf-8") == text and os.access(path, os.X_OK):
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(path)
