"""The chat over HTTP: conversations of one user, their runs, and what the agent knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agent.identity import User, user_of
from agent.layers import Layers
from agent.runs import Runs
from agent.store import Store
from agent.threads import in_thread
from agent.values import About, Conversation, ConversationDetail, ModelInfo, Run, Step

_RUN: TypeAdapter[Run] = TypeAdapter(Run)
_STEP: TypeAdapter[Step] = TypeAdapter(Step)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewConversation(_Body):
    """A conversation to begin; without a title it is called by its first question."""

    title: str = Field(default="", max_length=200, examples=["Revenue in 1995"])


class Said(_Body):
    """A question, or the answer to what was asked back."""

    text: str = Field(min_length=1, max_length=4000, examples=["revenue by customer region"])


class NewModel(_Body):
    """A model of the semantic layer."""

    text: str = Field(min_length=1, max_length=1 << 18, examples=["model: sales\ntables: …"])


async def _user(request: Request, authorization: Annotated[str | None, Header()] = None) -> User:
    return await user_of(request.app.state.verifier, authorization)


Authenticated = Annotated[User, Depends(_user)]


def chat_router(store: Store, runs: Runs, layers: Layers, about: Any) -> APIRouter:
    """The routes; ``about`` gives an :class:`About`."""
    router = APIRouter(prefix="/v1/chat", tags=["chat"])

    @router.get("/about")
    async def what_it_is(_: Authenticated) -> About:
        """What the agent is, and what can be asked."""
        found: About = await in_thread(about)
        return found

    @router.post("/conversations", status_code=HTTPStatus.CREATED)
    async def create(body: NewConversation, user: Authenticated) -> Conversation:
        """Begin a conversation."""
        return await in_thread(store.create, user.username, body.title)

    @router.get("/conversations")
    async def conversations(
        user: Authenticated, limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> tuple[Conversation, ...]:
        """Your conversations, the last used first."""
        return await in_thread(store.conversations, user.username, limit)

    @router.get("/conversations/{conversation_id}")
    async def conversation(conversation_id: str, user: Authenticated) -> ConversationDetail:
        """One of your conversations with its questions and answers."""
        return await in_thread(store.conversation, user.username, conversation_id)

    @router.patch("/conversations/{conversation_id}")
    async def rename(conversation_id: str, body: NewConversation, user: Authenticated) -> Conversation:
        """Give a conversation another title."""
        return await in_thread(store.rename, user.username, conversation_id, body.title)

    @router.delete("/conversations/{conversation_id}", status_code=HTTPStatus.NO_CONTENT)
    async def forget(conversation_id: str, user: Authenticated) -> Response:
        """Remove a conversation. The audit of what was done in it stays."""
        await runs.forget(user, conversation_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.post("/conversations/{conversation_id}/messages", status_code=HTTPStatus.ACCEPTED)
    async def say(conversation_id: str, body: Said, user: Authenticated) -> Run:
        """Ask a question, or answer what was asked back. The run goes on by itself; see its events."""
        return await runs.say(user, conversation_id, body.text)

    @router.get("/runs/{run_id}")
    async def run(run_id: str, user: Authenticated) -> Run:
        """A run as it stands."""
        return await runs.get(user, run_id)

    @router.get("/runs/{run_id}/steps")
    async def steps(run_id: str, user: Authenticated) -> tuple[Step, ...]:
        """What a run did, step by step, as it was audited."""
        return await in_thread(store.steps, user.username, run_id)

    async def own(run_id: str, user: Authenticated) -> Run:
        # Before the answer begins: later there is no status to give.
        return await runs.get(user, run_id)

    @router.get("/runs/{run_id}/events", response_class=EventSourceResponse, dependencies=[Depends(own)])
    async def events(
        run_id: str,
        user: Authenticated,
        after: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """The run's steps as they come (event ``step``, its number as id), then the run (event ``run``)."""
        if last_event_id and last_event_id.isdecimal():
            after = max(after, int(last_event_id))
        async for event in runs.events(user, run_id, after):
            if isinstance(event, Step):
                data = _STEP.dump_python(event, mode="json")
                yield ServerSentEvent(event="step", id=str(event.seq), data=data)
            else:
                yield ServerSentEvent(event="run", data=_RUN.dump_python(event, mode="json"))

    @router.post("/runs/{run_id}/stop")
    async def stop(run_id: str, user: Authenticated) -> Run:
        """End a run, and its statement in Trino."""
        return await runs.stop(user, run_id)

    @router.post("/runs/{run_id}/resume", status_code=HTTPStatus.ACCEPTED)
    async def resume(run_id: str, user: Authenticated) -> Run:
        """Go on with a run that the agent's restart interrupted."""
        return await runs.resume(user, run_id)

    @router.get("/models")
    async def models(_: Authenticated) -> tuple[ModelInfo, ...]:
        """The models of the semantic layer."""
        return await in_thread(layers.models)

    @router.put("/models")
    async def register(body: NewModel, user: Authenticated) -> ModelInfo:
        """Register a model, in the place of one of the same name."""
        return await in_thread(layers.register, user.username, user.groups, body.text)

    @router.delete("/models/{name}", status_code=HTTPStatus.NO_CONTENT)
    async def remove(name: str, user: Authenticated) -> Response:
        """Remove a registered model."""
        await in_thread(layers.remove, user.username, user.groups, name)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router
