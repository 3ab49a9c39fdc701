"""Doing again what a tunnel to a pod may have broken off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from contracts.errors import LabError

_PAUSE_S = 1.0


def patiently(
    converge: Callable[[Mapping[str, Any]], None],
    props: Mapping[str, Any],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Converges, again and again for ``patience_s`` of the resource's inputs (none: once). ``kubectl
    port-forward`` ends with the first connection that ends badly, and is started again by the supervisor.

    Raises:
        LabError: that of the last time.
    """
    end = clock() + float(props.get("patience_s") or 0)
    while True:
        try:
            return converge(props)
        except LabError:
            if clock() >= end:
                raise
        sleep(_PAUSE_S)
