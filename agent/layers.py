"""The semantic layer as it is now: the built-in models and those that people registered."""

from __future__ import annotations

import threading

from agent.semantic.layer import SemanticLayer, built_in_models, layer_of, read_model
from agent.semantic.model import SemanticModel
from agent.store import Store
from agent.values import ModelInfo
from contracts.errors import UsageError
from governance.governor.auth import ForbiddenError

REGISTRARS = frozenset({"lab_admins", "data_engineers", "data_stewards"})
"""Groups whose members may say what words mean for everybody. It widens nobody's rights: what a model leads
to is a query with the asking user's own."""


class Layers:
    """Reads registered models from the database at each question; parses what changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._made: tuple[dict[str, tuple[str, str]], SemanticLayer, dict[str, str]] | None = None

    def current(self) -> SemanticLayer:
        """The layer. A registered model that does not fit any more is left out."""
        return self._current()[0]

    def _current(self) -> tuple[SemanticLayer, dict[str, str]]:
        registered = self._store.models()
        with self._guard:
            if self._made is None or self._made[0] != registered:
                layer, problems = _assembled(registered)
                self._made = (registered, layer, problems)
            return self._made[1], self._made[2]

    def models(self) -> tuple[ModelInfo, ...]:
        """All of them, with what is wrong with one that is left out."""
        layer, problems = self._current()
        registered = self._store.models()
        found = [
            _info(model, registered.get(name, ("", None))[1], None) for name, model in layer.models.items()
        ]
        left_out = [
            ModelInfo(name=name, description="", tables=(), registered_by=registered[name][1], problem=why)
            for name, why in problems.items()
        ]
        return (*found, *left_out)

    def text(self, name: str) -> str:
        """A registered model's YAML. Raises UsageError."""
        found = self._store.models().get(name)
        if found is None:
            raise UsageError("there is no such registered model", value=name)
        return found[0]

    def register(self, username: str, groups: frozenset[str], text: str) -> ModelInfo:
        """Registers a model, in the place of one of the same name.

        Raises:
            ForbiddenError: not a member of :data:`REGISTRARS`.
            UsageError: it is no model, has a built-in one's name, or does not fit the others.
        """
        _require(username, groups)
        model = read_model(text, where="the model")
        if model.name in {built_in.name for built_in in built_in_models()}:
            raise UsageError("a built-in model has this name", value=model.name, permitted="another name")
        others = [
            read_model(other, where=name)
            for name, (other, _) in self._store.models().items()
            if name != model.name and name not in self._current()[1]
        ]
        layer_of([*others, model])
        self._store.put_model(model.name, text, username)
        return _info(model, username, None)

    def remove(self, username: str, groups: frozenset[str], name: str) -> None:
        """Raises ForbiddenError, NotFoundError."""
        _require(username, groups)
        self._store.remove_model(name)


def _assembled(registered: dict[str, tuple[str, str]]) -> tuple[SemanticLayer, dict[str, str]]:
    """The layer of as many models as fit together; those that need another one come after it."""
    models: list[SemanticModel] = []
    problems: dict[str, str] = {}
    waiting = list(registered)
    while waiting:
        left = []
        for name in waiting:
            try:
                model = read_model(registered[name][0], where=name)
                layer_of([*models, model])
            except UsageError as error:
                problems[name] = error.what
                left.append(name)
            else:
                models.append(model)
                problems.pop(name, None)
        if len(left) == len(waiting):
            break
        waiting = left
    return layer_of(models), problems


def _require(username: str, groups: frozenset[str]) -> None:
    if not groups & REGISTRARS:
        raise ForbiddenError(
            f"{username!r} may not change the semantic layer",
            value=", ".join(sorted(groups)),
            permitted=f"members of {', '.join(sorted(REGISTRARS))}",
        )


def _info(model: SemanticModel, registered_by: str | None, problem: str | None) -> ModelInfo:
    return ModelInfo(
        name=model.name,
        description=model.description,
        tables=tuple(dict.fromkeys(table.table for table in model.tables.values())),
        registered_by=registered_by,
        problem=problem,
    )
