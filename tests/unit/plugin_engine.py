"""What the engine does with a provider, resource by resource, over real gRPC and without the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto import provider_pb2_grpc

from plugins.base import Provider
from plugins.serving import start
from plugins.values import Props, decode, encode


@dataclass
class Held:
    """One resource in the state."""

    token: str
    id: str
    inputs: Props
    outputs: Props
    secrets: frozenset[str]


@dataclass
class MiniEngine:
    """A state, and the events that move it: up, refresh, destroy."""

    stub: Any
    state: dict[str, Held] = field(default_factory=dict)

    def configure(self, secrets: tuple[str, ...] = (), **config: Any) -> None:
        """Configures the provider."""
        self.stub.Configure(pb.ConfigureRequest(args=encode(config, secrets), acceptSecrets=True))

    def urn(self, token: str, name: str) -> str:
        """The URN of a resource."""
        return f"urn:pulumi:dev::test::{token}::{name}"

    def check(self, token: str, name: str, inputs: Props, secrets: tuple[str, ...] = ()) -> Any:
        """The provider's verdict on inputs."""
        return self.stub.Check(
            pb.CheckRequest(urn=self.urn(token, name), news=encode(inputs, secrets), name=name, type=token)
        )

    def up(self, token: str, name: str, inputs: Props, secrets: tuple[str, ...] = ()) -> str:
        """Declare one resource: ``same``, ``create``, ``update`` or ``replace`` is done and said."""
        urn = self.urn(token, name)
        checked = self.check(token, name, inputs, secrets)
        assert not checked.failures, list(checked.failures)
        held = self.state.get(name)
        if held is None:
            self._create(urn, token, name, checked.inputs)
            return "create"
        olds = encode(held.outputs, held.secrets)
        before = encode(held.inputs, held.secrets)
        diff = self.diff(token, name, checked.inputs)
        if diff.changes == pb.DiffResponse.DIFF_NONE:
            held.inputs = decode(checked.inputs)[0]
            return "same"
        if diff.replaces:
            delete = pb.DeleteRequest(id=held.id, urn=urn, properties=olds, old_inputs=before)
            if diff.deleteBeforeReplace:
                self.stub.Delete(delete)
                self._create(urn, token, name, checked.inputs)
            else:
                self._create(urn, token, name, checked.inputs)
                self.stub.Delete(delete)
            return "replace"
        reply = self.stub.Update(
            pb.UpdateRequest(id=held.id, urn=urn, olds=olds, old_inputs=before, news=checked.inputs)
        )
        self._hold(token, name, held.id, checked.inputs, reply.properties)
        return "update"

    def diff(self, token: str, name: str, news: struct_pb2.Struct, ignore: tuple[str, ...] = ()) -> Any:
        """The provider's comparison of the state with checked inputs."""
        held = self.state[name]
        return self.stub.Diff(
            pb.DiffRequest(
                id=held.id,
                urn=self.urn(token, name),
                olds=encode(held.outputs, held.secrets),
                old_inputs=encode(held.inputs, held.secrets),
                news=news,
                ignoreChanges=ignore,
            )
        )

    def preview(self, token: str, name: str, inputs: Props) -> Props:
        """Outputs of a create that is only previewed."""
        checked = self.check(token, name, inputs)
        assert not checked.failures, list(checked.failures)
        reply = self.stub.Create(
            pb.CreateRequest(urn=self.urn(token, name), properties=checked.inputs, preview=True)
        )
        return decode(reply.properties)[0]

    def refresh(self, name: str) -> str:
        """``same``, ``drift`` or ``gone``."""
        held = self.state[name]
        reply = self.stub.Read(
            pb.ReadRequest(
                id=held.id,
                urn=self.urn(held.token, name),
                properties=encode(held.outputs, held.secrets),
                inputs=encode(held.inputs, held.secrets),
            )
        )
        if not reply.id:
            del self.state[name]
            return "gone"
        before = (held.inputs, held.outputs)
        self._hold(held.token, name, reply.id, reply.inputs, reply.properties)
        after = self.state[name]
        return "same" if before == (after.inputs, after.outputs) else "drift"

    def read(self, token: str, name: str, ident: str) -> Any:
        """An import."""
        return self.stub.Read(pb.ReadRequest(id=ident, urn=self.urn(token, name)))

    def destroy(self, name: str) -> None:
        """Delete one resource."""
        held = self.state.pop(name)
        self.stub.Delete(
            pb.DeleteRequest(
                id=held.id,
                urn=self.urn(held.token, name),
                properties=encode(held.outputs, held.secrets),
                old_inputs=encode(held.inputs, held.secrets),
            )
        )

    def _create(self, urn: str, token: str, name: str, inputs: struct_pb2.Struct) -> None:
        reply = self.stub.Create(pb.CreateRequest(urn=urn, properties=inputs))
        self._hold(token, name, reply.id, inputs, reply.properties)

    def _hold(
        self, token: str, name: str, ident: str, inputs: struct_pb2.Struct, outputs: struct_pb2.Struct
    ) -> None:
        plain, secrets = decode(outputs)
        plain_inputs, input_secrets = decode(inputs)
        self.state[name] = Held(
            token=token, id=ident, inputs=plain_inputs, outputs=plain, secrets=secrets | input_secrets
        )


@contextmanager
def engine_for(provider: Provider[Any]) -> Iterator[MiniEngine]:
    """A served provider and an empty state."""
    server, port = start(provider, workers=4)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield MiniEngine(provider_pb2_grpc.ResourceProviderStub(channel))
    finally:
        server.stop(None).wait()
