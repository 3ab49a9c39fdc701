"""Which recorded platform this machine is."""

from __future__ import annotations

import platform
import sys
import sysconfig

from contracts.errors import PreflightError
from contracts.versions import HostPlatform

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def host_platform() -> HostPlatform:
    """The platform whose binaries run here.

    Raises:
        PreflightError: no binaries are recorded for this operating system, processor or C library.
    """
    system = "linux" if sys.platform.startswith("linux") else sys.platform
    machine = _MACHINES.get(platform.machine().lower(), platform.machine())
    name = f"{system}-{machine}"
    permitted = ", ".join(HostPlatform)
    if name not in set(HostPlatform):
        raise PreflightError(
            "the local placement has no binaries for this operating system and processor",
            value=name,
            permitted=permitted,
            next_command="lab up --set placement=kubernetes",
        )
    if "musl" in str(sysconfig.get_config_var("SOABI") or ""):
        raise PreflightError(
            "the local placement's binaries need the GNU C library; this Python was built for musl",
            value=f"{name}-musl",
            permitted=f"{permitted} with the GNU C library",
            next_command="lab up --set placement=kubernetes",
        )
    return HostPlatform(name)
