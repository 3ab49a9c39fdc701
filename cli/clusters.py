"""What a lab on a cluster needs before the engine is started: said at once, not after minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from cli.project import Lab, read_config, set_config, settings
from cli.session import Session
from components.registry import ComponentInfo
from contracts.errors import PreflightError, UsageError
from contracts.setting_values import lab_names
from contracts.settings import NAMESPACE, SETTINGS, Role
from contracts.slots import data_namespace

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
    from placements.kubernetes.cluster import (
        DATA_RIGHTS,
        LAB_RIGHTS,
        PERSISTENT_RIGHTS,
        check_cluster,
        cluster_of,
    )
    from placements.kubernetes.images import image_references, require_images

    lab = session.lab
    own = settings(lab, Role.LAB, session.environ)
    if not lab.owner:
        require_data(lab)
    file = own.values["imagesFile"]
    require_images(
        [info.image for info in chosen], image_references(Path(file).expanduser() if file else None)
    )
    cluster = cluster_of(own, session.environ)
    expected = str(own.values["clusterId"])
    if keeps_inside(lab):
        beside = replace(cluster, namespace=data_namespace(cluster.namespace))
        check_cluster(beside, expected_id=expected, rights=DATA_RIGHTS)
        require_own_namespace(beside, lab=own.name, stack=Role.PERSISTENT.value)
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


def keeps_inside(lab: Lab) -> bool:
    """Whether the lab keeps its data in services inside its cluster."""
    return read_config(lab, Role.PERSISTENT).get("dataServices") == "inside"


def require_data(lab: Lab) -> None:
    """What the persistent stack needs to know of database and store, whichever they are.

    Raises:
        UsageError: servers that are not named, or that would not be used.
        PreflightError: an image of the data services has no digest.
    """
    if not keeps_inside(lab):
        require_servers(lab)
        return
    from placements.kubernetes.images import image_references, require_images
    from placements.kubernetes.inside import IMAGES, refuse_given, refuse_shared

    config = read_config(lab, Role.PERSISTENT)
    refuse_given([key for key in LATER if _written(lab).get(f"{NAMESPACE}:{key}")])
    refuse_shared(lab_names(config.get("moreLabs", "")))
    file = config.get("imagesFile")
    require_images(IMAGES, image_references(Path(file).expanduser() if file else None))


def refuse_protected_data(lab: Lab) -> None:
    """Raises PreflightError while the data services on the lab's cluster are protected."""
    if read_config(lab, Role.PERSISTENT).get("dataProtect", "true") != "false":
        raise PreflightError(
            f"what lab {lab.name!r} keeps on its cluster is protected",
            value="dataProtect: true",
            permitted="dataProtect: false, applied",
            next_command="lab bootstrap --set dataProtect=false, then lab destroy",
        )


def refuse_moving(session: Session, changes: Mapping[str, str]) -> None:
    """Raises UsageError where what is kept would be looked for elsewhere than it is; nothing was changed."""
    from cli.steps import persistent_digest

    lab = session.lab
    if "dataServices" not in changes or not lab.exists or persistent_digest(lab) is None:
        return
    made = "inside" if keeps_inside(lab) else "external"
    if changes["dataServices"] != made:
        raise UsageError(
            f"what lab {lab.name!r} keeps is in data services that are {made}, and does not move by itself",
            value=f"dataServices: {changes['dataServices']}",
            permitted=made,
            next_command=f"lab --name OTHER up --set dataServices={changes['dataServices']}, another lab",
        )


def _written(lab: Lab) -> Mapping[str, object]:
    """The persistent stack's config as it is written, encrypted values among it."""
    document = yaml.safe_load(lab.stack_file(Role.PERSISTENT).read_text(encoding="utf-8")) or {}
    found: Mapping[str, object] = document.get("config") or {}
    return found


def require_servers(lab: Lab) -> None:
    """Raises UsageError unless the persistent stack's file names database and store, encrypted or not."""
    given = _written(lab)
    absent = [key for key in LATER if not given.get(f"{NAMESPACE}:{key}")]
    if absent:
        secret = {setting.key for setting in SETTINGS if setting.secret}
        first = absent[0]
        option = "--secret " if first in secret else ""
        example = next(setting.example for setting in SETTINGS if setting.key == first)
        raise UsageError(
            "a lab on a cluster keeps its data in a PostgreSQL and an S3 store of yours, which are not named",
            value=f"not set: {', '.join(absent)}",
            permitted=f"{first} such as {example}; or dataServices=inside, which runs both in the cluster",
            next_command='eval "$(lab env)" && pulumi stack select --create persistent && '
            f"pulumi config set {option}{first}; or lab bootstrap --set dataServices=inside",
        )
