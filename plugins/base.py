"""A ResourceProvider service over resource types, for any number of requests at once.

The protocol: https://pulumi-developer-docs.readthedocs.io/latest/docs/architecture/providers/implementers-guide.html
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from contracts.errors import LabError, unknown_name
from plugins.resource import Changes, Field, ResourceType, SessionT, State, Update
from plugins.values import Props, decode, encode, has_unknown

ReplyT = TypeVar("ReplyT")
_KINDS = {
    "added": (provider_pb2.PropertyDiff.ADD, provider_pb2.PropertyDiff.ADD_REPLACE),
    "deleted": (provider_pb2.PropertyDiff.DELETE, provider_pb2.PropertyDiff.DELETE_REPLACE),
    "updated": (provider_pb2.PropertyDiff.UPDATE, provider_pb2.PropertyDiff.UPDATE_REPLACE),
}


class Provider(provider_pb2_grpc.ResourceProviderServicer, ABC, Generic[SessionT]):
    """Serves ``types``; subclasses say how configuration becomes a session.

    A session is made at the first operation that needs one, so configuring never waits for a server.
    Once cancelled, operations in flight finish and new ones that would change something are refused.
    """

    name: str
    config_fields: tuple[Field, ...] = ()
    functions: Mapping[str, Callable[[Any, Props], tuple[Props, frozenset[str]]]] = {}
    """Lookups by token: from session and arguments to the answer and the names of its secret members."""

    def __init__(self, version: str, types: Iterable[ResourceType[SessionT]]) -> None:
        self.version = version
        self.types: Mapping[str, ResourceType[SessionT]] = {t.token: t for t in types}
        self._config: Props = {}
        self._session: SessionT | None = None
        self._session_lock = threading.Lock()
        self._cancelled = threading.Event()
        for kind in self.types.values():
            kind.interrupted = self._cancelled.is_set
        self._made: set[tuple[str, str]] = set()

    @abstractmethod
    def connect(self, config: Props) -> SessionT:
        """A session from the configuration. Raises LabError."""

    def check_config(self, config: Props) -> tuple[Props, dict[str, str]]:
        """Canonical configuration, and failures by key."""
        return config, {}

    @property
    def session(self) -> SessionT:
        """The session, made on first use. Raises LabError."""
        with self._session_lock:
            if self._session is None:
                if has_unknown(self._config):
                    raise LabError(
                        f"the configuration of provider {self.name} is not known yet",
                        value=sorted(key for key, value in self._config.items() if has_unknown(value)),
                        permitted="values that are known when the operation runs",
                    )
                self._session = self.connect(self._config)
            return self._session

    # Configuration

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        """What this provider understands."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Nothing to do: this provider never calls the engine."""
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The version the SDK of the same number asks for."""
        return plugin_pb2.PluginInfo(version=self.version)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:
        """A package schema of the types served here."""
        resources = {token: _schema(t.fields) for token, t in self.types.items()}
        config = {"variables": {f.name: f.kind.schema for f in self.config_fields}}
        schema = {"name": self.name, "version": self.version, "config": config, "resources": resources}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Refuses configuration that can't work, before anything runs."""
        news, secrets = decode(request.news)
        config, failures = self.check_config(news)
        hidden = secrets | {f.name for f in self.config_fields if f.secret}
        # Non-text configuration stays in the JSON form in which the SDK sends it.
        return _checked({name: news.get(name, value) for name, value in config.items()}, hidden, failures)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """A changed address or credential never replaces what the provider made."""
        before, _ = decode(request.old_inputs if request.HasField("old_inputs") else request.olds)
        news, _ = decode(request.news)
        names = sorted(name for name in before.keys() | news.keys() if before.get(name) != news.get(name))
        changes = provider_pb2.DiffResponse.DIFF_SOME if names else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=names)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Keeps the configuration for the session to come."""

        def run() -> Any:
            raw, _ = decode(request.args)
            config, failures = self.check_config(raw)
            if failures:
                raise LabError(f"provider {self.name} is configured wrongly", value=failures)
            with self._session_lock:
                self._config, self._session = config, None
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

        return self._answer(context, run)

    # Resources

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Canonical inputs, or the reasons why they can't be used."""

        def run() -> Any:
            news, secrets = decode(request.news)
            kind = self._type(request)
            inputs, failures = kind.check(news, request.name or request.urn.rsplit("::", 1)[-1])
            return _checked(inputs, self._hidden(kind, secrets), failures)

        return self._answer(context, run)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:
        """What would change, and whether in place."""

        def run() -> Any:
            recorded, _ = decode(request.olds)
            before = decode(request.old_inputs)[0] if request.HasField("old_inputs") else recorded
            declared = _ignoring(decode(request.news)[0], recorded, request.ignoreChanges)
            return _diff_reply(self._type(request).diff(before, recorded, declared))

        return self._answer(context, run)

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Makes or adopts one resource."""

        def run() -> Any:
            kind = self._type(request)
            inputs, secrets = decode(request.properties)
            hidden = self._hidden(kind, secrets)
            if request.preview:
                outputs = kind.preview(inputs, {}, ())
                return provider_pb2.CreateResponse(properties=encode(outputs, hidden))
            self._refuse_if_cancelled()
            state = kind.create(self.session, inputs)
            self._made.add((kind.token, state.id))
            _refuse_unready(context, state, hidden)
            return provider_pb2.CreateResponse(id=state.id, properties=encode(state.outputs, hidden))

        return self._answer(context, run)

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:
        """A resource as it is now: refresh, import and lookups. Gone: an empty answer."""

        def run() -> Any:
            kind = self._type(request)
            inputs, input_secrets = decode(request.inputs)
            recorded, secrets = decode(request.properties)
            state = kind.read(self.session, request.id, inputs, recorded)
            if state is None:
                return provider_pb2.ReadResponse()
            hidden = self._hidden(kind, secrets | input_secrets)
            return provider_pb2.ReadResponse(
                id=state.id,
                properties=encode(state.outputs, hidden),
                inputs=encode(kind.refreshed_inputs(inputs, state.outputs), hidden),
            )

        return self._answer(context, run)

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Brings one resource to its declaration."""

        def run() -> Any:
            kind = self._type(request)
            recorded, _ = decode(request.olds)
            before = decode(request.old_inputs)[0] if request.HasField("old_inputs") else recorded
            news, secrets = decode(request.news)
            declared = _ignoring(news, recorded, request.ignoreChanges)
            hidden = self._hidden(kind, secrets)
            if request.preview:
                changed = kind.diff(before, recorded, declared).names
                return provider_pb2.UpdateResponse(
                    properties=encode(kind.preview(declared, recorded, changed), hidden)
                )
            self._refuse_if_cancelled()
            update = Update(id=request.id, before=before, recorded=recorded, declared=declared)
            state = kind.update(self.session, update)
            _refuse_unready(context, state, hidden)
            return provider_pb2.UpdateResponse(properties=encode(state.outputs, hidden))

        return self._answer(context, run)

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Removes one resource, unless a create of this same run adopted it (a renamed declaration)."""

        def run() -> Any:
            kind = self._type(request)
            self._refuse_if_cancelled()
            if (kind.token, request.id) not in self._made:
                place = {**decode(request.properties)[0], **decode(request.old_inputs)[0]}
                kind.delete(self.session, request.id, place)
            return empty_pb2.Empty()

        return self._answer(context, run)

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Looks something up. Unknown arguments never come here: the SDK waits for them."""

        def run() -> Any:
            function = self.functions.get(request.tok)
            if function is None:
                raise unknown_name(f"function of provider {self.name}", request.tok, self.functions)
            answer, hidden = function(self.session, decode(request.args)[0])
            reply = provider_pb2.InvokeResponse()
            getattr(reply, "return").CopyFrom(encode(answer, hidden))  # `return` is a keyword of Python
            return reply

        return self._answer(context, run)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """The engine is interrupted: finish what runs, begin nothing."""
        self._cancelled.set()
        return empty_pb2.Empty()

    # What this provider has not. The generated servicer would log a stack trace for each.

    def Call(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """There are no methods."""
        self._missing(context, "methods")

    def Construct(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """There are no components."""
        self._missing(context, "components")

    def Parameterize(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """There are no parameters."""
        self._missing(context, "parameters")

    def List(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """There is no listing."""
        self._missing(context, "listing")

    def GetMapping(self, request: Any, context: grpc.ServicerContext) -> Any:
        """No mapping from other ecosystems."""
        return provider_pb2.GetMappingResponse()

    def GetMappings(self, request: Any, context: grpc.ServicerContext) -> Any:
        """No mappings from other ecosystems."""
        return provider_pb2.GetMappingsResponse()

    def _missing(self, context: grpc.ServicerContext, what: str) -> NoReturn:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"provider {self.name} has no {what}")
        raise AssertionError("abort raises")

    def _type(self, request: Any) -> ResourceType[SessionT]:
        token = request.type or request.urn.split("::")[2].rsplit("$", 1)[-1]
        found = self.types.get(token)
        if found is None:
            raise unknown_name(f"resource type in this {self.name} plugin", token, self.types)
        return found

    def _hidden(self, kind: ResourceType[SessionT], secrets: frozenset[str]) -> frozenset[str]:
        return secrets | {f.name for f in kind.fields if f.secret}

    def _refuse_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise LabError("the operation was interrupted before this resource", next_command="pulumi up")

    def _answer(self, context: grpc.ServicerContext, run: Callable[[], ReplyT]) -> ReplyT:
        """The reply of ``run``; a LabError reaches the engine as a status with the error's text."""
        try:
            return run()
        except LabError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise AssertionError("abort raises") from error


def _refuse_unready(context: grpc.ServicerContext, state: State, hidden: frozenset[str]) -> None:
    """Ends the request where what was made is not as it should be, in the form in which the engine keeps it
    in the state nevertheless."""
    if not state.unready:
        return
    # Loaded here: Pulumi's own copy of this message can't be loaded beside it.
    from google.rpc import status_pb2
    from grpc_status import rpc_status

    failed = provider_pb2.ErrorResourceInitFailed(
        id=state.id, properties=encode(state.outputs, hidden), reasons=[state.unready]
    )
    detail = any_pb2.Any()
    detail.Pack(failed)
    code = grpc.StatusCode.FAILED_PRECONDITION.value[0]
    status = status_pb2.Status(code=code, message=state.unready, details=[detail])
    context.abort_with_status(rpc_status.to_status(status))


def _checked(inputs: Props, hidden: frozenset[str], failures: Mapping[str, str]) -> Any:
    return provider_pb2.CheckResponse(
        inputs=encode(inputs, hidden),
        failures=[provider_pb2.CheckFailure(property=key, reason=why) for key, why in failures.items()],
    )


def _diff_reply(changes: Changes) -> Any:
    reply = provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changes.names else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=sorted(changes.names),
        replaces=sorted(changes.replaces),
        deleteBeforeReplace=changes.delete_first,
        hasDetailedDiff=True,
    )
    for path, change in changes.paths.items():
        in_place, replacing = _KINDS[change.how]
        reply.detailedDiff[path].kind = replacing if change.replace else in_place
        reply.detailedDiff[path].inputDiff = change.by_declaration
    return reply


def _ignoring(declared: Props, recorded: Props, paths: Iterable[str]) -> Props:
    """``declared`` with the ignored properties as they are recorded, so that they never differ."""
    result = dict(declared)
    for path in paths:
        name, _, key = path.replace('["', ".").replace('"]', "").partition(".")
        if not key:
            if name in recorded:
                result[name] = recorded[name]
            else:
                result.pop(name, None)
        elif isinstance(result.get(name), dict):
            actual = recorded.get(name)
            inner = {k: v for k, v in result[name].items() if k != key}
            if isinstance(actual, dict) and key in actual:
                inner[key] = actual[key]
            result[name] = inner
    return result


def _schema(fields: tuple[Field, ...]) -> dict[str, Any]:
    shown = {f.name: {**f.kind.schema, **({"secret": True} if f.secret else {})} for f in fields}
    return {
        "properties": shown,
        "inputProperties": {f.name: shown[f.name] for f in fields if not f.output},
        "requiredInputs": [f.name for f in fields if f.required],
    }
