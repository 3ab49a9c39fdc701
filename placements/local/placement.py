"""The ``local`` placement: workloads as supervised processes on this machine's loopback."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pulumi

from contracts.errors import LabError
from contracts.workload import (
    Capability,
    Deployed,
    Layout,
    Scheme,
    Workload,
    missing_capabilities,
)
from placements.local.plan import Resolved, source_digest, workload_to_spec
from placements.local.ports import FOUNDATION_ORDER, service_port
from placements.local.process import Process
from placements.local.software import (
    PYTHON_ARTIFACT,
    artifact_path,
    check_given,
    given_digest,
    java_of,
    warm_dir,
)
from placements.local.supervisor import ServiceSpec
from placements.local.supervisor.paths import HomePaths
from placements.local.unprivileged import unprivileged_root

BIND_ADDRESS = "127.0.0.1"
SOURCE_DIR = Path(__file__).parents[2]


class LocalPlacement:
    """Implements :class:`contracts.workload.Placement` for the lab at ``home``.

    Args:
        home: the lab's own folder.
        port_base: the first port of its block of 200.
        cache: the per-user artifact cache.
        service_order: all services of the lab in the order that fixes their ports; it only grows at its
            end. The foundation's come before, whether named or not.
        given: folders of artifacts that the user has unpacked, by the artifact's name.
    """

    name = "local"
    capabilities = frozenset(
        {
            Capability.PROCESS,
            Capability.LOOPBACK_TLS,
            Capability.PERSISTENT_VOLUME,
            Capability.BUILD_FROM_SOURCE,
        }
    )

    def __init__(
        self,
        home: Path,
        port_base: int,
        cache: Path,
        service_order: Sequence[str],
        given: Mapping[str, Path] | None = None,
    ) -> None:
        self.home = Path(home).absolute()
        self.port_base = port_base
        self.cache = Path(cache).absolute()
        self.service_order = tuple(service_order)
        self.given = dict(given or {})
        self._ports: dict[str, dict[str, int]] = {}
        self._promised: dict[str, str] = {}
        self._layouts: dict[str, Layout] = {}
        self._processes: dict[str, Process] = {}
        for service in FOUNDATION_ORDER:
            self._number_ports(service, ("tcp",) if service == "postgres" else ("http",))

    def layout(
        self,
        workload: str,
        artifact: str,
        ports: Sequence[str],
        *,
        also: Sequence[str] = (),
        unprivileged: bool = False,
    ) -> Layout:
        """Paths and ports of a workload; fetches and makes nothing. Raises LabError for an unknown
        workload or artifact, too many ports, or a given folder that does not hold its artifact."""
        numbers = self._number_ports(workload, ports)
        base = self.home
        files, data = base / "run" / "services" / workload / "files", base / "data" / workload
        scratch = base / "run" / "scratch" / workload
        if unprivileged and os.geteuid() == 0:
            own = unprivileged_root(self.home) / workload
            files, data, scratch = own / "files", own / "data", own / "scratch"
        artifact_dir = self._artifact_dir(artifact)
        java = next((found for name in (artifact, *also) if (found := java_of(name)) is not None), None)
        layout = Layout(
            artifact_dir=PurePosixPath(artifact_dir),
            files_dir=PurePosixPath(files),
            data_dir=PurePosixPath(data),
            scratch_dir=PurePosixPath(scratch),
            python=sys.executable,
            source_dir=PurePosixPath(SOURCE_DIR),
            cache_dir=PurePosixPath(warm_dir(artifact, artifact_dir, self.cache)),
            java_home=PurePosixPath(artifact_path(java, self.cache, SOURCE_DIR)) if java else None,
            bind_address=BIND_ADDRESS,
            ports=numbers,
            also={name: PurePosixPath(self._artifact_dir(name)) for name in also},
            logs_dir=PurePosixPath(HomePaths(home=self.home).logs),
        )
        self._layouts[workload] = layout
        return layout

    def internal_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """``scheme://127.0.0.1:number``; the same as for the operator, there being one machine."""
        return f"{scheme.value}://{BIND_ADDRESS}:{self._port(workload, port)}"

    def operator_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        return self.internal_url(workload, port, scheme)

    def public_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        return self.internal_url(workload, port, scheme)

    def deploy(self, workload: Workload, opts: Any = None) -> Deployed:
        """Registers a :class:`Process`; it waits for those it depends on in the same program. Raises
        LabError, before anything is registered, when this placement can't realise the workload."""
        missing = missing_capabilities(workload, self.capabilities)
        if missing:
            raise LabError(
                f"{workload.name} needs what placement {self.name!r} does not offer",
                value=", ".join(missing),
                permitted=", ".join(sorted(capability.value for capability in self.capabilities)),
                next_command="pulumi config set placement kubernetes",
            )
        if workload.replicas != 1:
            raise LabError(
                f"{workload.name} asks for several replicas; one machine runs one",
                value=workload.replicas,
                permitted="1",
            )
        layout = self._layouts.get(workload.name)
        if layout is None:
            raise LabError(f"{workload.name} was deployed before its layout was asked for")
        if workload.artifact == PYTHON_ARTIFACT:
            program = _source_digest(workload, str(layout.source_dir))
        else:
            given = self.given.get(workload.artifact)
            program = given_digest(workload.artifact, given) if given else ""

        def to_spec(values: dict[str, Any]) -> ServiceSpec:
            resolved = Resolved(command=values["command"], env=values["env"], files=values["files"])
            return workload_to_spec(workload, layout, resolved, source_digest=program)

        spec = pulumi.Output.all(
            command=list(workload.command), env=dict(workload.env), files=dict(workload.files)
        ).apply(to_spec)
        return self.register(
            workload.name,
            spec,
            depends_on=workload.depends_on,
            artifacts=self._artifacts(workload.artifact, *layout.also),
            schemes={port.name: port.scheme for port in workload.ports},
            opts=opts,
        )

    def register(
        self,
        name: str,
        spec: pulumi.Input[ServiceSpec],
        *,
        depends_on: Sequence[str],
        artifacts: Sequence[str],
        schemes: dict[str, Scheme],
        opts: Any = None,
    ) -> Deployed:
        """Registers a service whose specification is known."""
        before = [self._processes[other] for other in depends_on if other in self._processes]
        process = Process(
            name,
            home=self.home,
            spec=spec,
            artifacts=artifacts,
            cache=self.cache,
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=before)),
        )
        self._processes[name] = process
        urls = {port: self.internal_url(name, port, scheme) for port, scheme in schemes.items()}
        return Deployed(
            internal_urls=urls,
            operator_urls=dict(urls),
            ready=process.plan_hash.apply(lambda _: True),
            resource=process,
        )

    def _artifact_dir(self, artifact: str) -> Path:
        given = self.given.get(artifact)
        if given is None:
            return artifact_path(artifact, self.cache, SOURCE_DIR)
        check_given(artifact, given)
        return given

    def _artifacts(self, *names: str) -> list[str]:
        """What has to be in the cache."""
        wanted = dict.fromkeys([*names, *(java for name in names if (java := java_of(name)) is not None)])
        return [name for name in wanted if name != PYTHON_ARTIFACT and name not in self.given]

    def _number_ports(self, workload: str, ports: Sequence[str]) -> dict[str, int]:
        numbers = {
            port: service_port(self.port_base, self.service_order, workload, index)
            for index, port in enumerate(ports)
        }
        promised = self._promised.get(workload)
        if promised is not None and next(iter(ports), None) != promised:
            raise LabError(
                f"others were given port {promised!r} of {workload} as its first one, and it is not",
                value=list(ports),
                permitted=f"{promised!r} first",
            )
        self._ports[workload] = numbers
        return numbers

    def _port(self, workload: str, port: str) -> int:
        known = self._ports.get(workload)
        if known is None:
            # Asked for before the workload's own layout: taken to be its first port, which is checked then.
            if self._promised.setdefault(workload, port) != port:
                raise LabError(
                    f"the second port of {workload} is not known before its layout is",
                    value=port,
                    permitted=self._promised[workload],
                )
            return service_port(self.port_base, self.service_order, workload, 0)
        if port not in known:
            raise LabError(
                f"{workload} has no port named {port!r}", value=port, permitted=", ".join(sorted(known))
            )
        return known[port]


def _source_digest(workload: Workload, source_dir: str) -> str:
    """Of the code of the checkout that it runs. Raises LabError when it runs some and names none, since
    changes of it would go unnoticed."""
    absent = [folder for folder in workload.source if not (SOURCE_DIR / folder).is_dir()]
    given = [value for value in (*workload.command, *workload.env.values()) if isinstance(value, str)]
    if absent or (not workload.source and any(value.startswith(source_dir) for value in given)):
        raise LabError(
            f"{workload.name} runs code of the checkout and does not say which",
            value=", ".join(absent) or None,
            permitted=f"source=('components/{workload.name}',): folders of the checkout",
        )
    return source_digest(SOURCE_DIR, workload.source)
