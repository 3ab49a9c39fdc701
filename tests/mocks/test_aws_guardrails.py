"""What placement aws describes is within the guardrails that judge it before every change."""

from __future__ import annotations

import pytest

from policies.guardrails.model import Resource
from policies.guardrails.rules import RULES
from tests.mocks.snapshots import STACKS
from tests.mocks.test_stacks import plain, run


def judged(stack: str, *more: str) -> list[str]:
    role, *pairs = STACKS[stack]
    found = run(role, *pairs, *more)
    assert found.error is None
    resources = [
        Resource(
            type=one["type"],
            name=one["name"],
            urn=f"{one['type']}::{one['name']}",
            props={key: plain(value) for key, value in one["inputs"].items()},
            role="persistent" if stack == "persistent" else "lab",
            protect=bool(one.get("options", {}).get("protect")),
            # Mocks answer with names: what a property comes from is looked up by them.
            refers_to={
                key: [f"aws:s3/bucket:Bucket::{one['name']}"]
                for key in ("bucket",)
                if one["type"].startswith("aws:s3/bucket")
            },
        )
        for one in found.resources
    ]
    said = [
        f"{rule.name}: {one.name}: {text}"
        for rule in RULES
        if rule.check
        for one in resources
        for text in rule.check(one)
    ]
    named = {one.props.get("bucket"): one.urn for one in resources if one.type == "aws:s3/bucket:Bucket"}
    logging = [one for one in resources if one.type.endswith(":BucketLogging")]
    targets = {named[one.props["targetBucket"]] for one in logging}
    linked = [
        one
        if one not in logging
        else Resource(type=one.type, name=one.name, urn=one.urn, refers_to={"targetBucket": sorted(targets)})
        for one in resources
    ]
    return said + [
        f"{rule.name}: {finding.urn}: {finding.text}"
        for rule in RULES
        if rule.check_stack
        for finding in rule.check_stack(linked)
    ]


@pytest.mark.parametrize("stack", sorted(STACKS))
def test_nothing_breaks_a_guardrail(stack: str) -> None:
    assert judged(stack) == []


def test_without_protection_they_would_say_so() -> None:
    said = judged("persistent", "awsProtect=false")
    assert said
    assert {text.split(":")[0] for text in said} == {"deletion-protection"}
