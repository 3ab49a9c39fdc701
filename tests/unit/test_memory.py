"""How much memory there is, by the machine and by the limits of control groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.steps import memory_needed_mib, smaller_labs
from components.registry import COMPONENTS, selected
from contracts.errors import PreflightError
from contracts.settings import SETTINGS
from placements.local import preflight
from placements.local.memory import Memory, memory

GIB, MIB = 1 << 30, 1 << 20
UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with 20 GiB free, whatever it is."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=20 * GIB))


def system(folder: Path, cgroup: str, files: Mapping[str, str]) -> Memory:
    """What is found where /proc and /sys/fs/cgroup are as given."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return memory(folder / "proc", folder / "cgroup")


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert memory(tmp_path / "proc", tmp_path / "cgroup") == Memory(available_mib=20 * 1024)


def test_a_container_with_its_own_group_at_the_top(tmp_path: Path) -> None:
    """As Docker and Podman run it on current systems."""
    found = system(
        tmp_path,
        "0::/\n",
        {
            "memory.max": f"{4 * GIB}\n",
            "memory.current": f"{2 * GIB}\n",
            "memory.stat": f"anon {GIB}\ninactive_file {GIB}\nactive_file 0\n",
        },
    )
    assert found == Memory(available_mib=3 * 1024, limit_mib=4096)
    assert str(found) == "3072 MiB are available (a control group limits this to 4096 MiB)"


def test_the_tightest_of_all_groups_above_counts(tmp_path: Path) -> None:
    """A systemd unit in a slice with a limit; the unit itself has none."""
    found = system(
        tmp_path,
        "0::/user.slice/lab.service\n",
        {
            "user.slice/lab.service/memory.max": "max\n",
            "user.slice/lab.service/memory.current": "1\n",
            "user.slice/memory.max": f"{GIB}\n",
            "user.slice/memory.current": f"{GIB - 100 * MIB}\n",
            "user.slice/memory.stat": "inactive_file 0\n",
        },
    )
    assert found == Memory(available_mib=100, limit_mib=1024)


@pytest.mark.parametrize("group", ["docker/abc", "."], ids=["path seen", "only its own group seen"])
def test_the_older_hierarchy(tmp_path: Path, group: str) -> None:
    found = system(
        tmp_path,
        "9:name=systemd:/\n4:memory:/docker/abc\n0::/\n",
        {
            f"memory/{group}/memory.limit_in_bytes": f"{2 * GIB}\n",
            f"memory/{group}/memory.usage_in_bytes": f"{GIB}\n",
            f"memory/{group}/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 2}\n",
        },
    )
    assert found == Memory(available_mib=1536, limit_mib=2048)


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    files = {"memory/memory.limit_in_bytes": UNLIMITED_V1, "memory/memory.usage_in_bytes": str(30 * GIB)}
    assert system(tmp_path, "4:memory:/\n", files) == Memory(available_mib=20 * 1024)


def test_a_group_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    files = {"memory.max": str(GIB), "memory.current": str(2 * GIB)}
    assert system(tmp_path, "0::/\n", files).available_mib == 0


CHOSEN = selected(("trino",), "nessie")
DEFAULT_MIB = memory_needed_mib(CHOSEN, {})


def allow(monkeypatch: pytest.MonkeyPatch, mib: int) -> None:
    limited = Memory(available_mib=mib, limit_mib=4096)
    monkeypatch.setattr("placements.local.preflight.memory", lambda: limited)


def test_the_default_lab_fits_in_4_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside this command, its engine and the supervisor, which the reserve is for."""
    allow(monkeypatch, 4096 - 150)
    preflight.check_memory(DEFAULT_MIB, smaller=smaller_labs(CHOSEN, {}))
    assert DEFAULT_MIB > 2200


@pytest.mark.parametrize(
    ("available_mib", "next_command"),
    [
        (DEFAULT_MIB + 511, "lab up --set trinoHeapMib=640"),
        (2500, "lab up --core"),
        (1000, "more memory, or a higher limit, then lab up"),
    ],
)
def test_too_little_is_refused_with_what_would_fit(
    monkeypatch: pytest.MonkeyPatch, available_mib: int, next_command: str
) -> None:
    allow(monkeypatch, available_mib)
    with pytest.raises(PreflightError, match="control group limits this to 4096 MiB") as caught:
        preflight.check_memory(DEFAULT_MIB, smaller=smaller_labs(CHOSEN, {}))
    assert caught.value.next_command == next_command


def test_a_larger_heap_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_needed_mib(CHOSEN, {"trinoHeapMib": "8192"}) == DEFAULT_MIB + 8192 - 1024
    allow(monkeypatch, 6000)
    with pytest.raises(PreflightError):
        preflight.check_memory(memory_needed_mib(CHOSEN, {"trinoHeapMib": "8192"}))


def test_every_heap_setting_is_a_setting() -> None:
    named = {info.heap_setting for info in COMPONENTS.values() if info.heap_setting}
    assert named <= {setting.key for setting in SETTINGS}
    assert named == {"trinoHeapMib", "sparkHeapMib"}
