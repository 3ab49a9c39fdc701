"""Nothing of placement aws changes without standing in a review."""

from __future__ import annotations

import pytest

from tests.mocks.snapshots import FOLDER, STACKS, text_of


@pytest.mark.parametrize("stack", sorted(STACKS))
def test_what_is_registered_is_what_was_reviewed(stack: str) -> None:
    expected = (FOLDER / f"aws-{stack}.txt").read_text(encoding="utf-8")
    assert text_of(stack) == expected, "meant? then: python -m tests.mocks.snapshots"
