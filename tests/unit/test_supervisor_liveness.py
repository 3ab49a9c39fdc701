"""Services that are ended since nobody answers behind them, and started again in ways of their own."""

from __future__ import annotations

import os
import signal
import urllib.request
from dataclasses import replace
from functools import partial

import pytest

from contracts.errors import LabError
from placements.local.supervisor import Options, ProbeSpec, Restarts, ServiceSpec, ServiceState, ServiceStatus
from tests.unit.supervisor_lab import Lab, eventually, free_port, kill, lab

__all__ = ["lab"]


def with_liveness(lab: Lab, name: str, *words: str) -> ServiceSpec:
    port = lab.ports.setdefault(name, free_port())
    return lab.spec(name, *words, liveness=ProbeSpec(port=port, path="/", period_s=0.05))


def leave_unanswered(lab: Lab, name: str, number: int) -> None:
    """From now on as many requests find their connection closed."""
    url = f"http://127.0.0.1:{lab.ports[name]}/unanswered={number}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"well"


def test_a_service_behind_which_nobody_answers_any_more_is_started_again(lab: Lab) -> None:
    lab.client.apply(with_liveness(lab, "tunnel"))
    before = lab.process("tunnel")

    leave_unanswered(lab, "tunnel", 10**6)

    def again() -> ServiceStatus | None:
        found = lab.status("tunnel")
        return found if found.restarts and found.state is ServiceState.READY else None

    status = eventually(again, "that it is ready again")
    assert (status.restarts, status.pid != before.pid, before.alive) == (1, True, False)
    assert "it answered no more, 3 times in a row: port" in status.reason
    assert lab.events().count("tunnel unanswered") == Options().liveness_failures


def test_an_answer_in_between_keeps_a_service_as_it_is(lab: Lab) -> None:
    lab.client.apply(with_liveness(lab, "tunnel", "noted"))
    before, few = lab.process("tunnel"), Options().liveness_failures - 1

    asked = " ".join(["tunnel answered", *["tunnel unanswered"] * few, "tunnel answered"])
    for _ in range(3):
        lab.forget_events()
        leave_unanswered(lab, "tunnel", few)
        eventually(lambda: asked in " ".join(lab.events()), "that it is found well again")

    assert lab.process("tunnel") == before
    assert lab.status("tunnel").restarts == 0


def test_a_service_that_does_not_ask_for_it_is_not_looked_at(lab: Lab) -> None:
    lab.client.apply(lab.spec("tunnel"))
    leave_unanswered(lab, "tunnel", 1)
    lab.client.apply(lab.spec("other"))
    assert "tunnel unanswered" not in lab.events()


def test_what_hangs_is_stopped_all_the_same(lab: Lab) -> None:
    lab.client.apply(replace(with_liveness(lab, "tunnel"), stop_timeout_s=0.5))
    process = lab.process("tunnel")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        lab.client.stop(["tunnel"])
    finally:
        assert not process.alive
    assert lab.status("tunnel").state is ServiceState.STOPPED


def test_a_service_that_is_often_ended_is_started_again_without_a_growing_delay(lab: Lab) -> None:
    """Twelve times: without its own ways the last delay alone would be longer than anybody waits here."""
    own = Restarts(attempts=3, delay_max_s=1000.0, stable_s=0.0)
    lab.client.apply(lab.spec("tunnel", restarts=own))

    def ready_again(times: int) -> bool:
        status = lab.status("tunnel")
        return (status.restarts, status.state) == (times, ServiceState.READY)

    for number in range(1, 13):
        kill(lab.process("tunnel"))
        eventually(partial(ready_again, number), f"start {number}")


def test_a_service_has_its_own_number_of_attempts(lab: Lab) -> None:
    own = Restarts(attempts=5, delay_max_s=0.05, stable_s=0.0)
    with pytest.raises(LabError, match="ended with status 3"):
        lab.client.apply(lab.spec("tunnel", "fails", restarts=own))
    assert lab.events() == ["tunnel start"] * 5
    assert Options().of(own).delay_s(30) == 0.05
    assert Options().of(None) == Options()


def test_a_specification_is_read_as_it_was_written(lab: Lab) -> None:
    spec = lab.spec(
        "tunnel",
        liveness=ProbeSpec(port=1, statuses=(), verified=False, postgresql=True),
        restarts=Restarts(attempts=5, delay_max_s=0.5, stable_s=0.0),
    )
    assert ServiceSpec.from_json(spec.to_json()) == spec
    with pytest.raises(LabError, match="can't be read"):
        ServiceSpec.from_json(spec.to_json().replace('"attempts"', '"strange"'))
