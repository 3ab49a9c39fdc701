"""The agent's API as a typed client, for the ``lab`` command.

Called with a token of the user's own, audience ``agent``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from agent.values import About, Conversation, ConversationDetail, ModelInfo, Run, Step
from contracts.errors import LabError, UsageError

T = TypeVar("T")


class AgentError(LabError):
    """The agent refused or could not do what was asked; ``status`` is the HTTP status, None when it did not
    answer."""

    def __init__(self, what: str, *, status: int | None = None, **facts: Any) -> None:
        self.status = status
        super().__init__(what, **facts)


class RefusedInputError(AgentError, UsageError):
    """The agent found the input wrong (422)."""


class AgentClient:
    """Calls the agent. ``token_provider`` returns a current access token with audience ``agent``.

    Every method raises AgentError (RefusedInputError) with the agent's own words, or one without a status
    when it can't be reached.
    """

    def __init__(
        self,
        base_url: str,
        token_provider: Callable[[], str],
        *,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._token_provider = token_provider
        # The agent is on the loopback or in the same cluster: never through a proxy.
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"), timeout=timeout_s, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def about(self) -> About:
        """What the agent is and can do."""
        return self._call(About, "GET", "/v1/chat/about")

    def begin(self, title: str = "") -> Conversation:
        """Begins a conversation."""
        return self._call(Conversation, "POST", "/v1/chat/conversations", {"title": title})

    def conversations(self) -> tuple[Conversation, ...]:
        """The user's own, the last used first."""
        return self._call(tuple[Conversation, ...], "GET", "/v1/chat/conversations")

    def conversation(self, conversation_id: str) -> ConversationDetail:
        """One with its questions and answers."""
        return self._call(ConversationDetail, "GET", f"/v1/chat/conversations/{_part(conversation_id)}")

    def forget(self, conversation_id: str) -> None:
        """Removes a conversation."""
        self._request("DELETE", f"/v1/chat/conversations/{_part(conversation_id)}")

    def say(self, conversation_id: str, text: str) -> Run:
        """Asks, or answers what was asked back."""
        path = f"/v1/chat/conversations/{_part(conversation_id)}/messages"
        return self._call(Run, "POST", path, {"text": text})

    def run(self, run_id: str) -> Run:
        """A run as it stands."""
        return self._call(Run, "GET", f"/v1/chat/runs/{_part(run_id)}")

    def stop(self, run_id: str) -> Run:
        """Ends a run."""
        return self._call(Run, "POST", f"/v1/chat/runs/{_part(run_id)}/stop")

    def resume(self, run_id: str) -> Run:
        """Goes on with an interrupted run."""
        return self._call(Run, "POST", f"/v1/chat/runs/{_part(run_id)}/resume")

    def steps(self, run_id: str) -> tuple[Step, ...]:
        """What a run did."""
        return self._call(tuple[Step, ...], "GET", f"/v1/chat/runs/{_part(run_id)}/steps")

    def follow(self, run_id: str, after: int = 0) -> Iterator[Step | Run]:
        """The steps after a number as they come, then the run as it stands."""
        headers = {"Authorization": f"Bearer {self._token_provider()}", "Accept": "text/event-stream"}
        try:
            with self._http.stream(
                "GET", f"/v1/chat/runs/{_part(run_id)}/events", params={"after": after}, headers=headers
            ) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                for event, data in _events(response.iter_lines()):
                    if event == "step":
                        yield _read(Step, data)
                    elif event == "run":
                        yield _read(Run, data)
        except httpx.TransportError as error:
            raise self._silent(error) from error

    def models(self) -> tuple[ModelInfo, ...]:
        """The models of the semantic layer."""
        return self._call(tuple[ModelInfo, ...], "GET", "/v1/chat/models")

    def register(self, text: str) -> ModelInfo:
        """Registers a model from YAML."""
        return self._call(ModelInfo, "PUT", "/v1/chat/models", {"text": text})

    def unregister(self, name: str) -> None:
        """Removes a registered model."""
        self._request("DELETE", f"/v1/chat/models/{_part(name)}")

    def _call(self, kind: type[T], method: str, path: str, body: Mapping[str, Any] | None = None) -> T:
        return _read(kind, self._request(method, path, body).content)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token_provider()}"}
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise self._silent(error) from error
        if response.is_error:
            raise _refusal(response)
        return response

    def _silent(self, error: httpx.TransportError) -> AgentError:
        return AgentError(
            f"the agent does not answer: {error}", value=str(self._http.base_url), next_command="lab status"
        )


def _part(text: str) -> str:
    """One segment of a path, whatever somebody typed as an id."""
    return quote(text, safe="").replace(".", "%2E")


def _read(kind: type[T], content: bytes | str) -> T:
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        raise AgentError(
            f"the agent's answer is not understood: {error.error_count()} fields",
            permitted=f"an answer that reads as {getattr(kind, '__name__', kind)}",
            next_command="lab up, so that agent and command line are of one version",
        ) from error


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): name and data."""
    event, data = "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield event, "\n".join(data)
            event, data = "message", []
        elif line.startswith("event:"):
            event = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))


def _refusal(response: httpx.Response) -> AgentError:
    """The error a problem document describes."""
    try:
        problem = json.loads(response.content)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    refused = response.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    kind = RefusedInputError if refused else AgentError
    return kind(
        problem.get("title") or f"the agent answered {response.status_code}",
        status=response.status_code,
        value=problem.get("value"),
        permitted=problem.get("permitted"),
        next_command=problem.get("next_command"),
    )
