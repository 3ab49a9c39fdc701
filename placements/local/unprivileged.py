"""Where a service lies that must not run as root, on a lab that root runs.

Such a service runs as ``nobody``, who must be able to pass through every folder above its program, its
files and its data. A home below a folder that only root may enter (``/root``) does not allow that, and
the lab must not open somebody's home folder. Capabilities that would help (CAP_DAC_READ_SEARCH, bind
mounts by CAP_SYS_ADMIN) are missing in ordinary containers. So its folders lie in
``<home>/unprivileged/<service>`` where every user may pass through to the home, else in
``/var/lib/lakehouse-lab/<digest of the home>/<service>``; the folder on the way is passable and not
listable (0711), the service's own folders are its user's alone (0700). A program that can't be reached is
copied next to them, by hard links where possible.

An ordinary user's lab needs none of this: everything lies in its home.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from placements.local.supervisor.paths import remove_tree
from placements.local.supervisor.prepare import first_unreachable

SYSTEM_ROOT = Path("/var/lib/lakehouse-lab")
_NOBODY = -1
"""No file belongs to this user, so that only what everybody may do counts."""


def unprivileged_root(home: Path, system_root: Path | None = None) -> Path:
    """The folder of all unprivileged services of the lab at ``home``, when root runs it. Once one of
    the two is there it stays the one, whatever happens to the folders above."""
    inside = home / "unprivileged"
    digest = hashlib.sha256(str(home.absolute()).encode()).hexdigest()[:16]
    outside = (system_root or SYSTEM_ROOT) / digest
    if outside.exists() and not inside.exists():
        return outside
    if inside.exists() or first_unreachable(inside / "any", _NOBODY) is None:
        return inside
    return outside


def reachable_artifact(artifact: Path, home: Path, system_root: Path | None = None) -> Path:
    """Where every user can reach ``artifact``: itself, or the copy that the supervisor makes."""
    if first_unreachable(artifact / "any", _NOBODY) is None:
        return artifact
    return unprivileged_root(home, system_root) / "programs" / f"{artifact.parent.name}-{artifact.name}"


def remove_unprivileged(home: Path, system_root: Path | None = None) -> None:
    """Deletes what lies outside the home for it: part of removing a lab for good."""
    if os.geteuid() == 0:
        remove_tree(unprivileged_root(home, system_root))
