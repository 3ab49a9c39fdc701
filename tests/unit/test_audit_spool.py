"""Records on the disk: what is acknowledged stays, whatever tears, fills or damages the files."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.audit import spool as spooling
from governance.audit.spool import Spool, SpoolFullError

ROOM = 1 << 20


def payloads(spool: Spool, after: int = 0) -> list[bytes | None]:
    return [record.payload for record in spool.read(after, 1000)]


def newest_file(folder: Path) -> Path:
    return max(folder.glob("*.log"))


def test_records_come_back_in_order_and_by_number(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", ROOM)
    spool.append([b"one", b"two"])
    spool.append([b"three"])
    assert payloads(spool) == [b"one", b"two", b"three"]
    assert [record.number for record in spool.read(1, 1)] == [2]
    assert spool.newest == 3
    assert oct(newest_file(tmp_path / "spool").stat().st_mode & 0o777) == "0o600"


def test_another_process_goes_on_where_one_ended(tmp_path: Path) -> None:
    first = Spool(tmp_path, ROOM)
    first.append([b"one"])
    second = Spool(tmp_path, ROOM)
    second.append([b"two"])
    assert second.id == first.id
    assert payloads(second) == [b"one", b"two"]


@pytest.mark.parametrize("kept", [1, 10, 16, 18])
def test_a_torn_tail_is_cut_off_and_what_came_before_stays(tmp_path: Path, kept: int) -> None:
    spool = Spool(tmp_path, ROOM)
    spool.append([b"whole"])
    size = newest_file(tmp_path).stat().st_size
    spool.append([b"torn"])
    path = newest_file(tmp_path)
    path.write_bytes(path.read_bytes()[: size + kept])
    after = Spool(tmp_path, ROOM)
    assert payloads(after) == [b"whole"]
    assert path.stat().st_size == size
    after.append([b"again"])
    assert [(r.number, r.payload) for r in after.read(0, 9)] == [(1, b"whole"), (2, b"again")]


def test_damage_is_a_record_without_payload_and_the_rest_is_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ROOM)
    spool.append([b"first", b"second", b"third"])
    path = newest_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"second", b"secoXd"))
    for reader in (spool, Spool(tmp_path, ROOM)):
        assert [(r.number, r.payload) for r in reader.read(0, 9)] == [(1, b"first"), (2, None), (3, b"third")]
    reopened = Spool(tmp_path, ROOM)
    reopened.append([b"fourth"])
    assert payloads(reopened)[-1] == b"fourth"
    assert len({record.number for record in reopened.read(0, 9)}) == 4


def test_beyond_the_bound_nothing_is_taken_and_that_is_remembered(tmp_path: Path) -> None:
    times = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(9))
    spool = Spool(tmp_path, 1000, clock=lambda: next(times))
    spool.append([b"x" * 900])
    for _ in range(2):
        with pytest.raises(SpoolFullError, match="takes nothing more"):
            spool.append([b"y" * 90])
    assert payloads(spool) == [b"x" * 900]
    seen = Spool(tmp_path, 1000).refusals()
    assert seen is not None
    assert (seen.attempts, seen.until - seen.since) == (2, timedelta(minutes=1))
    with pytest.raises(SpoolFullError):
        spool.append([b"y" * 90])
    spool.forget_refusals(seen)
    left = spool.refusals()
    assert left is not None
    assert left.attempts == 1
    spool.forget_refusals(left)
    assert spool.refusals() is None


def test_a_disk_that_takes_no_more_leaves_whole_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, ROOM)
    spool.append([b"one"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SpoolFullError):
            spool.append([b"two"])
    assert payloads(Spool(tmp_path, ROOM)) == [b"one"]
    spool.append([b"three"])
    assert payloads(spool) == [b"one", b"three"]


def test_appending_ends_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, ROOM)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    spool.append([b"one"])
    assert len(synced) == 1


def test_delivered_segments_are_removed_and_numbers_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "_KEPT_BYTES", 0)
    spool = Spool(tmp_path, 16_000)
    for number in range(20):
        spool.append([bytes([number]) * 400])
    assert len(list(tmp_path.glob("*.log"))) > 5
    spool.release(10)
    assert payloads(spool, 10) == [bytes([number]) * 400 for number in range(10, 20)]
    spool.release(20)
    assert spool.used_bytes() == 0
    assert payloads(spool) == []
    again = Spool(tmp_path, 16_000)
    again.append([b"next"])
    assert [record.number for record in again.read(0, 9)] == [21]
