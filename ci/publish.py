"""Puts a comment on a pull or merge request in place of the one before: ``python3 ci/publish.py FILE``.

On GitHub: GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN, which the pipeline has, and
LAB_CI_PULL_REQUEST, its number. On GitLab: CI_API_V4_URL, CI_PROJECT_ID and CI_MERGE_REQUEST_IID, which it
has, and LAB_CI_TOKEN, a project access token with the scope api. Without any of them the comment is printed.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import pathlib
    import sys

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    from ci.start import in_environment

    in_environment("ci.publish")

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx

from ci.comment import MARKER
from contracts.errors import LabError, UsageError

_TIMEOUT_S = 30.0
_PAGE = 100
_MAX_PAGES = 50


@dataclass(frozen=True, kw_only=True)
class Thread:
    """The comments of one request. ``list_url`` takes GET and POST, ``item_url`` plus an id takes ``edit``;
    ``own`` says whether a comment was written by this pipeline's own identity."""

    api_url: str
    list_path: str
    item_path: str
    edit: str
    headers: Mapping[str, str]
    own_type: str | None

    def own(self, comment: Mapping[str, Any]) -> bool:
        """Anybody may write the marker; the comment of somebody else is not ours to replace."""
        if self.own_type is None:
            return True
        user = comment.get("user")
        return isinstance(user, Mapping) and user.get("type") == self.own_type


def thread_of(environ: Mapping[str, str]) -> Thread | None:
    """Where to publish; None where this is no pipeline of a request."""
    if environ.get("GITHUB_TOKEN") and environ.get("LAB_CI_PULL_REQUEST"):
        repository, number = environ["GITHUB_REPOSITORY"], environ["LAB_CI_PULL_REQUEST"]
        if not number.isdecimal():
            raise UsageError("LAB_CI_PULL_REQUEST is a number", value=number)
        return Thread(
            api_url=environ["GITHUB_API_URL"],
            list_path=f"/repos/{repository}/issues/{number}/comments",
            item_path=f"/repos/{repository}/issues/comments/",
            edit="PATCH",
            headers={
                "Authorization": f"Bearer {environ['GITHUB_TOKEN']}",
                "Accept": "application/vnd.github+json",
            },
            own_type="Bot",
        )
    if environ.get("LAB_CI_TOKEN") and environ.get("CI_MERGE_REQUEST_IID"):
        notes = f"/projects/{environ['CI_PROJECT_ID']}/merge_requests/{environ['CI_MERGE_REQUEST_IID']}/notes"
        return Thread(
            api_url=environ["CI_API_V4_URL"],
            list_path=notes,
            item_path=f"{notes}/",
            edit="PUT",
            headers={"PRIVATE-TOKEN": environ["LAB_CI_TOKEN"]},
            own_type=None,
        )
    return None


def publish(thread: Thread, text: str, *, transport: httpx.BaseTransport | None = None) -> str:
    """Replaces the comment that has the marker, else writes one. Returns ``updated``, ``created`` or
    ``unchanged``.

    Raises:
        LabError: the host refused; says with which status.
    """
    if MARKER not in text:
        raise UsageError("the comment has no marker", permitted="what ci/preview.py wrote")
    with httpx.Client(
        base_url=thread.api_url, headers=dict(thread.headers), timeout=_TIMEOUT_S, transport=transport
    ) as client:
        for comment in _comments(client, thread):
            if MARKER in str(comment.get("body")) and thread.own(comment):
                if str(comment["body"]).replace("\r\n", "\n").strip() == text.strip():
                    return "unchanged"
                _ask(client, thread.edit, f"{thread.item_path}{comment['id']}", text)
                return "updated"
        _ask(client, "POST", thread.list_path, text)
        return "created"


def _comments(client: httpx.Client, thread: Thread) -> Iterator[Mapping[str, Any]]:
    for page in range(1, _MAX_PAGES + 1):
        answer = _checked(client.get(thread.list_path, params={"per_page": _PAGE, "page": page}))
        found: list[dict[str, Any]] = answer.json()
        yield from found
        if len(found) < _PAGE:
            return


def _ask(client: httpx.Client, method: str, path: str, text: str) -> None:
    _checked(client.request(method, path, json={"body": text}))


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    raise LabError(
        f"the comment can't be published: {answer.status_code} {answer.reason_phrase}",
        value=str(answer.request.url),
        permitted="a token that may write comments on the request; one of a fork's pipeline may not",
    )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Publish the comment in FILE."""
    text = file.read_text(encoding="utf-8")
    try:
        thread = thread_of(os.environ)
        if thread is None:
            print(text, end="")
            print("not published: this is no pipeline of a request", file=sys.stderr)
        else:
            print(f"comment {publish(thread, text)}", file=sys.stderr)
    except LabError as error:
        print(error.render(), file=sys.stderr)
        sys.exit(error.exit_code)
    except httpx.HTTPError as error:
        print(f"the comment can't be published: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
