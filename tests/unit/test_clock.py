"""The machine's clock moved by an hour, or the machine asleep for one: what goes by time goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx

from cli.tokens import Tokens
from governance.governor import loops
from governance.governor.loops import Loop
from seed.tokens import ClientCredentials

TOKEN_URL = "http://127.0.0.1:1/token"
HOUR_S = 3600.0


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the day; the one that only counts on stays as it is."""
    real = time.time

    def by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return by


@respx.mock
@pytest.mark.parametrize("moved_s", [HOUR_S, -HOUR_S])
def test_a_service_account_gets_a_new_token(move: Callable[[float], None], moved_s: float) -> None:
    answers = [httpx.Response(200, json={"access_token": f"t{n}", "expires_in": 300}) for n in range(2)]
    route = respx.post(TOKEN_URL).mock(side_effect=answers)
    tokens = ClientCredentials(token_url=TOKEN_URL, client_id="seeder", client_secret="s")
    assert (tokens(), tokens()) == ("t0", "t0")
    move(moved_s)
    assert (tokens(), tokens()) == ("t1", "t1")
    assert route.call_count == 2


@pytest.mark.parametrize("moved_s", [HOUR_S, -HOUR_S])
def test_a_persons_token_is_not_fresh_any_more(move: Callable[[float], None], moved_s: float) -> None:
    now = time.time()
    tokens = Tokens(access_token="a", refresh_token=None, expires_at_s=now + 300, issued_at_s=now)
    assert tokens.fresh
    move(moved_s)
    assert not tokens.fresh


class Counted:
    """Work that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.ran = threading.Semaphore(0)

    def __call__(self) -> float | None:
        self.runs += 1
        self.ran.release()
        return None


@pytest.mark.parametrize("moved_s", [HOUR_S, -HOUR_S])
def test_the_governor_signs_anew_at_once(monkeypatch: pytest.MonkeyPatch, moved_s: float) -> None:
    monkeypatch.setattr(loops, "CLOCK_CHECK_S", 0.01)
    apart = [0.0]
    work, errors = Counted(), dict[str, Any]()
    loop = Loop(
        "publish",
        work,
        wake=threading.Event(),
        every_s=HOUR_S,
        errors=errors,
        clock=lambda: time.monotonic() + apart[0],
    )
    loop.start()
    try:
        assert work.ran.acquire(timeout=10)
        apart[0] = 5.0  # what a time service corrects is no reason
        assert not work.ran.acquire(timeout=0.2)
        apart[0] = moved_s
        assert work.ran.acquire(timeout=10)
        assert not work.ran.acquire(timeout=0.2)
        assert work.runs == 2
    finally:
        assert loop.stop(10)
