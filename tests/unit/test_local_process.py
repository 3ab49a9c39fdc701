"""``lab:Process`` without the engine: state, event, state."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LabError
from placements.local.process import ProcessProvider
from placements.local.supervisor import ServiceState
from tests.unit.supervisor_lab import Lab, eventually, lab

__all__ = ["lab"]


def properties(lab: Lab, name: str = "one", *words: str, plan: str = "1", **more: Any) -> dict[str, Any]:
    spec = lab.spec(name, *words, plan=plan, **more)
    return {
        "home": str(lab.home),
        "name": name,
        "spec": spec.to_json(),
        "plan_hash": plan,
        "digest": "1",
        "artifacts": [],
        "cache": str(lab.home / "cache"),
    }


def test_create_returns_once_the_service_is_ready_and_then_nothing_differs(lab: Lab) -> None:
    provider, props = ProcessProvider(), properties(lab, delay_s=0.2)

    created = provider.create(dict(props))

    assert created.outs == props
    assert lab.status("one").state is ServiceState.READY
    assert provider.diff(created.id, props, dict(props)).changes is False


def test_create_adopts_what_runs_with_the_same_plan(lab: Lab) -> None:
    provider, props = ProcessProvider(), properties(lab)
    provider.create(dict(props))
    before = lab.process("one")

    provider.create(dict(props))

    assert lab.process("one") == before


def test_a_changed_plan_is_an_update_that_restarts(lab: Lab) -> None:
    provider, old, new = ProcessProvider(), properties(lab), properties(lab, plan="2")
    created = provider.create(dict(old))
    before = lab.process("one")

    diff = provider.diff(created.id, old, new)
    assert diff.changes is True
    assert diff.replaces == []
    updated = provider.update(created.id, old, dict(new))

    assert updated.outs == new
    assert lab.process("one") != before
    assert provider.diff(created.id, new, dict(new)).changes is False


@pytest.mark.parametrize("event", ["stopped", "reboot", "removed"])
def test_an_unchanged_plan_heals(lab: Lab, event: str) -> None:
    provider, props = ProcessProvider(), properties(lab)
    created = provider.create(dict(props))
    process = lab.process("one")
    if event == "stopped":
        lab.client.stop_all()
    elif event == "removed":
        lab.client.remove("one")
    else:
        lab.kill_supervisor()
        os.kill(process.pid, 9)
        eventually(lambda: not process.alive, "its end")

    assert provider.diff(created.id, props, dict(props)).changes is True
    provider.update(created.id, props, dict(props))

    assert lab.status("one").state is ServiceState.READY
    assert provider.diff(created.id, props, dict(props)).changes is False


def test_a_preview_with_the_supervisor_down_says_update_and_starts_nothing(lab: Lab) -> None:
    provider, props = ProcessProvider(), properties(lab)
    created = provider.create(dict(props))
    lab.client.shutdown()

    assert provider.diff(created.id, props, dict(props)).changes is True
    assert provider.read(created.id, dict(props)).outs == props
    assert not lab.client.running()
    assert lab.marked() == []


def test_another_home_or_name_is_a_replacement_that_frees_the_ports_first(lab: Lab) -> None:
    props = properties(lab)

    diff = ProcessProvider().diff("id", props, {**props, "home": "/elsewhere"})

    assert diff.replaces == ["home"]
    assert diff.delete_before_replace is True


def test_read_tells_what_is_declared(lab: Lab) -> None:
    provider, props = ProcessProvider(), properties(lab)
    created = provider.create(dict(props))
    lab.client.apply(lab.spec("one", plan="by hand"))

    assert provider.read(created.id, dict(props)).outs == {**props, "plan_hash": "by hand"}
    assert provider.diff(created.id, props, dict(props)).changes is True

    lab.client.remove("one")
    assert provider.read(created.id, dict(props)).id == ""


def test_delete_stops_it_and_keeps_its_data(lab: Lab) -> None:
    provider, props = ProcessProvider(), properties(lab)
    created = provider.create(dict(props))
    process = lab.process("one")
    kept = lab.home / "data" / "one" / "kept"
    kept.write_text("kept")

    provider.delete(created.id, dict(props))
    provider.delete(created.id, dict(props))

    assert not process.alive
    assert kept.exists()
    assert lab.client.status() == []


def test_a_failure_says_what_the_service_said(lab: Lab) -> None:
    with pytest.raises(LabError, match=re.compile("cannot find my configuration")):
        ProcessProvider().create(properties(lab, "one", "fails"))


def test_the_provider_is_pickled_by_reference() -> None:
    """State would hold the class's code otherwise."""
    provider = ProcessProvider()
    assert vars(provider) == {}
    assert len(pickle.dumps(provider)) < 100


def test_an_unknown_artifact_is_refused_before_anything_starts(lab: Lab, tmp_path: Path) -> None:
    props = {**properties(lab), "artifacts": ["postgresq"], "cache": str(tmp_path)}

    with pytest.raises(LabError, match="did you mean 'postgresql'"):
        ProcessProvider().create(props)

    assert not lab.client.running()
