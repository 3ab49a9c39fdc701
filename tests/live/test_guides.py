"""The guides do what they say: every ``sh`` block is executed, in order, from the checkout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import ROOT, LiveLab

pytestmark = [pytest.mark.live, pytest.mark.docs]

ELSEWHERE = ("add-a-component", "without-a-network", "on-your-own-cluster", "air-gapped", "in-an-aws-account")
"""Guides that change the checkout or need another machine, a cluster or an account; tests of their own follow
them."""

ALL_GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
GUIDES = [guide for guide in ALL_GUIDES if guide.stem not in ELSEWHERE]


def blocks(guide: Path) -> Iterator[str]:
    """The contents of the fences marked ``sh``."""
    yield from re.findall(r"^```sh\n(.*?)^```", guide.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_blocks_of_a_guide_run(lab: LiveLab, guide: Path) -> None:
    found = list(blocks(guide))
    assert found, f"{guide.name} has no block to run"
    for block in found:
        result = lab.shell(block, timeout_s=900)
        assert result.returncode == 0, f"{guide.name}:\n{block}\n{result.stdout}\n{result.stderr}"


def test_every_link_of_the_guides_leads_somewhere() -> None:
    for guide in [*ALL_GUIDES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", guide.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (guide.parent / target).exists(), f"{guide.name} links to {target}"
