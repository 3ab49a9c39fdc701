"""The random provider. It has no configuration and reaches nothing."""

from __future__ import annotations

from importlib.metadata import version

from plugins.base import Provider
from plugins.random.types import TYPES
from plugins.values import Props


class RandomProvider(Provider[None]):
    """Serves the random types; what it makes lives in state alone."""

    name = "random"

    def __init__(self) -> None:
        super().__init__(version("pulumi_random"), [kind() for kind in TYPES])

    def connect(self, config: Props) -> None:
        """There is nothing to connect to."""
