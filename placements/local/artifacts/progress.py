"""What a fetch tells whoever draws it. Calls come from several threads."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the events of one or more artifacts, told apart by name.

    ``start`` may come again for a name when its download begins anew; the count then restarts at 0.
    """

    def start(self, name: str, total_bytes: int | None) -> None:
        """A download begins; ``total_bytes`` is None when it can't be known."""

    def advance(self, name: str, count_bytes: int) -> None:
        """``count_bytes`` more have arrived."""

    def step(self, name: str, text: str) -> None:
        """Work other than downloading: what is being done now."""

    def done(self, name: str, seconds: float) -> None:
        """The artifact is installed."""

    def failed(self, name: str, error: BaseException) -> None:
        """The artifact could not be installed; the error is raised as well."""


class SilentProgress:
    """Draws nothing."""

    def start(self, name: str, total_bytes: int | None) -> None:
        """Ignored."""

    def advance(self, name: str, count_bytes: int) -> None:
        """Ignored."""

    def step(self, name: str, text: str) -> None:
        """Ignored."""

    def done(self, name: str, seconds: float) -> None:
        """Ignored."""

    def failed(self, name: str, error: BaseException) -> None:
        """Ignored."""
