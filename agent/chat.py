"""The language model, where one is configured: made by LangChain's ``init_chat_model`` when it is needed.

``openai:NAME`` with a base URL speaks to any OpenAI-compatible server (vLLM, Ollama), ``anthropic:NAME`` to
Anthropic, ``bedrock_converse:NAME`` to Amazon Bedrock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import LabError, UsageError

PROVIDERS = ("openai", "anthropic", "bedrock_converse")
_MAX_TOKENS = 2_000


class ModelError(LabError):
    """The model does not answer, or answers nothing that can be used."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """``name`` is ``provider:model``; ``key`` empty where the provider needs none, or finds its own (a pod's
    identity, a server on this machine)."""

    name: str
    base_url: str
    key: str = field(repr=False)
    region: str
    timeout_s: float = 120.0

    @property
    def provider(self) -> str:
        return self.name.partition(":")[0]


def check_model(name: str) -> str:
    """Raises UsageError unless it is ``provider:model`` with a provider that is there."""
    provider, colon, model = name.partition(":")
    if not colon or not model or provider not in PROVIDERS:
        raise UsageError(
            "the agent's model is not valid",
            value=name,
            permitted=", ".join(f"{one}:MODEL" for one in PROVIDERS),
            next_command="lab up --set agentModel=openai:llama3.1 --set agentModelUrl=http://127.0.0.1:11434/v1",
        )
    return name


def make_chat(settings: ModelSettings) -> Any:
    """The chat model. Raises ModelError when its package or its configuration does not make one."""
    from langchain.chat_models import init_chat_model

    given: dict[str, Any] = {"temperature": 0, "max_retries": 2, "max_tokens": _MAX_TOKENS}
    if settings.provider == "openai":
        # A server of one's own asks for no key, its client library does.
        given |= {"api_key": settings.key or "none", "timeout": settings.timeout_s}
        given |= {"base_url": settings.base_url} if settings.base_url else {}
    elif settings.provider == "anthropic":
        given |= {"api_key": settings.key, "timeout": settings.timeout_s}
        given |= {"base_url": settings.base_url} if settings.base_url else {}
    else:
        given.pop("max_retries")
        given |= {"region_name": settings.region or None}
        given |= {"bedrock_api_key": settings.key} if settings.key else {}
        given |= {"endpoint_url": settings.base_url} if settings.base_url else {}
    try:
        return init_chat_model(settings.name, **given)
    except Exception as error:
        raise ModelError(
            f"the model {settings.name!r} can't be used: {redacted(error, settings)}",
            next_command="lab up --set agentModel=…",
        ) from None


def redacted(error: BaseException, settings: ModelSettings) -> str:
    """An error's first line, without the key should it hold it."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return text.replace(settings.key, "***") if settings.key else text


def text_of(message: Any) -> str:
    """The plain text of a model's message; parts that are none are left out."""
    content = message.content
    if isinstance(content, str):
        return content
    parts = [
        part if isinstance(part, str) else str(part.get("text", "")) for part in content if _is_text(part)
    ]
    return "".join(parts)


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, Mapping) and part.get("type") == "text")
