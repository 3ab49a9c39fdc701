"""``lab:Process``: one supervised service as a Pulumi resource.

Its properties are plain JSON: ``home`` and ``name`` (the natural key), ``spec`` (a
:class:`~placements.local.supervisor.ServiceSpec` as JSON, secret), ``plan_hash``, ``digest`` (of the code
that realises it), ``artifacts`` and ``cache``. The provider has no attributes and holds no connection: it
may be loaded in any process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from placements.local.software import ensure_artifacts
from placements.local.supervisor import ServiceSpec, ServiceState, ServiceStatus, SupervisorClient

PROCESS_DIGEST = "1"
"""Changes when running services must be applied anew although their plans are the same."""

_KEY = ("home", "name")


class ProcessProvider(ResourceProvider):
    """Converges through the supervisor; create and update return only once the service is ready."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Also asks the supervisor: a service that is not ready with this plan is an update, so that
        ``pulumi up`` heals after a reboot or a kill. Starts nothing."""
        replaces = [key for key in _KEY if olds.get(key) != news.get(key)]
        differs = any(olds.get(key) != news.get(key) for key in ("plan_hash", "digest", "artifacts", "cache"))
        return DiffResult(
            changes=bool(replaces) or differs or not _is_ready(olds),
            replaces=replaces,
            # The new one takes the ports and the data of the old one.
            delete_before_replace=True,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Fetches what is missing, then declares and starts the service; adopts it if it is there."""
        _apply(props)
        return CreateResult(id_=f"{props['home']}#{props['name']}", outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Restarts the service if its plan changed, starts it if it is down."""
        _apply(news)
        return UpdateResult(outs=dict(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """The plan that is declared now; gone when none is. Starts nothing."""
        status = _status(props)
        if status is None:
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs={**props, "plan_hash": status.plan_hash})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Stops and forgets the service; retained data and logs stay."""
        SupervisorClient(Path(props["home"])).remove(str(props["name"]))


def _apply(props: dict[str, Any]) -> None:
    ensure_artifacts([str(name) for name in props.get("artifacts") or ()], Path(props["cache"]))
    SupervisorClient(Path(props["home"])).apply(ServiceSpec.from_json(props["spec"]))


def _status(props: dict[str, Any]) -> ServiceStatus | None:
    return SupervisorClient(Path(props["home"])).status_of(str(props["name"]))


def _is_ready(props: dict[str, Any]) -> bool:
    status = _status(props)
    return (
        status is not None
        and status.state is ServiceState.READY
        and status.plan_hash == props.get("plan_hash")
    )


class Process(Resource, module="lab", name="Process"):
    """A supervised service. ``plan_hash`` is an output that resolves once the service is ready."""

    plan_hash: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        home: Path,
        spec: pulumi.Input[ServiceSpec],
        artifacts: Sequence[str],
        cache: Path,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        resolved = pulumi.Output.from_input(spec)
        super().__init__(
            ProcessProvider(),
            name,
            {
                "home": str(home),
                "name": name,
                "spec": pulumi.Output.secret(resolved.apply(lambda value: value.to_json())),
                # A digest of values that are random and long tells nothing about them.
                "plan_hash": pulumi.Output.unsecret(resolved.apply(lambda value: value.plan_hash)),
                "digest": PROCESS_DIGEST,
                "artifacts": list(artifacts),
                "cache": str(cache),
            },
            pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(
                    additional_secret_outputs=["spec"],
                    custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m", delete="5m"),
                ),
            ),
        )
