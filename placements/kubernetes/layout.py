"""Where things lie in the lab's images (``images/``), the same for every workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from contracts.versions import IMAGES
from contracts.workload import Layout
from placements.local.software import PYTHON_ARTIFACT, java_of

ROOT = PurePosixPath("/opt/lakehouse-lab")
ARTIFACTS_DIR = ROOT / "artifacts"
SOURCE_DIR = ROOT / "source"
PYTHON = str(ROOT / "python" / "bin" / "python")
FILES_DIR = PurePosixPath("/etc/lakehouse-lab")
DATA_DIR = PurePosixPath("/var/lib/lakehouse-lab")
CACHE_DIR = PurePosixPath("/var/cache/lakehouse-lab")
SCRATCH_DIR = PurePosixPath("/tmp")  # noqa: S108  a pod's own, and the only one it has
USER_ID = 10001
"""User and group of every container; images have no other."""

FIRST_PORT = 8080
"""A workload's ports count from here; all are above 1023, since no container is root."""

_FIRST_PORTS = {"postgres": 5432, "s3": 9000}
"""Data services are where everybody looks for them."""

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  of a pod, which the network policies keep apart


def image_layout(
    workload: str, artifact: str, ports: Sequence[str], also: Sequence[str] = (), *, proxied: bool = False
) -> Layout:
    """Paths in the workload's image, and its ports."""
    java = next((found for name in (artifact, *also) if (found := java_of(name)) is not None), None)
    return Layout(
        artifact_dir=artifact_dir(artifact),
        files_dir=FILES_DIR,
        data_dir=DATA_DIR,
        scratch_dir=SCRATCH_DIR,
        python=PYTHON,
        source_dir=SOURCE_DIR,
        cache_dir=CACHE_DIR,
        java_home=artifact_dir(java) if java else None,
        bind_address=EVERY_ADDRESS,
        ports=port_numbers(workload, ports),
        also={name: artifact_dir(name) for name in also},
        host=workload,
        proxied=proxied,
    )


def artifact_dir(artifact: str) -> PurePosixPath:
    """The folder of an artifact in an image; code of the checkout is its own."""
    return SOURCE_DIR if artifact == PYTHON_ARTIFACT else ARTIFACTS_DIR / artifact


def port_numbers(workload: str, ports: Sequence[str]) -> Mapping[str, int]:
    """The numbers of a workload's ports, in the pod and of its service alike."""
    return {name: first_port(workload) + index for index, name in enumerate(ports)}


def first_port(workload: str) -> int:
    """The number of a workload's first port."""
    return _FIRST_PORTS.get(workload, FIRST_PORT)


def image_of(workload: str, artifact: str) -> str:
    """The image that a workload runs: its artifact's, or where it runs the checkout's code the one with it
    among its services, else the one of its own name."""
    if artifact != PYTHON_ARTIFACT:
        return artifact
    return next((image.name for image in IMAGES.values() if workload in image.services), workload)
