"""The comment on a pull request, whole, as text in the repository; and what must never be in it.

``UPDATE_GOLDEN=1 ./lab test tests/unit/test_comment.py`` writes the texts anew, for review.
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from ci.collect import access_report
from ci.comment import MARKER, MAX_CHARACTERS, render
from ci.publish import publish, thread_of
from ci.report import AccessReport, AccessRow, CostReport, Report, StackReport, Touched
from contracts.errors import LabError, UsageError
from governance.reports import ColumnImpact, ImpactReport, RowImpact, TableImpact

GOLDEN = Path(__file__).with_name("golden") / "comments"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

CHANGED = Report(
    placement="aws",
    commit=COMMIT,
    stacks=(
        StackReport(stack="persistent", changes={"same": 31}, diff=""),
        StackReport(
            stack="lab",
            changes={"same": 40, "update": 1, "replace": 1, "create": 2},
            touched=(
                Touched(
                    op="update", type="pulumi-python:dynamic/lab:Process", name="trino", changed=("spec",)
                ),
                Touched(
                    op="replace", type="aws:eks/nodeGroup:NodeGroup", name="query", changed=("diskSize",)
                ),
            ),
            diff="  ~ spec: {\n      - heap: 1024\n      + heap: 2048\n    }\n  password: [secret]",
        ),
    ),
    access=AccessReport(
        before="revision 3",
        after="tree",
        readers=8,
        tables=14,
        rows=(
            AccessRow(
                username="analyst_emea",
                table="retail.customer",
                rows_gained=301,
                rows_lost=0,
                other=(),
                widens=True,
                approximate=True,
            ),
            AccessRow(
                username="analyst_amer",
                table="hr.employees",
                rows_gained=0,
                rows_lost=None,
                other=("salary: plain → denied", "-insert"),
                widens=False,
            ),
        ),
    ),
    cost=CostReport(
        billed=True,
        now="$1.0000/hour up, $8.76/month down, by prices of example-1 read on 2026-01-31",
        planned="$1.2500/hour up, $8.76/month down, by prices of example-1 read on 2026-01-31",
        usd_per_hour=0.25,
        usd_per_month=0.0,
    ),
    run_url="https://host.example/runs/1",
)
NOTHING = Report(
    placement="local",
    commit=COMMIT,
    stacks=(
        StackReport(stack="persistent", changes={"same": 31}),
        StackReport(stack="lab", changes={"same": 40}),
    ),
    access=AccessReport(before="revision 3", after="tree", readers=8, tables=14, rows=()),
    cost=CostReport(billed=False, now="", planned="nothing of this plan is billed by a cloud"),
)
STOPPED = Report(
    placement="aws",
    commit=COMMIT,
    failure="preview of stack persistent failed\n  deletion-protection: Cluster database: set protect",
    notes=("Access was not compared: lab 'lab' is not up.",),
    cost=CostReport(
        billed=True,
        now="unknown: no price is known of eks.cluster",
        planned="unknown: no price is known of eks.cluster",
        todo="write the missing prices into cli/prices.yaml",
    ),
)


@pytest.mark.parametrize(
    ("name", "report"), [("changed", CHANGED), ("nothing", NOTHING), ("stopped", STOPPED)]
)
def test_the_comment_is_the_text_in_the_repository(name: str, report: Report) -> None:
    path = GOLDEN / f"{name}.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(render(report), encoding="utf-8")
    assert render(report) == path.read_text(encoding="utf-8")


def test_what_others_wrote_can_not_break_out_of_the_comment() -> None:
    nasty = "```\n</details> @everyone <img src=x> `|` [a](http://x)"
    report = Report(
        placement="local",
        commit=nasty,
        stacks=(
            StackReport(
                stack=nasty,
                changes={"create": 1},
                touched=(Touched(op="create", type=nasty, name=nasty, changed=(nasty,)),),
                diff=nasty,
            ),
        ),
        failure=nasty,
        notes=(nasty,),
    )
    text = render(report)
    fence: str | None = None
    outside = []
    for line in text.splitlines():
        if line.startswith("```"):
            fence = None if fence and line == fence else fence or line.removesuffix("diff")
        elif fence is None:
            outside.append(line)
    assert fence is None
    for line in outside:
        spans = line.replace("\\|", "").split("`")
        bare = "".join(spans[::2]) if len(spans) % 2 else line
        assert "<img" not in bare.replace("\\<img", "")
        assert "@everyone" not in bare.replace("\\@everyone", "")


def test_a_comment_is_never_longer_than_its_host_takes() -> None:
    many = tuple(
        Touched(op="create", type="a" * 200, name="b" * 900, changed=("c" * 200,)) for _ in range(400)
    )
    stacks = tuple(
        StackReport(stack=name, changes={"create": 400}, touched=many, diff="line\n" * 100_000)
        for name in ("persistent", "lab")
    )
    text = render(Report(placement="aws", commit=COMMIT, stacks=stacks))
    assert len(text) <= MAX_CHARACTERS
    assert text.startswith(MARKER)
    assert "400 create" in text
    assert "Too much for a comment" in text


def test_access_is_told_in_counts_never_by_predicates_or_values() -> None:
    impact = TableImpact(
        username="analyst_emea",
        table="retail.customer",
        rows=RowImpact(total=1500, before=301, after=602, gained=301, lost=0),
        columns=(ColumnImpact(column="c_phone", before="denied", after="plain", gained=True),),
        privileges_gained=(),
        privileges_lost=(),
        filter_before="c_name = 'Customer#000000001'",
        filter_after="true",
        approximate=False,
    )
    found = access_report(
        ImpactReport(
            before="living",
            after="tree",
            counted=True,
            readers=("analyst_emea",),
            tables_compared=1,
            changes=(),
            impacts=(impact,),
            notes=("a note with Customer#000000001",),
        )
    )
    text = render(Report(placement="local", commit=COMMIT, access=found))
    assert "| 301 | 0 |" in text
    assert "Customer#" not in text
    assert "1500" not in text


class Host:
    """A host of pull requests with comments by somebody and by the pipeline."""

    def __init__(self, *comments: dict[str, object], status: int = 200) -> None:
        self.comments, self.status = list(comments), status
        self.calls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {request.url.path}")
        if self.status != 200:
            return httpx.Response(self.status)
        if request.method == "GET":
            page = int(request.url.params["page"])
            return httpx.Response(200, json=self.comments[(page - 1) * 100 : page * 100])
        return httpx.Response(200, json={})


GITHUB = {
    "GITHUB_API_URL": "https://host.example/api",
    "GITHUB_REPOSITORY": "acme/lab",
    "GITHUB_TOKEN": "a token",
    "LAB_CI_PULL_REQUEST": "12",
}
GITLAB = {
    "CI_API_V4_URL": "https://host.example/api/v4",
    "CI_PROJECT_ID": "7",
    "CI_MERGE_REQUEST_IID": "12",
    "LAB_CI_TOKEN": "a token",
}
BOT, PERSON = {"type": "Bot"}, {"type": "User"}


def published(host: Host, environ: dict[str, str], text: str = f"{MARKER}\nnew\n") -> str:
    thread = thread_of(environ)
    assert thread is not None
    return publish(thread, text, transport=httpx.MockTransport(host))


def test_the_first_comment_is_written_and_later_ones_take_its_place() -> None:
    others = [{"id": number, "body": "hello", "user": PERSON} for number in range(130)]
    host = Host(*others)
    assert published(host, GITHUB) == "created"
    assert host.calls[-1] == "POST /api/repos/acme/lab/issues/12/comments"
    host = Host(*others, {"id": 900, "body": f"{MARKER}\nold", "user": BOT})
    assert published(host, GITHUB) == "updated"
    assert host.calls[-1] == "PATCH /api/repos/acme/lab/issues/comments/900"
    host = Host({"id": 900, "body": f"{MARKER}\r\nnew", "user": BOT})
    assert published(host, GITHUB) == "unchanged"
    assert [call.split()[0] for call in host.calls] == ["GET"]


def test_a_comment_of_somebody_who_wrote_the_marker_is_left_alone() -> None:
    host = Host({"id": 1, "body": f"{MARKER} mine", "user": PERSON})
    assert published(host, GITHUB) == "created"


def test_a_merge_request_of_gitlab_is_served_alike() -> None:
    host = Host({"id": 5, "body": f"{MARKER}\nold", "author": {"username": "bot"}})
    assert published(host, GITLAB) == "updated"
    assert host.calls[-1] == "PUT /api/v4/projects/7/merge_requests/12/notes/5"


def test_a_host_that_refuses_is_said_with_its_status() -> None:
    with pytest.raises(LabError, match="403"):
        published(Host(status=403), GITHUB)
    with pytest.raises(UsageError, match="no marker"):
        published(Host(), GITHUB, text="something else")
    with pytest.raises(UsageError, match="a number"):
        thread_of({**GITHUB, "LAB_CI_PULL_REQUEST": "12/../../x"})
    assert thread_of({}) is None
