"""What maintenance plans: floors hold, and nothing goes that somebody may still need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.maintenance.catalogs import borne, unsafe
from governance.maintenance.planning import (
    Current,
    Procedure,
    RunningQuery,
    Snapshot,
    Step,
    Surroundings,
    TableState,
    Verdict,
    expiring,
    plan,
    statement,
    step,
)
from governance.maintenance.policy import DAY_S, Limits, Policy
from governance.maintenance.sharing import sharing

NOW_MS = 1_800_000_000_000
DAY_MS = DAY_S * 1000
TABLE = "web.events"
LIMITS = Limits()
ALONE = Surroundings(unsafe={}, running=())
STATE = TableState(
    files=1,
    delete_files=0,
    small_files=1,
    savable_files=0,
    bytes=1000,
    manifests=1,
    manifest_bytes=7000,
    read_ms=NOW_MS,
)


def linear(*commits_days_ago: float) -> TableState:
    """A main branch with snapshots 1, 2, … committed so many days ago."""
    snapshots = tuple(
        Snapshot(id=n, parent_id=n - 1 if n > 1 else None, committed_ms=NOW_MS - int(ago * DAY_MS))
        for n, ago in enumerate(commits_days_ago, start=1)
    )
    history = tuple(Current(since_ms=one.committed_ms, snapshot_id=one.id) for one in snapshots)
    newest = frozenset({snapshots[-1].id}) if snapshots else frozenset()
    return replace(STATE, snapshots=snapshots, history=history, referenced=newest)


def reading(snapshot: int | None, *, created_ms: int = NOW_MS - 1000, table: str = TABLE) -> RunningQuery:
    return RunningQuery(id="q", user="ada", created_ms=created_ms, reads={table: frozenset({snapshot})})


def expiry(state: TableState, policy: Policy | None = None, *running: RunningQuery) -> Step:
    around = replace(ALONE, running=running)
    return step(Procedure.EXPIRE_SNAPSHOTS, TABLE, state, policy or Policy(), LIMITS, around)


def expired(state: TableState, found: Step, *, late_ms: int = 0) -> set[int]:
    """What Iceberg removes when Trino starts the statement ``late_ms`` after the state was read."""
    if found.verdict is not Verdict.RUN:
        return set()
    assert found.retention_ms is not None
    return expiring(state, NOW_MS + late_ms - found.retention_ms)


def test_snapshots_past_the_time_go_and_the_one_that_was_current_then_stays() -> None:
    state = linear(30, 20, 10, 1)
    found = expiry(state)
    assert (found.verdict, found.gain) == (Verdict.RUN, 2)
    # The third was current seven days ago, and until yesterday.
    assert expired(state, found) == {1, 2}


def test_an_old_snapshot_that_was_current_until_just_now_stays() -> None:
    assert expiry(linear(400, 0.001)).verdict is Verdict.UNNEEDED
    assert expiry(linear(400)).verdict is Verdict.UNNEEDED
    assert expiry(linear()).verdict is Verdict.UNNEEDED


def test_a_query_keeps_the_snapshot_that_it_reads_and_all_later_ones() -> None:
    state = linear(30, 20, 15, 10, 1)
    assert expired(state, expiry(state)) == {1, 2, 3}
    assert expired(state, expiry(state, None, reading(2))) == {1}
    assert expired(state, expiry(state, None, reading(1))) == set()
    assert expired(state, expiry(state, None, reading(1, table="web.other"))) == {1, 2, 3}


def test_a_query_of_which_it_is_not_known_what_it_reads_is_waited_for() -> None:
    state = linear(30, 20, 1)
    unplanned = RunningQuery(id="q7", user="ada", created_ms=NOW_MS, reads=None)
    for query in (unplanned, reading(None), reading(99)):
        found = expiry(state, None, query)
        assert (found.verdict, found.retention_ms) == (Verdict.WAITS, None)
        assert "ada" in found.reason
    assert expiry(linear(1), None, unplanned).verdict is Verdict.UNNEEDED


def test_a_query_older_than_the_retention_moves_the_time_back() -> None:
    state = linear(30, 20, 10, 1)
    old = RunningQuery(id="q", user="ada", created_ms=NOW_MS - 25 * DAY_MS, reads={})
    assert expired(state, expiry(state, None, old)) == set()


def test_the_newest_are_kept_however_old() -> None:
    state = linear(90, 80, 70, 60, 50)
    assert expired(state, expiry(state)) == {1, 2, 3, 4}
    assert expired(state, expiry(state, Policy(keep_last=3))) == {1, 2}
    assert expired(state, expiry(state, Policy(keep_last=9))) == set()


def test_a_branch_s_former_head_stays_though_the_log_does_not_know_it() -> None:
    state = linear(30, 20, 10)
    branch = (
        Snapshot(id=11, parent_id=1, committed_ms=NOW_MS - 25 * DAY_MS),
        Snapshot(id=12, parent_id=11, committed_ms=NOW_MS - DAY_MS),
    )
    state = replace(state, snapshots=(*state.snapshots, *branch), referenced=frozenset({3, 12}))
    assert expired(state, expiry(state)) == {1}


def test_after_a_rollback_what_was_current_before_it_stays() -> None:
    state = linear(30, 20, 10)
    state = replace(
        state,
        history=(*state.history, Current(since_ms=NOW_MS - DAY_MS, snapshot_id=1)),
        referenced=frozenset({1}),
    )
    assert expired(state, expiry(state)) == set()


def test_a_policy_below_the_floor_is_lifted_to_it() -> None:
    state = linear(6, 5, 4)
    assert expired(state, expiry(state, Policy(keep_snapshots=0))) == set()
    found = step(Procedure.REMOVE_ORPHAN_FILES, TABLE, state, Policy(keep_orphans=0), LIMITS, ALONE)
    assert found.retention_ms is not None
    assert found.retention_ms >= 7 * DAY_MS


def test_orphans_younger_than_the_oldest_query_stay() -> None:
    writing = RunningQuery(id="q", user="ada", created_ms=NOW_MS - 9 * DAY_MS, reads=None)
    around = replace(ALONE, running=(writing,))
    found = step(Procedure.REMOVE_ORPHAN_FILES, TABLE, linear(1), Policy(), LIMITS, around)
    assert found.verdict is Verdict.RUN
    assert found.retention_ms is not None
    assert found.retention_ms > 9 * DAY_MS


def test_orphans_are_left_where_another_table_s_files_may_lie() -> None:
    around = replace(ALONE, shares=("raw.copy",))
    found = step(Procedure.REMOVE_ORPHAN_FILES, TABLE, linear(1), Policy(), LIMITS, around)
    assert found.verdict is Verdict.UNSAFE
    assert "raw.copy" in found.reason


def test_orphans_are_looked_for_at_intervals_and_not_in_an_empty_table() -> None:
    late = replace(ALONE, orphans_due=False)
    for state, around in ((linear(1), late), (linear(), ALONE)):
        found = step(Procedure.REMOVE_ORPHAN_FILES, TABLE, state, Policy(), LIMITS, around)
        assert found.verdict is Verdict.UNNEEDED


def test_nothing_is_removed_from_a_table_whose_collection_is_off() -> None:
    state = replace(linear(30, 20, 1), properties={"gc.enabled": "FALSE"})
    verdicts = {one.procedure: one.verdict for one in plan(TABLE, state, Policy(), LIMITS, ALONE)}
    assert verdicts[Procedure.EXPIRE_SNAPSHOTS] is Verdict.UNSAFE
    assert verdicts[Procedure.REMOVE_ORPHAN_FILES] is Verdict.UNSAFE


def test_nessie_and_catalogs_that_are_not_known_bear_nothing_that_removes() -> None:
    for kind in ("nessie", "something"):
        around = replace(ALONE, unsafe=unsafe(kind))
        state = replace(linear(30, 20, 1), small_files=50, savable_files=50)
        verdicts = {one.procedure: one.verdict for one in plan(TABLE, state, Policy(), LIMITS, around)}
        assert verdicts[Procedure.OPTIMIZE] is Verdict.RUN
        assert verdicts[Procedure.EXPIRE_SNAPSHOTS] is Verdict.UNSAFE
        assert verdicts[Procedure.REMOVE_ORPHAN_FILES] is Verdict.UNSAFE
        assert borne(kind) == {"optimize", "optimize_manifests"}
    assert borne("polaris") == {one.value for one in Procedure}


def test_what_a_policy_turns_off_is_off() -> None:
    off = Policy(compact=False, rewrite_manifests=False, expire_snapshots=False, remove_orphans=False)
    verdicts = {one.verdict for one in plan(TABLE, linear(30, 20, 1), off, LIMITS, ALONE)}
    assert verdicts == {Verdict.OFF}


@pytest.mark.parametrize(
    ("small", "savable", "deletes", "verdict"),
    [
        (8, 8, 0, Verdict.RUN),
        (8, 7, 0, Verdict.UNNEEDED),
        # A partition each: nothing can be put together.
        (100, 0, 0, Verdict.UNNEEDED),
        (3, 2, 6, Verdict.RUN),
    ],
)
def test_files_are_compacted_when_that_saves_enough(
    small: int, savable: int, deletes: int, verdict: Verdict
) -> None:
    state = replace(STATE, files=100, small_files=small, savable_files=savable, delete_files=deletes)
    assert step(Procedure.OPTIMIZE, TABLE, state, Policy(), LIMITS, ALONE).verdict is verdict


def test_manifests_are_merged_towards_the_table_s_own_size() -> None:
    state = replace(STATE, manifests=20, manifest_bytes=16 << 20)
    found = step(Procedure.OPTIMIZE_MANIFESTS, TABLE, state, Policy(), LIMITS, ALONE)
    assert (found.verdict, found.gain) == (Verdict.RUN, 18)
    large = replace(state, properties={"commit.manifest.target-size-bytes": str(1 << 20)})
    found = step(Procedure.OPTIMIZE_MANIFESTS, TABLE, large, Policy(), LIMITS, ALONE)
    assert (found.verdict, found.gain) == (Verdict.UNNEEDED, 4)


def test_statements_name_the_table_in_quotes() -> None:
    found = Step(procedure=Procedure.OPTIMIZE, verdict=Verdict.RUN, reason="")
    assert statement('a.b.we"ird', found, Policy()) == (
        'ALTER TABLE "a.b"."we""ird" EXECUTE optimize(file_size_threshold => \'64MB\')'
    )
    found = replace(found, procedure=Procedure.EXPIRE_SNAPSHOTS, retention_ms=5)
    assert statement(TABLE, found, Policy()).endswith("expire_snapshots(retention_threshold => '5ms')")
    with pytest.raises(ValueError, match="without a retention"):
        statement(TABLE, replace(found, retention_ms=None), Policy())


def test_tables_in_one_another_s_folders_are_found() -> None:
    found = sharing(
        {
            "a.outer": "s3://w/a/outer",
            "a.inner": "s3://w/a/outer/data/inner/",
            "a.inmost": "s3://w/a/outer/data/inner/x",
            "a.outer_2": "s3://w/a/outer_2",
            "a.twin": "s3://w/a/outer_2/",
            "a.unknown": "",
        }
    )
    assert found == {
        "a.outer": ("a.inmost", "a.inner"),
        "a.inner": ("a.inmost", "a.outer"),
        "a.inmost": ("a.inner", "a.outer"),
        "a.outer_2": ("a.twin",),
        "a.twin": ("a.outer_2",),
    }


# --- whatever the history --------------------------------------------------------------------------------


@st.composite
def tables(draw: st.DrawFn) -> TableState:
    """Commits and rollbacks of a main branch over forty days, with tags here and there."""
    moments = sorted(draw(st.lists(st.integers(1, 40 * 24 * 60), min_size=1, max_size=25, unique=True)))
    snapshots: list[Snapshot] = []
    history: list[Current] = []
    for number, ago in enumerate(reversed(moments), start=1):
        at_ms = NOW_MS - ago * 60_000
        if snapshots and draw(st.integers(0, 5)) == 0:
            back = draw(st.sampled_from(snapshots)).id
            history.append(Current(since_ms=at_ms, snapshot_id=back))
            continue
        parent = history[-1].snapshot_id if history else None
        snapshots.append(Snapshot(id=number, parent_id=parent, committed_ms=at_ms))
        history.append(Current(since_ms=at_ms, snapshot_id=number))
    tags = draw(st.sets(st.sampled_from([one.id for one in snapshots]), max_size=2))
    return replace(
        STATE,
        snapshots=tuple(snapshots),
        history=tuple(history),
        referenced=frozenset(tags | {history[-1].snapshot_id}),
    )


@given(
    state=tables(),
    keep_days=st.integers(0, 20),
    floor_days=st.integers(1, 20),
    keep_last=st.integers(1, 5),
    queries=st.lists(st.tuples(st.integers(0, 40 * 24 * 60), st.integers(0, 24)), max_size=3),
    late_s=st.integers(0, 60),
)
def test_no_history_loses_what_is_retained_or_read(
    state: TableState,
    keep_days: int,
    floor_days: int,
    keep_last: int,
    queries: list[tuple[int, int]],
    late_s: int,
) -> None:
    running = []
    for ago, pick in queries:
        chosen = state.snapshots[pick % len(state.snapshots)].id
        created_ms = NOW_MS - ago * 60_000
        running.append(
            RunningQuery(id="q", user="u", created_ms=created_ms, reads={TABLE: frozenset({chosen})})
        )
    limits = Limits(snapshots_s=floor_days * DAY_S, orphans_s=floor_days * DAY_S)
    policy = Policy(keep_snapshots=keep_days * DAY_S, keep_last=keep_last, keep_orphans=keep_days * DAY_S)
    around = replace(ALONE, running=tuple(running))
    found = step(Procedure.EXPIRE_SNAPSHOTS, TABLE, state, policy, limits, around)
    gone = expired(state, found, late_ms=late_s * 1000)

    floor_ms = max(keep_days, floor_days) * DAY_MS
    # What was current at any moment since then, by the log.
    ends = [entry.since_ms for entry in state.history[1:]] + [NOW_MS]
    since_ms = min([NOW_MS - floor_ms, *(query.created_ms for query in running)])
    was_current = {
        entry.snapshot_id for entry, end in zip(state.history, ends, strict=True) if end >= since_ms
    }
    read = {one for query in running if query.reads for one in query.reads[TABLE]}
    newest = sorted(state.snapshots, key=lambda one: one.committed_ms)[-keep_last:]
    assert not gone & was_current
    assert not gone & read
    assert not gone & state.referenced
    assert not gone & {one.id for one in newest}
    if found.retention_ms is not None:
        assert found.retention_ms >= floor_ms

    orphans = step(Procedure.REMOVE_ORPHAN_FILES, TABLE, state, policy, limits, around)
    assert orphans.retention_ms is not None
    assert orphans.retention_ms >= floor_ms
    # With the statement started as late as the margin allows, files of running queries are younger.
    border_ms = NOW_MS + late_s * 1000 - orphans.retention_ms
    assert all(border_ms <= query.created_ms for query in running)


@given(state=tables())
def test_whatever_is_long_past_goes_in_the_end(state: TableState) -> None:
    """The guards are no excuse for keeping everything: a table left alone keeps what it names."""
    later = replace(state, read_ms=NOW_MS + 400 * DAY_MS)
    found = expiry(later)
    if found.verdict is Verdict.RUN:
        assert found.retention_ms is not None
        left = {one.id for one in later.snapshots} - expiring(later, later.read_ms - found.retention_ms)
    else:
        left = {one.id for one in later.snapshots}
    current = later.history[-1].snapshot_id
    at = {one.id: one.committed_ms for one in later.snapshots}
    assert left == later.referenced | {one for one in left if at[one] >= at[current]}
