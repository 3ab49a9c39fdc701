"""What maintenance would do to a table as it is now. Pure: a state goes in, steps come out.

Times are Iceberg's: milliseconds since the epoch. The one rule behind expiry: a snapshot may go only when it
stopped being the current one before the cutoff, however old it is. Iceberg itself goes by the time of the
commit, so that a table written once a month would lose last month's snapshot minutes after the next commit,
and with it whoever is reading it. The cutoff handed to the engine is therefore the commit of the oldest
snapshot that has to stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from governance.maintenance.policy import Limits, Policy, duration_text

MIB = 1 << 20
_MANIFEST_BYTES = 8 * MIB
"""Iceberg's target size of a manifest unless a table says otherwise."""


class Procedure(StrEnum):
    """Trino's table procedures, in the order in which they run."""

    OPTIMIZE = "optimize"
    OPTIMIZE_MANIFESTS = "optimize_manifests"
    EXPIRE_SNAPSHOTS = "expire_snapshots"
    REMOVE_ORPHAN_FILES = "remove_orphan_files"


REMOVING = frozenset({Procedure.EXPIRE_SNAPSHOTS, Procedure.REMOVE_ORPHAN_FILES})
"""Those that delete files."""


class Verdict(StrEnum):
    """What a plan says of a procedure."""

    RUN = "run"
    UNNEEDED = "unneeded"
    OFF = "off"
    UNSAFE = "unsafe"
    WAITS = "waits"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot that the table's metadata lists."""

    id: int
    parent_id: int | None
    committed_ms: int


@dataclass(frozen=True, kw_only=True)
class Current:
    """When a snapshot became the current one."""

    since_ms: int
    snapshot_id: int


