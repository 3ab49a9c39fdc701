"""The rules as the engine wants them (https://www.pulumi.com/docs/iac/crossguard/)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from contracts.settings import NAMESPACE
from policies.guardrails.model import THROW_AWAY, UNKNOWN, Resource, Rule
from policies.guardrails.rules import RULES

Report = Callable[..., None]
OF_STACK = "-of-stack"
"""What the engine's name of a rule ends with where it looks at a whole stack."""


def plain(value: Any) -> Any:
    """The engine's values as dicts and lists; what is not known yet is ``UNKNOWN``."""
    if isinstance(value, Mapping):
        return {str(key): _entry(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_entry(value, index) for index in range(len(value))]
    return value


def _entry(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def stack_role(urn: str) -> str:
    """The role of the stack that runs, by its setting ``role``; else its name, which is the role's."""
    return pulumi.Config(NAMESPACE).get("role") or urn.split("::")[0].rpartition(":")[2]


def is_throw_away(configured: Mapping[str, Any]) -> bool:
    """Whether the rule's own configuration names the lab whose stack runs."""
    return (pulumi.Config(NAMESPACE).get("name") or "lab") in (configured.get(THROW_AWAY) or ())


def resource_of(args: Any, configured: Mapping[str, Any] | None = None) -> Resource:
    """What the rules see of the engine's description of a resource. ``configured``: what the pack's
    configuration says of the rule that looks."""
    provider = plain(args.provider.props) if args.provider else {}
    tags = provider.get("defaultTags")
    return Resource(
        type=args.resource_type,
        name=args.name,
        urn=args.urn,
        props=plain(args.props),
        role=stack_role(args.urn),
        protect=bool(args.opts.protect),
        refers_to={
            name: [one.urn for one in found]
            for name, found in (getattr(args, "property_dependencies", None) or {}).items()
        },
        provider_tags=(tags.get("tags") or {}) if isinstance(tags, Mapping) else {},
        throw_away=is_throw_away(configured or {}),
    )


def policies_of(rule: Rule) -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """A rule as one or two policies of the engine."""
    made: list[ResourceValidationPolicy | StackValidationPolicy] = []
    if (check := rule.check) is not None:

        def validate(args: ResourceValidationArgs, report: Report) -> None:
            for text in check(resource_of(args, args.get_config())):
                report(text)

        made.append(
            ResourceValidationPolicy(
                name=rule.name,
                description=rule.description,
                validate=validate,
                config_schema=_schema(rule),
            )
        )
    if (check_stack := rule.check_stack) is not None:

        def validate_stack(args: StackValidationArgs, report: Report) -> None:
            for finding in check_stack([resource_of(one) for one in args.resources]):
                report(finding.text, finding.urn)

        made.append(
            StackValidationPolicy(
                name=f"{rule.name}{OF_STACK}", description=rule.description, validate=validate_stack
            )
        )
    return made


def _schema(rule: Rule) -> PolicyConfigSchema | None:
    if not rule.settings:
        return None
    return PolicyConfigSchema(properties={name: dict(schema) for name, schema in rule.settings.items()})


def serve() -> None:
    """Serves all rules, each mandatory, to the engine that started this process."""
    PolicyPack(
        name="lakehouse-lab-guardrails",
        enforcement_level=EnforcementLevel.MANDATORY,
        policies=[policy for rule in RULES for policy in policies_of(rule)],
    )
