"""The pages' own unit tests."""

from __future__ import annotations

import re

from cli.toolchain.web import WebTools


def test_unit_tests_of_the_pages_pass() -> None:
    done = WebTools().run("vitest/vitest.mjs", "run", "--reporter=default", capture=True)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert done.returncode == 0, said
    counted = re.search(r"Tests\s+(\d+) passed", said)
    assert counted is not None, said
    assert int(counted[1]) > 100
