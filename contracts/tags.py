"""The tags that every resource in a cloud account carries, so that it is found and accounted for."""

from __future__ import annotations

from contracts.settings import NAMESPACE, Role

REQUIRED_TAGS = ("Project", "Lab", "Stack")
"""Held by the guardrail ``tags-complete``."""


def resource_tags(lab: str, role: Role) -> dict[str, str]:
    """The tags of each resource of one lab's stack; the persistent stack's belong to all of its labs."""
    return {"Project": NAMESPACE, "Lab": lab, "Stack": role.value}
