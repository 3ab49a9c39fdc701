"""All guardrails."""

from __future__ import annotations

from policies.guardrails.exposure import NO_PUBLIC_BUCKET, NO_PUBLIC_DATABASE, NO_PUBLIC_ENDPOINT
from policies.guardrails.iam import NO_WILDCARD_IAM
from policies.guardrails.keeping import DELETION_PROTECTION, ENCRYPTED, LAB_KEEPS_NOTHING, TAGS_COMPLETE
from policies.guardrails.model import Rule

RULES: tuple[Rule, ...] = (
    NO_PUBLIC_BUCKET,
    NO_PUBLIC_DATABASE,
    NO_PUBLIC_ENDPOINT,
    ENCRYPTED,
    TAGS_COMPLETE,
    LAB_KEEPS_NOTHING,
    NO_WILDCARD_IAM,
    DELETION_PROTECTION,
)
