"""What a lab on a cluster needs before the engine is started: said at once, not after minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from cli.project import Lab, set_config, settings
from cli.session import Session
from components.registry import ComponentInfo
from contracts.errors import PreflightError, UsageError
from contracts.settings import NAMESPACE, SETTINGS, Role

LATER = ("databaseUrl", "objectStoreUrl", "objectStoreKeys")
"""Settings that nothing can be guessed for."""


def check_cluster_lab(session: Session, chosen: Sequence[ComponentInfo]) -> str:
    """The UID of the lab's cluster, once settings, images, cluster and rights are as they have to be.

    Raises:
        UsageError: a setting is missing or an image reference is not usable.
        PreflightError: an image has no digest, kubectl or kubeconfig is missing, the cluster is away, another
            one, or grants too little, or a namespace is another lab's.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.kubernetes.apart import check_apart, require_own_namespace
    from placements.kubernetes.cluster import LAB_RIGHTS, PERSISTENT_RIGHTS, check_cluster, cluster_of
    from placements.kubernetes.images import image_references, require_images

    lab = session.lab
    own = settings(lab, Role.LAB, session.environ)
    if not lab.owner:
        require_servers(lab)
    file = own.values["imagesFile"]
    require_images(
        [info.image for info in chosen], image_references(Path(file).expanduser() if file else None)
    )
    cluster = cluster_of(own, session.environ)
    expected = str(own.values["clusterId"])
    rights = LAB_RIGHTS if lab.owner else (*PERSISTENT_RIGHTS, *LAB_RIGHTS)
    found = check_cluster(cluster, expected_id=expected, rights=rights)
    if not lab.owner:
        require_own_namespace(cluster, lab=own.name, stack=Role.PERSISTENT.value)
    if any(info.pods_per_user for info in chosen):
        check_apart(cluster, lab=own.name)
    return found


def remember_cluster(lab: Lab, cluster_id: str) -> None:
    """Keeps the cluster's UID, so that no other cluster is taken for it later."""
    for role in lab.own_roles:
        set_config(lab, role, "clusterId", cluster_id)


def left_behind(session: Session) -> tuple[str, ...]:
    """What of the lab stack is still on its cluster, though it was destroyed; waits for what is being
    deleted. One line, which says so, when the cluster can't be asked."""
    from placements.kubernetes.apart import beside_of
    from placements.kubernetes.cluster import cluster_of
    from placements.kubernetes.leftovers import leftovers

    own = settings(session.lab, Role.LAB, session.environ)
    try:
        cluster = cluster_of(own, session.environ)
        found = [
            one
            for place in (cluster, beside_of(cluster))
            for one in leftovers(place, lab=own.name, stack=Role.LAB.value)
        ]
    except PreflightError as error:
        return (f"whether anything is left is not known: {error.what}",)
    return tuple(str(one) for one in found)


def require_servers(lab: Lab) -> None:
    """Raises UsageError unless the persistent stack's file names database and store, encrypted or not."""
    document = yaml.safe_load(lab.stack_file(Role.PERSISTENT).read_text(encoding="utf-8")) or {}
    given = document.get("config") or {}
    absent = [key for key in LATER if not given.get(f"{NAMESPACE}:{key}")]
    if absent:
        secret = {setting.key for setting in SETTINGS if setting.secret}
        first = absent[0]
        option = "--secret " if first in secret else ""
        example = next(setting.example for setting in SETTINGS if setting.key == first)
        raise UsageError(
            "a lab on a cluster keeps its data in a PostgreSQL and an S3 store of yours, which are not named",
            value=f"not set: {', '.join(absent)}",
            permitted=f"{first} such as {example}",
            next_command='eval "$(lab env)" && pulumi stack select --create persistent && '
            f"pulumi config set {option}{first}",
        )
