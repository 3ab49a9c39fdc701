"""Which loopback port a service of a lab has."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import LabError, unknown_name

PORTS_PER_SERVICE = 4
PORTS_PER_LAB = 200

FOUNDATION_ORDER = ("postgres", "s3")
"""Services of the persistent stack; they have the first ports of a lab's block."""


def service_port(port_base: int, service_order: Sequence[str], service: str, index: int) -> int:
    """The port with number ``index`` of ``service``: fixed by its place in ``service_order``, which only
    grows at its end.

    Raises:
        LabError: an unknown service, or more ports than a service or a lab has.
    """
    order = [*FOUNDATION_ORDER, *(name for name in service_order if name not in FOUNDATION_ORDER)]
    if service not in order:
        raise unknown_name("service", service, order)
    if index >= PORTS_PER_SERVICE:
        raise LabError(
            f"{service} asks for more ports than a service has",
            value=index + 1,
            permitted=f"{PORTS_PER_SERVICE} ports",
        )
    offset = order.index(service) * PORTS_PER_SERVICE + index
    if offset >= PORTS_PER_LAB:
        raise LabError(
            f"{service} is beyond the end of the lab's block of ports",
            value=offset,
            permitted=f"{PORTS_PER_LAB // PORTS_PER_SERVICE} services",
        )
    return port_base + offset
