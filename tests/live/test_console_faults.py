"""What a person sees in Chromium while a service of a running lab is away: which one it is, that the page
asks again by itself, and then the page as it was, never reloaded."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.live.conftest import LiveLab
from tests.live.injection import kill_service, status, wait_for_return, wait_until_ready
from tests.live.test_console_api import SLOW
from tests.live.test_console_browser import COUNT, SLOW_MS, Console, console_in
from tests.web.browsing import Visit

pytestmark = pytest.mark.live

AGAIN = "This page tries again by itself"


@pytest.fixture(scope="module")
def console(lab: LiveLab) -> Iterator[Console]:
    """The suite's lab with its console."""
    with console_in(lab) as found:
        yield found


@contextlib.contextmanager
def stopped(lab: LiveLab, name: str) -> Iterator[None]:
    """The service is ended, and comes back."""
    lab.supervisor.stop([name])
    try:
        yield
    finally:
        lab.supervisor.start([name])
        wait_until_ready(lab)


@contextlib.contextmanager
def frozen(lab: LiveLab, name: str) -> Iterator[None]:
    """The service takes connections and answers none (SIGSTOP), and goes on."""
    pid = status(lab, name).pid
    assert pid is not None, f"{name} does not run"
    process = psutil.Process(pid)
    whole = [process, *process.children(recursive=True)]
    for one in whole:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(one.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in whole:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                os.kill(one.pid, signal.SIGCONT)
        wait_until_ready(lab)


def _tables(page: Page) -> None:
    expect(page.get_by_role("main").get_by_label("Tables of retail", exact=True)).to_be_visible()


def _boards(page: Page) -> None:
    expect(page.get_by_role("heading", level=1, name="Dashboards")).to_be_visible()
    main = page.get_by_role("main")
    expect(main.get_by_text("No dashboard yet").or_(main.get_by_role("listitem").first)).to_be_visible()


Fault = Callable[[LiveLab, str], contextlib.AbstractContextManager[None]]
RETAIL = "/explorer/lake/retail"
DATABASE = "the console's database does not answer"


def _to(page: Page, path: str) -> None:
    """To another page without loading anything anew, as a link of the console's leads there."""
    page.evaluate(
        "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }", path
    )


# What one person was told is kept for a while: each case that reads tables has a person of its own.
@pytest.mark.parametrize(
    ("fault", "service", "username", "path", "told", "back"),
    [
        pytest.param(stopped, "trino", "analyst_emea", RETAIL, "Trino does not answer", _tables, id="trino"),
        pytest.param(
            frozen, "trino", "analyst_amer", RETAIL, "Trino does not answer", _tables, id="trino-frozen"
        ),
        pytest.param(stopped, "opa", "steward", RETAIL, "OPA does not answer", _tables, id="opa"),
        pytest.param(
            stopped, "keycloak", "engineer", RETAIL, "Keycloak does not answer", _tables, id="keycloak"
        ),
        pytest.param(stopped, "postgres", "analyst_emea", "/dashboards", DATABASE, _boards, id="postgresql"),
        pytest.param(
            frozen, "postgres", "engineer", "/dashboards", DATABASE, _boards, id="postgresql-frozen"
        ),
    ],
)
def test_the_page_says_which_service_is_away_and_recovers_by_itself(
    console: Console,
    fault: Fault,
    service: str,
    username: str,
    path: str,
    told: str,
    back: Callable[[Page], None],
) -> None:
    # Jobs are the console's own: nothing was asked of anybody else yet, and no token is there for it.
    with console.visited_by(username, path="/jobs") as visit:
        page = visit.settle()
        page.evaluate("window.neverReloaded = true")
        main = page.get_by_role("main")
        with fault(console.lab, service):
            _to(page, path)
            expect(main.get_by_role("alert").filter(has_text=told).first).to_be_visible()
            expect(main.get_by_text(AGAIN).first).to_be_visible()
            visit.check()
        back(page)
        expect(page.get_by_text(told)).to_have_count(0)
        assert page.evaluate("window.neverReloaded"), "it was loaded anew"


@pytest.mark.parametrize("service", ["keycloak", "postgres"])
def test_who_wants_to_sign_in_is_told_what_is_away_and_signs_in_once_it_is_back(
    console: Console, service: str
) -> None:
    told = {"keycloak": "Keycloak does not answer", "postgres": DATABASE}[service]
    with Visit.opened(console.browser, console.url, console.axe) as visit:
        page = visit.page
        page.set_default_timeout(SLOW_MS)
        with stopped(console.lab, service):
            page.goto(f"{console.url}/jobs")
            alert = page.get_by_role("alert")
            expect(alert).to_contain_text(told)
            expect(alert).to_contain_text(AGAIN)
        expect(alert).to_have_count(0)
        page.get_by_role("link", name="Sign in").click()
        page.locator("#username").fill("analyst_emea")
        page.locator("#password").fill(console.passwords["analyst_emea"])
        page.locator("#kc-login").click()
        expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()


def test_a_statement_that_trino_took_away_says_so_and_runs_again(console: Console) -> None:
    """Trino ends in the middle of a query: the worksheet keeps the text, says what happened, and the next
    run succeeds."""
    with console.visited_by("analyst_emea", path="/worksheet?new=1") as visit:
        page = visit.settle()
        visit.write_sql(SLOW)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
        pid = kill_service(console.lab, "trino")
        result = page.get_by_role("tabpanel", name="Result")
        expect(result.get_by_role("alert").filter(has_text="Trino")).to_be_visible()
        expect(page.locator(".cm-content")).to_contain_text("CROSS JOIN")
        wait_for_return(console.lab, "trino", pid)
        visit.run_sql(COUNT)
        rows = console.lab.value(COUNT, "analyst_emea")
        expect(page.locator("[role=gridcell]").first).to_have_text(str(rows))
