"""The sample tables as a Pulumi resource (DESIGN §8).

Dynamic providers are pickled into the state; a class in an importable module without instance
attributes is pickled as a reference, so neither code nor a secret gets in. That means a change of
code shows in no pickle: the ``digest`` input tells of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

if TYPE_CHECKING:
    from seed.model import SeedReport

# What converging takes (pyiceberg, pyarrow, httpx: two seconds of imports) is imported by it alone: most
# runs of the engine only compare inputs.

_ROOM = Path(__file__).parent
_READING = _ROOM.parent / "ingestion"


class ConvergingProvider(ResourceProvider):
    """What all seeds have in common: ``create`` and ``update`` both converge, ``delete`` keeps what was
    written, and only a changed input brings an update, never a replacement."""

    # Where nothing is secret the state stays half as large.
    serialize_as_secret_always = False

    def converge(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Makes the world as ``inputs`` say; returns what was verified, merged into the outputs."""
        raise NotImplementedError

    def create(self, props: dict[str, Any]) -> CreateResult:
        outs = {**_plain(props), **self.converge(props)}
        return CreateResult(id_=str(props["name"]), outs=outs)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        changed = any(_olds.get(key) != value for key, value in _plain(_news).items())
        return DiffResult(changes=changed, replaces=[], delete_before_replace=False)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs={**_plain(_news), **self.converge(_news)})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything: what was seeded is data now. ``lab destroy`` removes it for good."""


class TablesProvider(ConvergingProvider):
    """Seeds the sample tables, and ends once grants on those that it wrote are in force."""

    def converge(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        from seed.connection import Connection
        from seed.model import SeedOptions
        from seed.settling import settle_catalog
        from seed.tables import seed_tables

        connection = Connection.from_inputs(inputs["connection"])
        report = seed_tables(
            connection,
            SeedOptions(scale_factor=float(inputs["scale_factor"])),
            what=[str(name) for name in inputs["what"]],
        )
        if report.changed and connection.governor_url:
            settle_catalog(connection)
        return table_outputs(report)


class Tables(Resource, module="lab", name="Tables"):
    """The sample tables of one lab.

    Outputs: ``rows`` (table → verified rows), ``snapshot_ids`` (table → id as text) and ``notices``
    (what was left as people changed it).
    """

    rows: pulumi.Output[dict[str, int]]
    snapshot_ids: pulumi.Output[dict[str, str]]
    notices: pulumi.Output[list[str]]

    def __init__(
        self,
        name: str,
        *,
        connection: pulumi.Input[Mapping[str, Any]],
        scale_factor: float,
        what: Sequence[str] = ("all",),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``connection`` has the keys of :class:`seed.connection.Connection`; its secret ones stay
        secret in the state."""
        super().__init__(
            TablesProvider(),
            name,
            {
                "name": name,
                "digest": tables_digest(scale_factor, what),
                "connection": pulumi.Output.secret(connection),
                "scale_factor": scale_factor,
                "what": list(what),
                "rows": None,
                "snapshot_ids": None,
                "notices": None,
            },
            keep_secret(opts),
        )


def tables_digest(scale_factor: float, what: Sequence[str]) -> str:
    """Of the code and files that sample tables are made from, and the options: an equal one means that
    nothing would be written. After another one, the tables' own digests decide what is."""
    options = json.dumps([scale_factor, list(what)])
    return hashlib.sha256(f"{_content_digest()} {options}".encode()).hexdigest()


@cache
def _content_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([*_ROOM.glob("*.py"), *_READING.glob("*.py"), *(_ROOM / "data").iterdir()]):
        digest.update(f"{path.parent.name}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def table_outputs(report: SeedReport) -> dict[str, Any]:
    """A report as resource outputs; ids as text, since Pulumi's numbers are floating point."""
    return {
        "rows": {name: result.rows for name, result in report.tables.items()},
        "snapshot_ids": {name: str(result.snapshot_id) for name, result in report.tables.items()},
        "notices": list(report.notices),
    }


def keep_secret(opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    """Adds that ``connection``, which dynamic providers hand back in clear, is a secret output."""
    secret = pulumi.ResourceOptions(additional_secret_outputs=["connection"])
    return pulumi.ResourceOptions.merge(opts, secret)


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs proper: without the places of outputs and the pickled provider."""
    return {key: value for key, value in inputs.items() if value is not None and not key.startswith("__")}
