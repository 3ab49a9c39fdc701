"""OPA from the artifact cache, serving the seed's access data as a signed bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.settings import cache_home
from contracts.versions import OPA, REGAL
from placements.local.artifacts import SilentProgress, ensure
from tests.policies.server import Opa, signing_keys


@pytest.fixture(scope="session")
def opa_program() -> Path:
    """The pinned OPA, built first where the cache lacks it."""
    return ensure(OPA, cache_home(), SilentProgress()) / "opa"


@pytest.fixture(scope="session")
def regal_program() -> Path:
    """The pinned linter of Rego."""
    return ensure(REGAL, cache_home(), SilentProgress()) / "regal"


@pytest.fixture(scope="session")
def keys() -> tuple[str, str]:
    """A private and a public key for bundles (PEM)."""
    return signing_keys()


@pytest.fixture(scope="session")
def opa(opa_program: Path, keys: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opa]:
    """A running OPA with the seed's access data."""
    with Opa.start(opa_program, tmp_path_factory.mktemp("opa"), keys) as server:
        server.publish(server.seed_data())
        yield server
