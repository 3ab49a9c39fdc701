"""Which procedures a catalog bears.

Polaris keeps a table's whole metadata: every snapshot, branch and tag is in it, so that the engine knows
which files are needed. Nessie keeps history in its own commits: the metadata it hands out names one snapshot,
that of the branch asked, so that the files of every other commit, branch and tag look like nobody's
(https://projectnessie.org/nessie-latest/gc/).
"""

from __future__ import annotations

from collections.abc import Mapping

from governance.maintenance.planning import Procedure

_NESSIE = (
    "Nessie keeps history in its own commits; what other commits, branches and tags need looks unused to the "
    "engine, so only Nessie's own collector may remove files"
)

UNSAFE: Mapping[str, Mapping[Procedure, str]] = {
    "polaris": {},
    "nessie": {Procedure.EXPIRE_SNAPSHOTS: _NESSIE, Procedure.REMOVE_ORPHAN_FILES: _NESSIE},
}
"""Catalog's kind → procedures that are never run on it, and why."""


def unsafe(kind: str) -> Mapping[Procedure, str]:
    """What is never run on this catalog; on one that is not known, whatever removes files."""
    return UNSAFE.get(kind, UNSAFE["nessie"])


def borne(kind: str) -> frozenset[str]:
    """Names of the procedures that this catalog bears."""
    return frozenset(one.value for one in Procedure if one not in unsafe(kind))
