"""``cache``: what is in the per-user cache, and the cache as one file for a machine without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, common_options, lab_command
from contracts.errors import UsageError

if TYPE_CHECKING:
    from cli.operations.cleaning import CacheItem


@click.group("cache")
@common_options
def cache() -> None:
    """The per-user cache of software (LAB_CACHE): list, clean, export to a file, import from one."""


@command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Write over a file of that name.")
@click.option("--cloud", is_flag=True, help="Also the packages of labs on a cluster or in an account.")
def export_cache(options: Options, file: Path, replace: bool, cloud: bool) -> None:
    """Write all that labs need to come up without a network into FILE.

    It holds the software of every component, a Pulumi engine and the wheels of the virtual environment
    for this system and this version of Python. With --cloud also the engine's providers kubernetes, aws and
    eks, where this machine has them; what it has not is said.
    """
    from cli.drawing import human_bytes, human_seconds
    from cli.operations import export_cache as run

    result = run(options.session(), file, replace=replace, cloud=cloud)

    def text() -> str:
        lines = [
            f"{result.file}: {human_bytes(result.size_bytes)} after {human_seconds(result.seconds)}",
            f"for:      {result.system}, {result.python} (the wheels fit no other version of Python)",
            f"holds:    {', '.join(result.artifacts)}, {result.wheels} wheels",
            *(f"not in it: {one}" for one in result.left_out),
            f"manifest: sha256 {result.manifest_sha256}",
        ]
        return "\n".join(lines)

    options.show(result, text)
    options.next_steps(
        f"{lab_command(options, f'cache import {file.name}')}   in a checkout on the other machine"
    )


@command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_cache(options: Options, file: Path) -> None:
    """Put what `lab cache export` wrote into the cache; `lab up` then needs no network.

    Each artifact is compared with its checksum before it is put in place. Import only a file you trust:
    what it holds is run. Its manifest's checksum is printed on both sides.
    """
    from cli.drawing import human_seconds
    from cli.operations import import_cache as run

    result = run(options.session(), file)

    def text() -> str:
        lines = [
            f"{result.cache}: {len(result.artifacts)} artifacts and {result.wheels} wheels are in place "
            f"after {human_seconds(result.seconds)}",
            *([f"new:      {', '.join(result.artifacts)}"] if result.artifacts else []),
            *([f"present:  {', '.join(result.present)}"] if result.present else []),
            f"manifest: sha256 {result.manifest_sha256}",
        ]
        return "\n".join(lines)

    options.show(result, text)
    options.next_steps(lab_command(options, "up"))


@command("list")
def list_cache(options: Options) -> None:
    """Show what is in the cache, its size, and whether this version of the lab still uses it."""
    from cli.operations import cache_contents as run

    result = run(options.session())
    options.show({"items": result}, lambda: contents_text(result))
    if any(one.removable for one in result):
        options.next_steps(lab_command(options, "cache clean"))


@command("clean")
@click.option("--yes", is_flag=True, help="Don't ask (for scripts).")
def clean_cache(options: Options, yes: bool) -> None:
    """Remove versions that this version of the lab no longer names and no lab runs."""
    from cli.drawing import human_bytes
    from cli.operations import clean_cache as run

    def confirm(items: tuple[CacheItem, ...]) -> None:
        options.say(contents_text(items))
        if yes or not items:
            return
        if not sys.stdin.isatty():
            raise UsageError(
                "nobody is there to confirm",
                permitted="--yes, or a terminal",
                next_command="lab cache clean --yes",
            )
        click.confirm("remove these?", err=True, abort=True)

    result = run(options.session(), confirm)
    freed = sum(one.size_bytes for one in result)
    options.show({"removed": result}, lambda: f"removed {len(result)}, {human_bytes(freed)} freed")


def contents_text(items: tuple[CacheItem, ...]) -> str:
    """A line for each item of the cache, and the sum."""
    from cli.drawing import human_bytes
    from cli.render import table

    rows = [(one.kind, one.name, human_bytes(one.size_bytes), one.use) for one in items]
    total = human_bytes(sum(one.size_bytes for one in items))
    return table(("what", "name", "size", "used"), [*rows, ("", "", total, "")])


for _command in (list_cache, clean_cache, export_cache, import_cache):
    cache.add_command(_command)

COMMANDS = (cache,)