@dataclass(frozen=True, kw_only=True)
class TableState:
    """A table's metadata. ``savable_files``: data files that compaction would save if all were rewritten;
    ``referenced``: snapshots that branches and tags name; ``read_ms``: Trino's time of the reading."""

    files: int
    delete_files: int
    small_files: int
    savable_files: int
    bytes: int
    manifests: int
    manifest_bytes: int
    read_ms: int
    snapshots: tuple[Snapshot, ...] = ()
    history: tuple[Current, ...] = ()
    referenced: frozenset[int] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunningQuery:
    """A query under way. ``reads``: ``ns.table`` → its snapshots, None among them where the query does not
    say which; None altogether while it is not known what the query reads."""

    id: str
    user: str
    created_ms: int
    reads: Mapping[str, frozenset[int | None]] | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One procedure on one table. ``retention_ms``: what the engine is told to keep; ``gain``: files,
    manifests or snapshots that would go, None where that can't be known beforehand."""

    procedure: Procedure
    verdict: Verdict
    reason: str
    retention_ms: int | None = None
    gain: int | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a plan depends on beside the table.

    Args:
        unsafe: procedures that this lab's catalog does not bear, and why.
        running: queries under way, read after the table's state.
        orphans_due: whether it is time to look for orphans again.
        shares: other tables whose location lies in this one's, or the reverse.
    """

    unsafe: Mapping[Procedure, str]
    running: Sequence[RunningQuery]
    orphans_due: bool = True
    shares: tuple[str, ...] = ()


def plan(
    table: str, state: TableState, policy: Policy, limits: Limits, around: Surroundings
) -> tuple[Step, ...]:
    """All steps, those that are not to be run with the reason."""
    return tuple(step(one, table, state, policy, limits, around) for one in Procedure)


def settled(procedure: Procedure, policy: Policy, unsafe: Mapping[Procedure, str]) -> Step | None:
    """The step where no look at the table is needed: it is off, or the catalog does not bear it."""
    wanted = {
        Procedure.OPTIMIZE: policy.compact,
        Procedure.OPTIMIZE_MANIFESTS: policy.rewrite_manifests,
        Procedure.EXPIRE_SNAPSHOTS: policy.expire_snapshots,
        Procedure.REMOVE_ORPHAN_FILES: policy.remove_orphans,
    }
    if not wanted[procedure]:
        return Step(procedure=procedure, verdict=Verdict.OFF, reason="off by the table's policy")
    if procedure in unsafe:
        return Step(procedure=procedure, verdict=Verdict.UNSAFE, reason=unsafe[procedure])
    return None


def step(
    procedure: Procedure,
    table: str,
    state: TableState,
    policy: Policy,
    limits: Limits,
    around: Surroundings,
) -> Step:
    """One step."""
    found = settled(procedure, policy, around.unsafe)
    if found is not None:
        return found
    if procedure in REMOVING and state.properties.get("gc.enabled", "true").lower() == "false":
        return Step(
            procedure=procedure,
            verdict=Verdict.UNSAFE,
            reason="the table's property gc.enabled is false: its files may be another's, too",
        )
    if procedure is Procedure.OPTIMIZE:
        return _compaction(state, policy)
    if procedure is Procedure.OPTIMIZE_MANIFESTS:
        return _manifests(state, policy)
    if procedure is Procedure.EXPIRE_SNAPSHOTS:
        return _expiry(table, state, policy, limits, around.running)
    return _orphans(state, policy, limits, around)


def _compaction(state: TableState, policy: Policy) -> Step:
    gain = min(state.small_files, state.savable_files) + state.delete_files
    needed = gain >= policy.min_files
    parts = f"{state.small_files} of {state.files} files are below {policy.small_file_mib} MiB"
    if state.delete_files:
        parts += f", {state.delete_files} delete files"
    return Step(
        procedure=Procedure.OPTIMIZE,
        verdict=Verdict.RUN if needed else Verdict.UNNEEDED,
        reason=f"{parts}; about {gain} can be saved"
        + ("" if needed else f", {policy.min_files} are worth it"),
        gain=gain,
    )


def _manifests(state: TableState, policy: Policy) -> Step:
    target = _target_bytes(state.properties)
    gain = max(0, state.manifests - max(1, -(-state.manifest_bytes // target)))
    needed = gain >= policy.min_manifests
    return Step(
        procedure=Procedure.OPTIMIZE_MANIFESTS,
        verdict=Verdict.RUN if needed else Verdict.UNNEEDED,
        reason=f"{state.manifests} manifests; about {gain} can be saved"
        + ("" if needed else f", {policy.min_manifests} are worth it"),
        gain=gain,
    )


def _target_bytes(properties: Mapping[str, str]) -> int:
    text = properties.get("commit.manifest.target-size-bytes", "")
    return int(text) if text.isdecimal() and int(text) > 0 else _MANIFEST_BYTES


def _expiry(
    table: str, state: TableState, policy: Policy, limits: Limits, running: Sequence[RunningQuery]
) -> Step:
    procedure = Procedure.EXPIRE_SNAPSHOTS
    keep_s = max(policy.keep_snapshots, limits.snapshots_s)
    waiting = blocking(table, state, running)
    cutoff_ms = expiry_cutoff_ms(table, state, keep_s * 1000, policy.keep_last, running)
    cutoff_ms -= limits.margin_s * 1000
    going = expiring(state, cutoff_ms)
    if not going:
        return Step(
            procedure=procedure,
            verdict=Verdict.UNNEEDED,
            reason=f"none of {len(state.snapshots)} snapshots is past {duration_text(keep_s)} and unread",
            gain=0,
        )
    if waiting:
        return Step(
            procedure=procedure,
            verdict=Verdict.WAITS,
            reason=f"query {waiting[0].id} of {waiting[0].user} reads a snapshot that is not known",
            gain=len(going),
        )
    return Step(
        procedure=procedure,
        verdict=Verdict.RUN,
        reason=f"{len(going)} of {len(state.snapshots)} snapshots were not current for "
        f"{duration_text(keep_s)}",
        retention_ms=state.read_ms - cutoff_ms,
        gain=len(going),
    )


def blocking(table: str, state: TableState, running: Iterable[RunningQuery]) -> list[RunningQuery]:
    """Queries of which it can't be said which of the table's snapshots they read."""
    known = {snapshot.id for snapshot in state.snapshots}
    return [
        query
        for query in running
        if query.reads is None or any(one not in known for one in query.reads.get(table, ()))
    ]


def expiry_cutoff_ms(
    table: str,
    state: TableState,
    keep_ms: int,
    keep_last: int,
    running: Iterable[RunningQuery],
) -> int:
    """Snapshots committed before this may go; branches and tags keep theirs in Iceberg itself.

    It is the commit of the oldest snapshot that (a) was current at any time since ``keep_ms`` ago or since
    the oldest running query began, on the main branch or another, (b) a running query reads, or (c) is one
    of the newest ``keep_last``.
    """
    running = list(running)
    since_ms = min([state.read_ms - keep_ms, *(query.created_ms for query in running)])
    staying = _current_since(state, since_ms)
    for query in running:
        staying |= {one for one in (query.reads or {}).get(table, ()) if one is not None}
    newest = sorted(state.snapshots, key=lambda one: one.committed_ms, reverse=True)
    staying |= {snapshot.id for snapshot in newest[: max(1, keep_last)]}
    commits = [snapshot.committed_ms for snapshot in state.snapshots if snapshot.id in staying]
    return min([since_ms, *commits])


def _current_since(state: TableState, since_ms: int) -> set[int]:
    """Snapshots that were the current one of some branch at or after ``since_ms``."""
    entries = sorted(state.history, key=lambda entry: entry.since_ms)
    staying = {entry.snapshot_id for entry in entries if entry.since_ms >= since_ms}
    earlier = [entry for entry in entries if entry.since_ms < since_ms]
    if earlier:
        staying.add(earlier[-1].snapshot_id)
    # The log of current snapshots loses entries when snapshots are expired out of turn.
    before = [one for one in state.snapshots if one.committed_ms < since_ms]
    if before:
        staying.add(max(before, key=lambda one: one.committed_ms).id)
    # It also knows the main branch alone: a commit's parent was current until then.
    for snapshot in state.snapshots:
        if snapshot.committed_ms >= since_ms:
            staying |= {snapshot.id, *([] if snapshot.parent_id is None else [snapshot.parent_id])}
    return staying


def expiring(state: TableState, cutoff_ms: int) -> set[int]:
    """What an expiry up to ``cutoff_ms`` removes, at most: what branches and tags name stays."""
    current = max(state.history, key=lambda entry: entry.since_ms, default=None)
    kept = state.referenced | (set() if current is None else {current.snapshot_id})
    return {one.id for one in state.snapshots if one.committed_ms < cutoff_ms and one.id not in kept}


def _orphans(state: TableState, policy: Policy, limits: Limits, around: Surroundings) -> Step:
    procedure = Procedure.REMOVE_ORPHAN_FILES
    if around.shares:
        return Step(
            procedure=procedure,
            verdict=Verdict.UNSAFE,
            reason=f"its location holds files of {', '.join(around.shares)}, too",
        )
    if not state.snapshots:
        return Step(procedure=procedure, verdict=Verdict.UNNEEDED, reason="the table has no snapshot", gain=0)
    if not around.orphans_due:
        every = duration_text(policy.orphans_every)
        return Step(procedure=procedure, verdict=Verdict.UNNEEDED, reason=f"done within the last {every}")
    keep_s = max(policy.keep_orphans, limits.orphans_s)
    since_ms = min([state.read_ms - keep_s * 1000, *(query.created_ms for query in around.running)])
    return Step(
        procedure=procedure,
        verdict=Verdict.RUN,
        reason=f"files of no snapshot that are older than {duration_text(keep_s)}; "
        "Trino does not count them beforehand",
        retention_ms=state.read_ms - since_ms + limits.margin_s * 1000,
    )


def statement(table: str, step: Step, policy: Policy) -> str:
    """The SQL of a step, on ``ns.table`` of the session's catalog."""
    arguments = ""
    if step.procedure is Procedure.OPTIMIZE:
        arguments = f"(file_size_threshold => '{policy.small_file_mib}MB')"
    elif step.procedure in REMOVING:
        if step.retention_ms is None:
            raise ValueError(f"{step.procedure} without a retention")
        arguments = f"(retention_threshold => '{step.retention_ms}ms')"
    return f"ALTER TABLE {quoted(table)} EXECUTE {step.procedure.value}{arguments}"


def quoted(table: str, suffix: str = "") -> str:
    """``ns.table`` as SQL; a nested namespace is one quoted name in Trino."""
    namespace, _, name = table.rpartition(".")
    return f"{_identifier(namespace)}.{_identifier(name + suffix)}"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
