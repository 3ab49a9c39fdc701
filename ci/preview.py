"""What this checkout would do to a lab, as a comment for a pull request: ``python3 ci/preview.py``.

Changes nothing. With a lab that was brought up from the base, the comment says what differs from it; without
one, what ``lab up`` would make.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import pathlib
    import sys

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    from ci.start import in_environment

    in_environment("ci.preview")

import os
import sys
from pathlib import Path

import click

from ci.start import output_of, run_url

WIDENS = 4
"""Exit code with --fail-on-widening when somebody gains something, as of ``lab policy diff``."""


@click.command()
@click.option("--name", help="Which lab; default: LAB_NAME, else 'lab'.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the comment here, too.")
@click.option("--fail-on-widening", is_flag=True, help=f"Exit code {WIDENS} when the change widens access.")
def main(name: str | None, output: Path | None, fail_on_widening: bool) -> None:
    """Print the comment. Exit code 1 when the preview fails, guardrails among the reasons."""
    from ci.collect import collect
    from ci.comment import render
    from cli.project import open_lab
    from cli.session import Session

    session = Session(open_lab(name), say=lambda line: print(line, file=sys.stderr))
    commit = os.environ.get("LAB_CI_COMMIT") or output_of("git", "rev-parse", "HEAD") or "this checkout"
    report = collect(session, commit=commit, run_url=run_url())
    text = render(report)
    if output:
        output.write_text(text, encoding="utf-8")
    print(text, end="")
    widens = report.access is not None and report.access.widens
    sys.exit(1 if report.failure else WIDENS if widens and fail_on_widening else 0)


if __name__ == "__main__":
    main()
