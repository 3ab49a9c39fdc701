"""Resource types whose state is one JSON representation in the admin API."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from contracts.errors import LabError
from plugins.keycloak.api import Admin, AlreadyThere
from plugins.resource import KEEP, Field, ResourceType, State, Update
from plugins.values import Props

Rep = dict[str, Any]
"""A representation as Keycloak writes it."""

REALM = Field(name="realmId", required=True, key=True, replace=True)


class Represented(ResourceType[Admin]):
    """Create by natural key, read by id, write only what differs."""

    @abstractmethod
    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        """What already has the natural key of ``inputs``."""

    @abstractmethod
    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        """Make it; its id. Raises AlreadyThere."""

    @abstractmethod
    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        """Its representation by id; ``props`` say where it lives."""

    @abstractmethod
    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        """Replace its representation."""

    @abstractmethod
    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        """The id and the place that an import id means. Raises LabError."""

    def ident(self, rep: Rep) -> str:
        """The id in a representation."""
        return str(rep["id"])

    def new(self, inputs: Props) -> Rep:
        """The representation to create: what is declared over the defaults."""
        rep: Rep = {}
        for f in self.fields:
            value = inputs.get(f.name, None if f.default is KEEP else f.default)
            if f.path and not f.output and value is not None:
                put_at(rep, f.path, f.kind.write(value, value_at(rep, f.path), None))
        return rep

    def extend(self, admin: Admin, ident: str, inputs: Props, outputs: Props) -> Props:
        """Outputs that are not in the representation."""
        return {}

    def settle(self, admin: Admin, ident: str, inputs: Props, created: bool) -> None:
        """What remains to be done beside the representation, after a create or an update."""

    def create(self, session: Admin, inputs: Props) -> State:
        found = self.find(session, inputs)
        if found is None:
            try:
                ident = self.insert(session, inputs, self.new(inputs))
                self.settle(session, ident, inputs, created=True)
                return self._state(session, ident, inputs, {})
            except AlreadyThere:
                # Another writer was faster, or the conflict is with something else: then say so.
                found = self.find(session, inputs)
                if found is None:
                    raise
        ident = self.ident(found)
        if not self.seeded:
            self._apply(session, ident, inputs, inputs, {})
            self.settle(session, ident, inputs, created=False)
        return self._state(session, ident, inputs, {})

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        place = {**recorded, **inputs}
        if not place:
            ident, place = self.locate(session, ident)
        rep = self.fetch(session, ident, place)
        if rep is None:
            return None
        outputs = self._outputs(session, ident, rep, place, recorded)
        return State(id=ident, outputs=outputs)

    def update(self, session: Admin, update: Update) -> State:
        declared = update.changed(self.fields) if self.seeded else update.declared
        place = {**update.recorded, **update.declared}
        dropped = {
            f.name: f.default
            for f in self.fields
            if f.name in update.dropped and (f.default is not KEEP or f.kind.is_map)
        }
        wanted = {**{name: {} if value is KEEP else value for name, value in dropped.items()}, **declared}
        self._apply(session, update.id, place, wanted, update.before)
        self.settle(session, update.id, update.declared, created=False)
        return self._state(session, update.id, place, update.recorded)

    def _apply(self, session: Admin, ident: str, place: Props, wanted: Props, before: Props) -> None:
        with session.exclusive(ident):
            rep = self.fetch(session, ident, place)
            if rep is None:
                raise LabError(
                    f"{self.token} {ident} is gone from Keycloak", value=ident, next_command="pulumi refresh"
                )
            if self.overlay(rep, wanted, before):
                self.store(session, ident, place, rep)

    def overlay(self, rep: Rep, wanted: Props, before: Props) -> bool:
        """Write what differs into ``rep``; whether anything did."""
        differs = False
        for f in self.fields:
            if not f.path or f.output or f.create_only or f.name not in wanted:
                continue
            current = value_at(rep, f.path)
            value, previous = wanted[f.name], before.get(f.name)
            if not f.kind.same(value, f.kind.read(current), previous):
                put_at(rep, f.path, f.kind.write(value, current, previous))
                differs = True
        return differs

    def _state(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State:
        rep = self.fetch(session, ident, inputs)
        if rep is None:
            raise LabError(f"{self.token} {ident} was made and is not to be found", value=ident)
        return State(id=ident, outputs=self._outputs(session, ident, rep, inputs, recorded))

    def _outputs(self, session: Admin, ident: str, rep: Rep, inputs: Props, recorded: Props) -> Props:
        outputs: Props = {}
        for f in self.fields:
            if not f.path:
                outputs[f.name] = inputs.get(f.name, recorded.get(f.name))
                if outputs[f.name] is None and f.default is not KEEP:
                    outputs[f.name] = f.default
                continue
            raw = value_at(rep, f.path)
            declared = inputs.get(f.name, recorded.get(f.name))
            masked = f.secret and (raw is None or set(str(raw)) == {"*"})
            outputs[f.name] = declared if masked else f.kind.shown(declared, f.kind.read(raw))
        outputs.update(self.extend(session, ident, inputs, outputs))
        return outputs


def value_at(rep: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at ``path``, or None."""
    value: Any = rep
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def put_at(rep: Rep, path: tuple[str, ...], value: Any) -> None:
    """Set the value at ``path``, making what lies above it."""
    for part in path[:-1]:
        rep = rep.setdefault(part, {})
    rep[path[-1]] = value
