"""A workspace's quota of queries on the running engine: what is over it waits, whatever client sent it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cli.tokens import PersonaTokens
from contracts.errors import LabError
from contracts.queues import PAGES_SOURCE
from governance.query import TrinoSession
from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live

SPACE = "live_queue"
LIMIT_S = 60.0
SLOW = """SELECT count(*) AS live_queue_slow FROM retail.lineitem a CROSS JOIN retail.lineitem b
WHERE a.l_tax < b.l_discount"""
STATES = """SELECT state, array_join(resource_group_id, '.') FROM system.runtime.queries
WHERE query LIKE 'SELECT count(*) AS live_queue_slow%' AND state NOT IN ('FINISHED', 'FAILED')"""

OWN = """SELECT array_join(resource_group_id, '.') AS queue FROM system.runtime.queries
WHERE query LIKE '%AS queue FROM%' AND state = 'RUNNING' ORDER BY created DESC LIMIT 1"""


@contextlib.contextmanager
def under_way(lab: LiveLab, tokens: PersonaTokens, count: int) -> Iterator[None]:
    """So many slow queries of one person's, canceled at the end."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(lab.trino("engineer", tokens=tokens)) for _ in range(count)]
        threads = [threading.Thread(target=_run, args=(session,), daemon=True) for session in sessions]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            deadline = time.monotonic() + LIMIT_S
            while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
                for session in sessions:
                    session.cancel()
                time.sleep(0.5)
            assert not any(thread.is_alive() for thread in threads)


def _run(session: TrinoSession) -> None:
    # It ends by being canceled.
    with contextlib.suppress(LabError):
        list(session.run(SLOW).rows)


def settled(pages: TrinoSession, *expected: str) -> list[tuple[Any, ...]]:
    """What is under way, once its states are these."""
    deadline = time.monotonic() + LIMIT_S
    found: list[tuple[Any, ...]] = []
    while sorted(state for state, _ in found) != sorted(expected):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
        found = [tuple(row) for row in pages.run(STATES).rows]
    return found


def test_the_query_over_the_quota_waits_until_it_is_raised(lab: LiveLab) -> None:
    lab.ok("workspace", "create", SPACE, "--owner", "engineer", "--queries", "2", "--as", "admin")
    try:
        # Pages of the console have a queue of their own, so that they show what waits.
        tokens = lab.tokens("engineer")
        with lab.trino("engineer", tokens=tokens, source=PAGES_SOURCE) as pages:
            wait_for_quota(lab)
            pages.run("SELECT 1")
            with under_way(lab, tokens, 3):
                found = settled(pages, "RUNNING", "RUNNING", "QUEUED")
                assert {queue for _, queue in found} == {f"workspaces.{SPACE}"}
                time.sleep(2)
                assert sorted(state for state, _ in pages.run(STATES).rows) == [
                    "QUEUED",
                    "RUNNING",
                    "RUNNING",
                ]
                # Nobody else waits with them.
                assert lab.value("SELECT count(*) FROM retail.nation", "analyst_emea") == 25
                lab.ok("workspace", "change", SPACE, "--queries", "3", "--as", "admin")
                begun = time.monotonic()
                settled(pages, "RUNNING", "RUNNING", "RUNNING")
                print(f"a raised quota held after {time.monotonic() - begun:.1f} s")
    finally:
        lab.ok("workspace", "remove", SPACE, "--yes", "--as", "admin")


def wait_for_quota(lab: LiveLab) -> None:
    """Until Trino has heard of the workspace's queue."""
    deadline = time.monotonic() + LIMIT_S
    while lab.value(OWN, "engineer") != f"workspaces.{SPACE}":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert f"workspaces.{SPACE}" in lab.ok("sql", OWN, "--workspace", SPACE, "--as", "engineer")
