"""A resource type: its fields, and what create, read, update and delete do with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from contracts.errors import LabError
from plugins.kinds import TEXT, Kind
from plugins.values import UNKNOWN, Props, Unknown, has_unknown

KEEP: Any = object()
"""The default of a field whose last value stays when the declaration drops it."""

SessionT = TypeVar("SessionT")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One property of a resource type.

    ``path`` leads to it in the REST representation (empty: not in it). ``key`` fields form the natural
    key; ``replace`` fields can't be changed in place; ``output`` fields are computed; ``create_only``
    fields matter once; ``default`` is set on creation and again when the declaration drops the field.
    """

    name: str
    path: tuple[str, ...] = ()
    kind: Kind = TEXT
    default: Any = KEEP
    required: bool = False
    key: bool = False
    replace: bool = False
    secret: bool = False
    output: bool = False
    create_only: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class State:
    """A resource as it is: its id and its outputs by wire name.

    ``unready`` says why what was made or changed is not as it should be. It is kept in the engine's state all
    the same, its operation fails, and the next one updates it.
    """

    id: str
    outputs: Props
    unready: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One changed property: ``added``, ``deleted`` or ``updated``, and whether it forces a replacement."""

    how: str
    replace: bool
    by_declaration: bool


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a declaration changes, by property path."""

    paths: Mapping[str, Change] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    delete_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an update works from: inputs declared before, outputs recorded, inputs declared now."""

    id: str
    before: Props
    recorded: Props
    declared: Props

    @property
    def dropped(self) -> frozenset[str]:
        """Names declared before and not now."""
        return frozenset(self.before.keys() - self.declared.keys())

    def changed(self, fields: Sequence[Field]) -> Props:
        """The declared values that differ from what was declared before."""
        return {
            f.name: self.declared[f.name]
            for f in fields
            if f.name in self.declared
            and not (
                f.name in self.before
                and f.kind.same(self.declared[f.name], self.before[f.name], self.before[f.name])
            )
        }


class ResourceType(ABC, Generic[SessionT]):
    """Behaviour of one type token. Stateless: all state is in the session and the arguments."""

    token: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    auto_name: ClassVar[str | None] = None
    """The field that takes the resource's own name when it is not declared."""
    interrupted: Callable[[], bool] = staticmethod(lambda: False)
    """Whether the engine was interrupted: what waits for something to become ready ends then. Set by the
    provider that serves the type."""
    seeded: ClassVar[bool] = False
    """People edit it: adopted as found, and changed later only where the declaration itself changes."""

    @abstractmethod
    def create(self, session: SessionT, inputs: Props) -> State:
        """Make it, or adopt what already has its natural key. Raises LabError."""

    @abstractmethod
    def read(self, session: SessionT, ident: str, inputs: Props, recorded: Props) -> State | None:
        """It as it is now, or None when it is gone. With no recorded state ``ident`` is an import id."""

    @abstractmethod
    def update(self, session: SessionT, update: Update) -> State:
        """Bring the changed fields to the declaration. Raises LabError."""

    @abstractmethod
    def delete(self, session: SessionT, ident: str, recorded: Props) -> None:
        """Remove it; already gone is fine. ``recorded`` are outputs under inputs. Raises LabError."""

    def validate(self, inputs: Props) -> Mapping[str, str]:
        """Reasons, by field, why these checked inputs can't work together."""
        return {}

    # What follows is the same for all types.

    def by_name(self) -> dict[str, Field]:
        """The fields by wire name."""
        return {f.name: f for f in self.fields}

    def check(self, news: Props, resource_name: str) -> tuple[Props, dict[str, str]]:
        """Canonical inputs, and failures by property."""
        known = self.by_name()
        inputs: Props = {}
        failures: dict[str, str] = {}
        if self.auto_name and self.auto_name not in news:
            news = {**news, self.auto_name: resource_name}
        for name, value in news.items():
            declared = known.get(name)
            if name in ("__defaults", "version", "pluginDownloadURL"):
                continue
            if declared is None or declared.output:
                permitted = ", ".join(sorted(f.name for f in self.fields if not f.output))
                failures[name] = f"{self.token} has no input {name!r} here; permitted: {permitted}"
                continue
            try:
                inputs[name] = value if isinstance(value, Unknown) else declared.kind.check(value)
            except ValueError as problem:
                failures[name] = f"given a {type(value).__name__}; permitted: {problem}"
                continue
            if declared.choices and not has_unknown(value) and value not in declared.choices:
                failures[name] = f"given {value!r}; permitted: {', '.join(declared.choices)}"
        for f in self.fields:
            if f.required and f.name not in news:
                failures[f.name] = f"required by {self.token} and not given"
        if not failures:
            failures.update(self.validate(inputs))
        return inputs, failures

    def diff(self, before: Props, recorded: Props, declared: Props) -> Changes:
        """What ``declared`` changes against the recorded outputs (seeded types: against ``before``)."""
        paths: dict[str, Change] = {}
        names: set[str] = set()
        replaces: set[str] = set()
        for f in self.fields:
            if f.output or (f.create_only and not f.replace):
                continue
            actual = before.get(f.name) if self.seeded else recorded.get(f.name, before.get(f.name))
            previous = before.get(f.name)
            if f.name in declared:
                if f.kind.same(declared[f.name], actual, previous):
                    continue
                how = "updated" if actual is not None else "added"
            elif f.name in before and not self._settled(f, actual):
                how = "deleted"
            else:
                continue
            by_declaration = declared.get(f.name) != previous
            change = Change(how=how, replace=f.replace, by_declaration=by_declaration)
            names.add(f.name)
            if f.replace:
                replaces.add(f.name)
            paths.update(_paths(f, change, declared.get(f.name), actual, previous))
        keys = [f for f in self.fields if f.key]
        same_key = all(
            f.kind.same(declared.get(f.name, recorded.get(f.name)), recorded.get(f.name)) for f in keys
        )
        return Changes(
            paths=paths,
            names=frozenset(names),
            replaces=frozenset(replaces),
            delete_first=bool(replaces and keys) and same_key,
        )

    def _settled(self, f: Field, actual: Any) -> bool:
        """Whether a field that is no longer declared already has the value that then holds."""
        if f.default is KEEP:
            return not f.kind.is_map or not actual
        return f.kind.same(f.default, actual)

    def preview(self, declared: Props, recorded: Props, changed: Collection[str]) -> Props:
        """Outputs as far as they are known before the operation runs."""
        outputs: Props = {}
        for f in self.fields:
            if f.name in declared:
                outputs[f.name] = declared[f.name]
            elif f.name in recorded and f.name not in changed:
                outputs[f.name] = recorded[f.name]
            elif f.output or f.default is KEEP:
                outputs[f.name] = UNKNOWN if f.output else None
            else:
                outputs[f.name] = f.default
        return outputs

    def refreshed_inputs(self, inputs: Props, outputs: Props) -> Props:
        """Inputs that describe ``outputs``: of the declared names, or of all when nothing was declared."""
        if inputs:
            if self.seeded:
                return dict(inputs)
            known = self.by_name()
            return {
                name: value
                if name not in known or outputs.get(name) is None or known[name].create_only
                else _owned(known[name], value, outputs[name])
                for name, value in inputs.items()
            }
        return {
            f.name: outputs[f.name]
            for f in self.fields
            if not f.output
            and outputs.get(f.name) not in (None, "", [], {})
            and (f.required or f.default is KEEP or outputs[f.name] != f.default)
        }


