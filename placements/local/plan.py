"""From a workload with everything resolved to a service of the supervisor: pure functions."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import LabError
from contracts.workload import Layout, Probe, Scheme, Workload
from placements.local.supervisor import ProbeSpec, ServiceSpec

CA_FILE = "ca.pem"
"""A generated file of this name holds the authority that the service's own certificate comes from."""

_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE|CREDENTIAL")
_SECRET_MIN_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The values of a workload that were Inputs."""

    command: Sequence[str]
    env: Mapping[str, str]
    files: Mapping[str, str]


def workload_to_spec(
    workload: Workload, layout: Layout, resolved: Resolved, *, source_digest: str = ""
) -> ServiceSpec:
    """The service that realises ``workload``. ``source_digest`` stands for code that is not part of the
    plan's text: another digest is another plan.

    Raises:
        LabError: a secret in the command line, or a probe of a port that the workload does not have.
    """
    refuse_secret_arguments(workload.name, resolved.command, resolved.env)
    retained = any(volume.retained for volume in workload.volumes)
    discard = (
        tuple(str(layout.data_dir / volume.name) for volume in workload.volumes if not volume.retained)
        if retained
        else (str(layout.data_dir),)
    )
    return with_plan_hash(
        ServiceSpec(
            name=workload.name,
            argv=tuple(resolved.command),
            plan_hash="",
            env=dict(resolved.env),
            files=dict(resolved.files),
            files_dir=str(layout.files_dir),
            scratch_dir=str(layout.scratch_dir),
            shared_dirs=(str(layout.cache_dir),),
            data_dir=str(layout.data_dir),
            ports={port.name: port.number for port in workload.ports},
            probe=_probe(workload, workload.readiness, layout),
            depends_on=tuple(workload.depends_on),
            unprivileged=workload.unprivileged,
            stop_timeout_s=workload.stop_timeout_s,
            memory_mib=workload.memory_mib,
            discard=discard,
        ),
        source_digest,
    )


def with_plan_hash(spec: ServiceSpec, source_digest: str = "") -> ServiceSpec:
    """The same service with the hash of all that, when changed, means a restart."""
    text = dataclasses.replace(spec, plan_hash="").to_json() + source_digest
    return dataclasses.replace(spec, plan_hash=hashlib.sha256(text.encode()).hexdigest()[:32])


def refuse_secret_arguments(service: str, command: Sequence[str], env: Mapping[str, str]) -> None:
    """Raises LabError when an argument holds a value that the environment calls a secret: command lines
    are open to every user of the machine."""
    for name, value in env.items():
        if not _SECRET_NAME.search(name.upper()) or value.startswith("/") or len(value) < _SECRET_MIN_LENGTH:
            continue
        for number, argument in enumerate(command):
            if value in argument:
                raise LabError(
                    f"{service}: argument {number} of its command holds the secret of {name}",
                    permitted="secrets in the environment or in a generated file",
                )


def source_digest(source_dir: Path, rooms: Sequence[str]) -> str:
    """A digest of the checkout's own code and data in ``rooms``, for services that run it."""
    digest = hashlib.sha256()
    for room in sorted(rooms):
        for path in sorted((source_dir / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(source_dir).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _probe(workload: Workload, probe: Probe, layout: Layout) -> ProbeSpec:
    port = next((port for port in workload.ports if port.name == probe.port), None)
    if port is None:
        raise LabError(
            f"the readiness probe of {workload.name} names a port it does not have",
            value=probe.port,
            permitted=", ".join(port.name for port in workload.ports),
        )
    return ProbeSpec(
        port=port.number,
        tls=port.scheme is Scheme.HTTPS,
        host=layout.bind_address,
        path=probe.path,
        statuses=probe.statuses,
        body_contains=probe.body_contains,
        postgresql=probe.postgresql,
        timeout_s=probe.timeout_s,
        period_s=probe.period_s,
        ca_file=layout.file(CA_FILE) if CA_FILE in workload.files else None,
    )
