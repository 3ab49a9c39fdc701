"""Short-lived credentials of AWS for a pipeline, from its own identity: ``python3 ci/oidc.py ROLE_ARN``.

Asks the pipeline's host for a signed token, writes it to a file that only this user may read, and says to
later steps where it is (GITHUB_ENV); every SDK of AWS exchanges it by itself. No key is stored anywhere. On
GitHub the job needs ``permissions: id-token: write``; on GitLab it names the token LAB_CI_ID_TOKEN under
``id_tokens``.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import pathlib
    import sys

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    from ci.start import in_environment

    in_environment("ci.oidc")

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import httpx

from contracts.errors import LabError, UsageError

AUDIENCE = "sts.amazonaws.com"
ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}"
_TIMEOUT_S = 30.0


def identity_token(environ: Mapping[str, str], *, transport: httpx.BaseTransport | None = None) -> str:
    """The pipeline's signed identity.

    Raises:
        LabError: this is no pipeline, it may not ask, or its host refuses.
    """
    if environ.get("LAB_CI_ID_TOKEN"):
        return environ["LAB_CI_ID_TOKEN"]
    url, bearer = (environ.get(f"ACTIONS_ID_TOKEN_REQUEST_{part}") for part in ("URL", "TOKEN"))
    if not url or not bearer:
        raise LabError(
            "this pipeline has no identity to show",
            permitted="permissions: id-token: write on GitHub, id_tokens: LAB_CI_ID_TOKEN on GitLab; no fork",
        )
    try:
        with httpx.Client(timeout=_TIMEOUT_S, transport=transport) as client:
            answer = client.get(
                httpx.URL(url).copy_merge_params({"audience": AUDIENCE}),
                headers={"Authorization": f"Bearer {bearer}"},
            )
            answer.raise_for_status()
            return str(answer.json()["value"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise LabError(f"the pipeline's host gave no identity: {type(error).__name__}") from error


def write_token(folder: Path, token: str) -> Path:
    """The token in a file of ``folder`` that its owner alone may read."""
    path = folder / "lab-web-identity-token"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(token)
    return path


def environment_lines(role_arn: str, token_file: Path, session: str) -> list[str]:
    """What the SDKs of AWS read.

    Raises:
        UsageError: that is not the ARN of a role.
    """
    if not re.fullmatch(ROLE_ARN, role_arn):
        raise UsageError(
            "that is not a role of IAM", value=role_arn, permitted="arn:aws:iam::ACCOUNT:role/NAME"
        )
    name = re.sub(r"[^\w+=,.@-]", "-", session)[:64]
    return [
        f"AWS_ROLE_ARN={role_arn}",
        f"AWS_WEB_IDENTITY_TOKEN_FILE={token_file}",
        f"AWS_ROLE_SESSION_NAME={name}",
    ]


@click.command()
@click.argument("role_arn")
def main(role_arn: str) -> None:
    """Make credentials of the role ROLE_ARN for the steps that follow; elsewhere, print the exports."""
    folder = Path(os.environ.get("RUNNER_TEMP") or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - made exclusively
    session = f"lab-{os.environ.get('GITHUB_RUN_ID') or os.environ.get('CI_JOB_ID') or os.getpid()}"
    try:
        lines = environment_lines(role_arn, folder / "lab-web-identity-token", session)
        write_token(folder, identity_token(os.environ))
    except LabError as error:
        print(error.render(), file=sys.stderr)
        sys.exit(error.exit_code)
    if os.environ.get("GITHUB_ENV"):
        with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    else:
        print("\n".join(f"export {line}" for line in lines))


if __name__ == "__main__":
    main()
