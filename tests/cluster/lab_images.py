"""The lab's images, as ``lab images build`` makes them, without a builder and without a registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from contracts.versions import ARTIFACTS, IMAGES, ContainerImage
from placements.kubernetes.building import make_context
from placements.kubernetes.layout import ARTIFACTS_DIR, SCRATCH_DIR, SOURCE_DIR, USER_ID
from placements.local.artifacts import SilentProgress, ensure_all
from tests.cluster import images
from tests.cluster.base import python_layer, system_layer
from tests.cluster.running import TestCluster

ROOT = Path(__file__).parents[2]
REGISTRY = "cluster.test/lab"


def load_images(cluster: TestCluster, names: Iterable[str], cache: Path) -> dict[str, str]:
    """Makes images known to the node; their references by name, each with its digest.

    An artifact is a layer of its own, so that what several images hold is stored once.
    """
    chosen = [IMAGES[name] for name in names]
    wanted = dict.fromkeys(name for image in chosen for name in image.artifacts)
    artifacts = ensure_all([ARTIFACTS[name] for name in wanted], cache, SilentProgress())
    settings = {"User": f"{USER_ID}:{USER_ID}", "WorkingDir": str(SCRATCH_DIR)}
    # Below the cache, so that artifacts are linked and not copied.
    with tempfile.TemporaryDirectory(prefix="cluster-images-", dir=cache) as folder:
        made: dict[str, Path] = {}
        wanted_layers = {
            f"{REGISTRY}/{image.name}@": (_layers(image, Path(folder), cache, artifacts, made), settings)
            for image in chosen
        }
        archive = Path(folder) / "images.tar"
        digests = images.write_images(archive, wanted_layers)
        cluster.load(archive)
    return {image.name: (name := f"{REGISTRY}/{image.name}@") + digests[name] for image in chosen}


def _layers(
    image: ContainerImage, folder: Path, cache: Path, artifacts: dict[str, Path], made: dict[str, Path]
) -> list[Path]:
    """The image's layers, the most common first; ``made`` are those of artifacts by name."""
    context = folder / image.name
    context.mkdir()
    make_context(image, context, checkout=ROOT, artifacts=artifacts)
    tree = context / "root"
    layers = [system_layer(cache), python_layer(cache, [ROOT / name for name in image.libraries])]
    # Java before what runs on it.
    for name in sorted(image.artifacts, key=lambda name: not name.startswith("java")):
        if name not in made:
            made[name] = folder / f"{name}.layer"
            place = str((ARTIFACTS_DIR / name).relative_to("/"))
            images.write_layer({place: tree / place}, made[name])
        layers.append(made[name])
    if image.account:
        # initdb starts programs by a shell, which every base that a Dockerfile's RUN works on has.
        layers.append(folder / f"{image.name}.shell")
        images.write_layer({"usr/bin/sh": Path("/bin/sh").resolve()}, layers[-1])
        layers.append(folder / f"{image.name}.accounts")
        images.write_layer({f"etc/{path.name}": path for path in (tree / "etc").iterdir()}, layers[-1])
    source = str(SOURCE_DIR.relative_to("/"))
    layers.append(folder / f"{image.name}.source")
    images.write_layer({source: tree / source}, layers[-1])
    return layers
