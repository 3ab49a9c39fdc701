"""``test``, ``lock``, ``templates`` and ``images``: for those who work on the lab itself."""

from __future__ import annotations

import click

from cli.commands.common import Options, command, common_options


@command("test", context_settings={"ignore_unknown_options": True})
@click.option("--no-lint", is_flag=True, help="pytest alone.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(options: Options, no_lint: bool, arguments: tuple[str, ...]) -> int:
    """Run the linters, then pytest. Arguments are pytest's: lab test tests/unit -k ports"""
    from cli.operations import run_tests

    return run_tests(arguments, lint=not no_lint, say=options.say).exit_code


@command("lock")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit.")
def lock(options: Options, upgrade: bool) -> None:
    """Pin the Python requirements anew, with hashes."""
    from cli.operations import lock_requirements

    result = lock_requirements(upgrade=upgrade)
    options.show(result, lambda: f"written: {', '.join(result)}")
    options.next_steps("./lab test")


@command("templates")
def templates(options: Options) -> None:
    """Write the documented Pulumi.*.yaml anew from contracts/settings.py."""
    from cli.operations import write_templates

    result = write_templates()
    options.show(result, lambda: f"written: {', '.join(result) or 'nothing, all were right'}")


@click.group("images")
@common_options
def images() -> None:
    """Recorded checksums of what does not come from a package registry."""


@command("lock")
def lock_images(options: Options) -> None:
    """Read Polaris' official distribution, check it and record its checksum."""
    from cli.operations import record_checksums

    result = record_checksums(options.say)
    options.show(result, lambda: f"{result.name} {result.version}: sha512 {result.sha512}")
    options.next_steps("./lab --name OTHER up --catalog polaris")


images.add_command(lock_images)

COMMANDS = (test, lock, templates, images)
