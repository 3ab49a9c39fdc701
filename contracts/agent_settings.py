"""Settings of the agent, rows of ``contracts.settings.SETTINGS``."""

from __future__ import annotations

from contracts.setting_values import Role, Setting, integer, matching

_LAB = frozenset({Role.LAB})

AGENT_SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="agentModel",
        roles=_LAB,
        default="",
        example="openai:llama3.1",
        parse=matching(
            r"((openai|anthropic|bedrock_converse):\S+)?",
            "openai:MODEL (any compatible server), anthropic:MODEL, bedrock_converse:MODEL, or nothing",
        ),
        doc="The agent's language model. Empty: none, questions are read against the semantic layer. Its key "
        "comes by LAB_AGENT_MODEL_KEY.",
    ),
    Setting(
        key="agentModelUrl",
        roles=_LAB,
        default="",
        example="http://127.0.0.1:11434/v1",
        parse=matching(r"(https?://\S+)?", "an http or https URL, or nothing"),
        doc="Where the agent's model answers. Empty: the provider's own address.",
    ),
    Setting(
        key="agentModelRegion",
        roles=_LAB,
        default="",
        example="eu-central-1",
        parse=matching(r"[a-z0-9-]*", "a region of AWS, or nothing"),
        doc="Region of a model on Amazon Bedrock.",
    ),
    Setting(
        key="agentMaxScanMib",
        roles=_LAB,
        default="2048",
        example="512",
        parse=integer(1, 1048576),
        doc="MiB that one query of the agent may read: what Trino expects to read more is not run, and what "
        "reads more is ended.",
    ),
    Setting(
        key="agentMaxQueryS",
        roles=_LAB,
        default="60",
        example="300",
        parse=integer(1, 3600),
        doc="Seconds that one query of the agent may run.",
    ),
    Setting(
        key="agentRetentionDays",
        roles=_LAB,
        default="90",
        example="30",
        parse=integer(1, 3650),
        doc="Days after its last use that a conversation with the agent is kept. The audit of its steps is "
        "kept for auditRetentionDays.",
    ),
)
