"""``test``, ``lock``, ``templates`` and ``images``: for those who work on the lab itself."""

from __future__ import annotations

from pathlib import Path

import click

from cli.commands.common import Options, command, common_options, split_names
from contracts.errors import UsageError


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
    """Images of labs on a cluster, and checksums of what does not come from a package registry."""


@command("list")
@click.option(
    "--file", type=click.Path(path_type=Path), help="References by digest, as imagesFile names them."
)
def list_(options: Options, file: Path | None) -> None:
    """What each image holds, and its reference by digest."""
    from cli.operations import list_images
    from cli.render import table

    rows = list_images(file)
    options.show(
        rows,
        lambda: table(
            ("image", "holds", "reference"),
            [(r.name, ", ".join(r.artifacts or r.source), r.reference or "not known") for r in rows],
        ),
    )
    if any(row.reference is None for row in rows):
        options.next_steps("lab images lock --registry HOST/PREFIX --file FILE")


@command("lock")
@click.option("--registry", help="Read the digests of all images below HOST[:PORT]/PREFIX.")
@click.option("--tag", default="latest", show_default=True, help="The tag whose digests are read.")
@click.option("--file", type=click.Path(path_type=Path), help="Where the references are written.")
def lock_images(options: Options, registry: str | None, tag: str, file: Path | None) -> None:
    """Record what images are by digest (--registry), else Polaris' official distribution by checksum."""
    from cli.operations import lock_image_digests, record_checksums

    if registry is None:
        result = record_checksums(options.say)
        options.show(result, lambda: f"{result.name} {result.version}: sha512 {result.sha512}")
        options.next_steps("./lab --name OTHER up --catalog polaris")
        return
    if file is None:
        raise UsageError(
            "images lock --registry wants to know where to write",
            permitted="--file FILE",
            next_command=f"lab images lock --registry {registry} --file lab-images.json",
        )
    locked = lock_image_digests(registry, tag, file.absolute(), options.say)
    options.show(locked, lambda: f"{len(locked.references)} references in {locked.file}")
    options.next_steps(f"./lab up --set imagesFile={locked.file}")


@command("build")
@click.argument("names", nargs=-1)
@click.option("--registry", required=True, help="What the images' names begin with: HOST[:PORT]/PREFIX.")
@click.option("--tag", default="latest", show_default=True, help="Their tag.")
@click.option("--base", required=True, help="The base image by digest: …/library/python:TAG@sha256:…")
@click.option("--push", is_flag=True, help="Push each one, too.")
def build(options: Options, names: tuple[str, ...], registry: str, tag: str, base: str, push: bool) -> None:
    """Build images of labs on a cluster with buildah or docker: lab images build [NAME…] --registry …"""
    from cli.operations import build_images

    result = build_images(
        split_names(names),
        registry=registry,
        tag=tag,
        base=base,
        push=push,
        say=options.say,
        progress=options.drawing.progress,
    )
    options.show(result, lambda: "\n".join(result.images))
    lock = f"lab images lock --registry {registry} --tag {tag} --file lab-images.json"
    options.next_steps(lock if push else "push them, then " + lock)


images.add_command(build)
images.add_command(list_)
images.add_command(lock_images)

COMMANDS = (test, lock, templates, images)
