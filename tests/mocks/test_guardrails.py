"""Both stacks of the local placement keep to the guardrails."""

from __future__ import annotations

import pytest

from policies.guardrails.keeping import is_kept
from policies.guardrails.model import Resource
from policies.guardrails.rules import RULES
from tests.mocks.test_stacks import plain, run


def resources(role: str, *settings: str) -> list[Resource]:
    found = run(role, *settings)
    assert found.error is None
    return [
        Resource(
            type=one["type"],
            name=one["name"],
            urn=one["name"],
            props={key: plain(value) for key, value in one["inputs"].items()},
            role=role,
        )
        for one in found.resources
    ]


@pytest.mark.parametrize("settings", [(), ("components=trino,spark,agent,control-plane",)])
@pytest.mark.parametrize("role", ["persistent", "lab"])
def test_no_resource_breaks_a_rule(role: str, settings: tuple[str, ...]) -> None:
    declared = resources(role, *(settings if role == "lab" else ()))
    assert len(declared) > 5
    found = [
        (rule.name, one.name, text)
        for rule in RULES
        if rule.check
        for one in declared
        for text in rule.check(one)
    ]
    found += [
        (rule.name, finding.urn, finding.text)
        for rule in RULES
        if rule.check_stack
        for finding in rule.check_stack(declared)
    ]
    assert found == []


def test_what_the_persistent_stack_makes_is_known_to_be_kept() -> None:
    kept = {one.type.rpartition(":")[2] for one in resources("persistent") if is_kept(one)}
    assert kept >= {"RandomPassword", "Databases", "ObjectStore", "Pki", "RsaKeyPair"}
    assert not [one.name for one in resources("lab") if is_kept(one)]