def _paths(f: Field, change: Change, declared: Any, actual: Any, previous: Any) -> dict[str, Change]:
    """The property paths of a change: the entries of a map, or the field itself."""
    if not f.kind.is_map or has_unknown(declared) or not isinstance(actual, Mapping):
        return {f.name: change}
    wanted, found = declared or {}, actual
    paths: dict[str, Change] = {}
    for key in sorted(wanted.keys() | ((previous or {}).keys() & found.keys())):
        if key not in wanted:
            how = "deleted"
        elif key not in found:
            how = "added"
        elif not f.kind.same({key: wanted[key]}, {key: found[key]}):
            how = "updated"
        else:
            continue
        path = f"{f.name}.{key}" if key.isidentifier() else f'{f.name}["{key}"]'
        paths[path] = Change(how=how, replace=change.replace, by_declaration=change.by_declaration)
    return paths or {f.name: change}


def _owned(f: Field, declared: Any, actual: Any) -> Any:
    """``actual`` as an input: of maps and part sets only what is declared, never what others added."""
    shown = f.kind.shown(declared, actual)
    if f.kind.is_map and isinstance(declared, Mapping):
        return {key: inner for key, inner in shown.items() if key in declared}
    if f.kind.is_part and isinstance(declared, list):
        return [item for item in declared if item in shown]
    return shown


def import_parts(token: str, ident: str, form: str) -> list[str]:
    """The parts of an import id of the given ``form``. Raises LabError when they don't match."""
    parts = ident.split("/")
    if len(parts) != len(form.split("/")) or not all(parts):
        raise LabError(f"{ident!r} is no id to import {token} by", value=ident, permitted=form)
    return parts
