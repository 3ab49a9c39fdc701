"""Rights: no wildcards in IAM, nobody unnamed in trust, no wildcards in Kubernetes roles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.guardrails.model import Resource, Rule, anybody, items, statements

_DOCUMENTS: Mapping[str, tuple[str, ...]] = {
    "aws:iam/policy:Policy": ("policy",),
    "aws:iam/rolePolicy:RolePolicy": ("policy",),
    "aws:iam/userPolicy:UserPolicy": ("policy",),
    "aws:iam/groupPolicy:GroupPolicy": ("policy",),
    "aws:iam/role:Role": (),
}
_READING = re.compile(r"[a-z0-9-]+:(Describe|List|Get)[A-Za-z]*\*?", re.IGNORECASE)
"""Actions that AWS lets nobody narrow to one resource in most services, and that change nothing."""

_TOO_MUCH = re.compile(r".*:(aws:)?policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess)$")
_GITHUB = "token.actions.githubusercontent.com"


def _wildcards(resource: Resource) -> Iterator[str]:
    for document in _documents(resource):
        try:
            for statement in statements(document):
                yield from _too_wide(statement)
        except ValueError:
            yield "its policy document can't be read; give valid JSON"
    for property_ in ("policyArn", "managedPolicyArns"):
        for arn in items(resource.props.get(property_)):
            if isinstance(arn, str) and _TOO_MUCH.match(arn):
                yield f"it attaches {arn.rpartition('/')[2]}; attach a policy that names its actions"
    if resource.type == "aws:iam/role:Role":
        yield from _trust(resource)


def _documents(resource: Resource) -> Iterator[Any]:
    for property_ in _DOCUMENTS.get(resource.type, ()):
        yield resource.props.get(property_)
    for inline in items(resource.props.get("inlinePolicies")):
        if isinstance(inline, Mapping):
            yield inline.get("policy")


def _too_wide(statement: Mapping[str, Any]) -> Iterator[str]:
    if statement.get("Effect") != "Allow":
        return
    if "NotAction" in statement or "NotResource" in statement:
        yield "it allows all but what it names (NotAction, NotResource); name what is allowed"
    actions = [str(action) for action in items(statement.get("Action"))]
    for action in actions:
        if action == "*" or action.endswith(":*"):
            yield f"it allows action {action!r}; name the actions"
    changing = [action for action in actions if not _READING.fullmatch(action)]
    if "*" in items(statement.get("Resource")) and changing and not statement.get("Condition"):
        yield f"it allows {changing[0]} on every resource; name the resources or add a condition"


def _trust(resource: Resource) -> Iterator[str]:
    try:
        for statement in statements(resource.props.get("assumeRolePolicy")):
            if statement.get("Effect") != "Allow":
                continue
            condition = statement.get("Condition") or {}
            principal = statement.get("Principal")
            if anybody(principal) and not condition:
                yield "anybody may assume it; name the principal"
            if _GITHUB in str(principal) and not _names_repository(condition):
                yield f"every repository may assume it; add a condition on {_GITHUB}:sub that names one"
    except ValueError:
        yield "its trust policy can't be read; give valid JSON"


def _names_repository(condition: Mapping[str, Any]) -> bool:
    """Whether tokens are limited to one repository's, by ``repo:OWNER/NAME:…`` without wildcards in it."""
    subjects = [
        str(value)
        for test, by_key in condition.items()
        if test in ("StringEquals", "StringLike") and isinstance(by_key, Mapping)
        for key, values in by_key.items()
        if key == f"{_GITHUB}:sub"
        for value in items(values)
    ]
    return bool(subjects) and all(re.match(r"repo:[^*?:/]+/[^*?:/]+:", subject) for subject in subjects)


_CLUSTER_ROLES = re.compile(r"kubernetes:rbac\.authorization\.k8s\.io/v1:(Cluster)?Role")


def _cluster_roles(resource: Resource) -> Iterator[str]:
    if not _CLUSTER_ROLES.fullmatch(resource.type):
        return
    for rule in items(resource.props.get("rules")):
        for key in ("verbs", "resources", "apiGroups"):
            if isinstance(rule, Mapping) and "*" in items(rule.get(key)):
                yield f"its {key} are '*'; name them"


def _all(resource: Resource) -> Iterator[str]:
    yield from _wildcards(resource)
    yield from _cluster_roles(resource)


NO_WILDCARD_IAM = Rule(
    name="no-wildcard-iam",
    description="Rights name their actions and resources, and trust names who is trusted.",
    check=_all,
)
