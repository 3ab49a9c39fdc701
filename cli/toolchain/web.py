"""The console's pages for those who work on them: ``python -m cli.toolchain.web lint|test|client``.

``lint`` checks style, types and that the generated client is that of the API's description; ``client``
writes it anew; ``test`` runs the unit tests. Node.js and the packages are those of the artifact cache, so
nothing but Python has to be installed; ``node_modules`` in the checkout is a link to them unless somebody
made their own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cli.project import ROOT
from contracts.errors import LabError
from contracts.settings import cache_home
from contracts.versions import NODE, WEB_TOOLS
from placements.local.artifacts import SilentProgress, ensure, home_of
from placements.local.artifacts.npm import environment, node_program

WEB_DIRECTORY = ROOT / WEB_TOOLS.directory
DESCRIPTION = ROOT / "control_plane" / "api" / "openapi.json"
CLIENT = WEB_DIRECTORY / "src" / "api" / "schema.d.ts"

_BIOME = ("@biomejs/biome/bin/biome", "check", "--error-on-warnings", ".")
_TYPES = ("typescript/bin/tsc",)
_TESTS = ("vitest/vitest.mjs", "run")


class WebTools:
    """Node.js and the packages of the pages, fetched first where the cache lacks them.

    Raises:
        LabError: they can't be fetched.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_home()
        self._node_home = home_of(NODE, ensure(NODE, self._cache, SilentProgress()))
        self.packages = ensure(WEB_TOOLS, self._cache, SilentProgress()) / "node_modules"

    def run(self, *arguments: str | Path, capture: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs a program of the packages in the pages' folder; its path is relative to ``node_modules``."""
        _link(WEB_DIRECTORY / "node_modules", self.packages)
        program, *rest = arguments
        command = [node_program(self._node_home), self.packages / program, *rest]
        return subprocess.run(
            [str(part) for part in command],
            cwd=WEB_DIRECTORY,
            env=environment(self._node_home, self._cache),
            text=True,
            capture_output=capture,
            check=False,
        )

    def write_client(self, target: Path) -> None:
        """Generates the client's types from the API's description. Raises LabError when that fails."""
        done = self.run("openapi-typescript/bin/cli.js", DESCRIPTION, "--output", target, capture=True)
        if done.returncode != 0:
            raise LabError("the client can't be generated", value=done.stderr or done.stdout)


def _link(link: Path, target: Path) -> None:
    """Makes ``link`` lead to ``target``; a folder that somebody made there stays."""
    if link.is_symlink():
        if link.readlink() == target:
            return
        link.unlink()
    if not link.exists():
        link.symlink_to(target, target_is_directory=True)


def lint(tools: WebTools) -> list[str]:
    """Runs all checks, so that one run shows everything; returns what found something."""
    failed = [
        name for name, program in (("biome", _BIOME), ("types", _TYPES)) if tools.run(*program).returncode
    ]
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "schema.d.ts"
        tools.write_client(fresh)
        if fresh.read_text(encoding="utf-8") != CLIENT.read_text(encoding="utf-8"):
            print(f"{CLIENT.relative_to(ROOT)} is not that of {DESCRIPTION.relative_to(ROOT)}")
            print("next: python -m cli.toolchain.web client")
            failed.append("client")
    return failed


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if list(arguments) not in (["lint"], ["test"], ["client"]):
        print(__doc__)
        return 2
    try:
        tools = WebTools()
        if arguments[0] == "lint":
            return 1 if lint(tools) else 0
        if arguments[0] == "test":
            return tools.run(*_TESTS).returncode
        tools.write_client(CLIENT)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
