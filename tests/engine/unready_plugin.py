"""A provider whose one resource is made at once and is ready when its folder holds the file ``ready``."""

from __future__ import annotations

from pathlib import Path

from plugins.base import Provider
from plugins.resource import Field, ResourceType, State, Update
from plugins.serving import run
from plugins.values import Props


class Thing(ResourceType[None]):
    """Writes down each operation."""

    token = "unready:index:Thing"
    fields = (Field(name="folder", required=True), Field(name="secret", secret=True))

    def create(self, session: None, inputs: Props) -> State:
        return self._done("create", inputs)

    def read(self, session: None, ident: str, inputs: Props, recorded: Props) -> State | None:
        return State(id=ident, outputs=recorded)

    def update(self, session: None, update: Update) -> State:
        return self._done("update", update.declared)

    def delete(self, session: None, ident: str, recorded: Props) -> None:
        self._done("delete", recorded)

    def _done(self, operation: str, inputs: Props) -> State:
        folder = Path(inputs["folder"])
        with (folder / "done").open("a", encoding="utf-8") as done:
            done.write(f"{operation}\n")
        why = "" if (folder / "ready").exists() else "the thing did not become ready: no room"
        return State(id="thing-1", outputs=inputs, unready=why)


class UnreadyProvider(Provider[None]):
    """Serves it."""

    name = "unready"

    def connect(self, config: Props) -> None:
        """Nothing to connect to."""


if __name__ == "__main__":
    run(UnreadyProvider("1.0.0", [Thing()]))
