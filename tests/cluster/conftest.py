"""One cluster for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.settings import cache_home
from contracts.versions import OPA
from placements.kubernetes.layout import ARTIFACTS_DIR, USER_ID
from placements.local.artifacts import SilentProgress, ensure
from tests.cluster import images, software
from tests.cluster.running import TestCluster, running


@pytest.fixture(scope="session")
def cluster() -> Iterator[TestCluster]:
    """A cluster of one node, empty."""
    reason = software.missing_need()
    if reason is not None:
        pytest.skip(reason)
    cache = cache_home()
    with running(software.node_programs(cache), software.packages(cache)) as started:
        yield started


@pytest.fixture(scope="session")
def opa_image(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of an image with the pinned OPA and nothing else, which the node has."""
    folder = tmp_path_factory.mktemp("images")
    program = ensure(OPA, cache_home(), SilentProgress())
    layer, archive = folder / "opa.layer", folder / "opa.tar"
    images.write_layer({str(ARTIFACTS_DIR / "opa").lstrip("/"): program}, layer, ("tmp",))
    name = "cluster.test/lab/opa@"
    digest = images.write_image(archive, name, [layer], {"User": f"{USER_ID}:{USER_ID}"})
    cluster.load(archive)
    return name + digest
