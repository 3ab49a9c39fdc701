"""What the types of this plugin share: everything but the calls of boto3."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import boto3
from botocore.exceptions import ClientError

from contracts.errors import LabError
from plugins.kinds import Json
from plugins.resource import Field, ResourceType, State, Update
from plugins.values import Props, has_unknown
from tests.moto_aws.arguments import arguments, failures

_GONE = ("NotFound", "NoSuch", "NotFoundFault", "ResourceNotFound", "StateMachineDoesNotExist")


@dataclass
class World:
    """The account. ``faults`` names types whose next create fails before AWS is asked; ``calls`` are those
    that changed something; ``kept_here`` holds what moto has no calls for. ``kubeconfig`` (JSON) leads to the
    cluster that is behind the one which moto only tells of, where there is one."""

    region: str = "eu-central-1"
    kubeconfig: str = ""
    faults: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    kept_here: dict[tuple[str, str], Props] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client of boto3."""
        if service not in self._clients:
            self._clients[service] = boto3.client(service, region_name=self.region)
        return self._clients[service]


class Declared(Json):
    """A value that holds at least what is declared; the order of lists and members is AWS' own."""

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        return not has_unknown(declared) and _holds(actual, declared)


DECLARED = Declared()


def _holds(actual: Any, declared: Any) -> bool:
    if isinstance(declared, Mapping) and isinstance(actual, Mapping):
        return all(_holds(actual.get(key), inner) for key, inner in declared.items())
    if isinstance(declared, list) and isinstance(actual, list):
        return len(actual) == len(declared) and all(
            any(_holds(one, inner) for one in actual) for inner in declared
        )
    return bool(declared == actual) or (not declared and not actual)


class MotoType(ResourceType[World]):
    """One resource type. ``replaces`` names inputs that can't be changed in place, as AWS has it."""

    replaces: ClassVar[frozenset[str]] = frozenset()
    outputs: ClassVar[tuple[str, ...]] = ("arn",)

    @classmethod
    def load(cls) -> MotoType:
        """An instance, with the inputs that the SDK declares."""
        declared = [
            Field(name=name, kind=DECLARED, required=argument.required, replace=name in cls.replaces)
            for name, argument in arguments(cls.token).items()
        ]
        strange = cls.replaces - {f.name for f in declared}
        assert not strange, (cls.token, strange)
        cls.fields = (*declared, *(Field(name=name, kind=DECLARED, output=True) for name in cls.outputs))
        return cls()

    def check(self, news: Props, resource_name: str) -> tuple[Props, dict[str, str]]:
        inputs, wrong = super().check(news, resource_name)
        # Elsewhere it is the SDK's own; EKS has an input of that name.
        if "version" in news and "version" in self.by_name():
            inputs["version"] = news["version"]
        return inputs, wrong

    def validate(self, inputs: Props) -> Mapping[str, str]:
        return failures(self.token, inputs)

    @abstractmethod
    def make(self, world: World, inputs: Props) -> str:
        """Creates it; its id."""

    @abstractmethod
    def look(self, world: World, ident: str, props: Props) -> Props | None:
        """Outputs and those properties that the account tells of; None when it is gone."""

    def change(self, world: World, ident: str, declared: Props) -> None:
        """Brings it to ``declared``."""
        raise LabError(f"{self.token} can't be changed in place", value=ident)

    @abstractmethod
    def remove(self, world: World, ident: str, props: Props) -> None:
        """Deletes it."""

    def create(self, session: World, inputs: Props) -> State:
        if self.token in session.faults:
            session.faults.discard(self.token)
            raise LabError(f"{self.token}: InternalFailure, as asked for by the test")
        with _as_aws_says(self.token):
            ident = self.make(session, inputs)
            session.calls.append(("create", self.token))
            seen = self.look(session, ident, inputs)
        assert seen is not None, (self.token, ident)
        return State(id=ident, outputs={**inputs, **seen})

    def read(self, session: World, ident: str, inputs: Props, recorded: Props) -> State | None:
        try:
            seen = self.look(session, ident, {**inputs, **recorded})
        except ClientError as error:
            if not is_gone(error):
                raise
            seen = None
        return None if seen is None else State(id=ident, outputs={**inputs, **recorded, **seen})

    def update(self, session: World, update: Update) -> State:
        with _as_aws_says(self.token):
            self.change(session, update.id, update.declared)
            session.calls.append(("update", self.token))
            seen = self.look(session, update.id, update.declared)
        assert seen is not None, (self.token, update.id)
        kept = {f.name: update.recorded.get(f.name) for f in self.fields if f.output}
        return State(id=update.id, outputs={**kept, **update.declared, **seen})

    def delete(self, session: World, ident: str, recorded: Props) -> None:
        try:
            with _as_aws_says(self.token):
                self.remove(session, ident, recorded)
        except LabError as error:
            if not isinstance(error.__cause__, ClientError) or not is_gone(error.__cause__):
                raise
        session.calls.append(("delete", self.token))


def is_gone(error: ClientError) -> bool:
    """Whether AWS says that there is no such thing."""
    code = str(error.response["Error"]["Code"])
    return any(part in code for part in _GONE) or code == "404"


@contextmanager
def _as_aws_says(token: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise LabError(f"{token}: {error}") from error


def pairs(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def mapping(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags as Pulumi has them."""
    return {tag["Key"]: tag["Value"] for tag in tags if not tag["Key"].startswith("aws:")}


def as_declared(declared: Any, actual: Any) -> str:
    """A JSON document: the declared text when ``actual`` means the same."""
    found = json.loads(actual) if isinstance(actual, str) else actual
    if isinstance(declared, str) and json.loads(declared) == found:
        return declared
    return json.dumps(found, sort_keys=True)
