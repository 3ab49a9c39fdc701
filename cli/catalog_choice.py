"""Which Iceberg catalog a new lab gets; decided once, before its persistent stack is made (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import UsageError
from contracts.versions import POLARIS, UrlDistribution
from placements.local.software import check_given


@dataclass(frozen=True, kw_only=True)
class CatalogChoice:
    """``notice`` is what the user is told; empty when there is nothing to say. ``polaris_home`` is the
    folder in which the user has the chosen catalog unpacked."""

    kind: str
    notice: str = ""
    polaris_home: Path | None = None


def choose_catalog(
    asked: str | None,
    *,
    pinned: str | None,
    polaris_home: Path | None,
    reachable: Callable[[UrlDistribution], bool],
    distribution: UrlDistribution = POLARIS,
    environ: Mapping[str, str] | None = None,
) -> CatalogChoice:
    """The catalog of this lab.

    Args:
        asked: what the user named, or None.
        pinned: what the persistent stack holds, None before it is made.
        polaris_home: a folder with Polaris' official distributions, which the user names or named.
        reachable: whether an official distribution can be fetched and verified now.
        environ: the process environment; another one in tests.

    Raises:
        UsageError: another one than the pinned is asked for, the folder does not hold Polaris, or Polaris
            can't be had.
    """
    if pinned is not None and asked not in (None, pinned):
        raise UsageError(
            f"this lab's catalog is {pinned}; its tables are not in {asked}",
            value=asked,
            permitted=pinned,
            next_command=f"lab --name OTHER up --catalog {asked}",
        )
    if "nessie" in (pinned, asked):
        return CatalogChoice(kind="nessie")
    if polaris_home:
        check_given("polaris", polaris_home, environ)
        return CatalogChoice(kind="polaris", polaris_home=polaris_home)
    if pinned is not None:
        return CatalogChoice(kind=pinned)
    if reachable(distribution):
        return CatalogChoice(kind="polaris")
    why = (
        "no checksum is recorded for it"
        if distribution.sha512 is None
        else "its download host does not answer"
    )
    if asked == "polaris":
        raise UsageError(
            f"Polaris {distribution.version} can't be had: {why}",
            value=distribution.url,
            permitted="LAB_POLARIS_HOME=FOLDER with its official distribution, or --catalog nessie",
            next_command="lab up --catalog nessie",
        )
    return CatalogChoice(
        kind="nessie",
        notice=f"catalog: Nessie, since Polaris {distribution.version} can't be had ({why}); "
        "pinned for this lab",
    )
