"""The console's pages in Chromium on a running lab: real sign-in, as three people, in both widths."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live.conftest import LiveLab
from tests.live.console import Person, made_workspace
from tests.web.browsing import PATIENCE_MS, WIDTHS, Visit, axe_source, chromium

pytestmark = pytest.mark.live

CUSTOMER = "/explorer/lake/retail/customer"
COUNT = "SELECT count(*) AS customers FROM retail.customer"
EFFECTIVE_S = 20
SLOW_MS = 120_000
"""Trino's first answers after a start, on a machine that does much else."""


@dataclass(frozen=True)
class Console:
    """The lab's console, and the passwords of its sample users."""

    lab: LiveLab
    browser: Browser
    url: str
    passwords: dict[str, str]
    axe: str

    def settled(self, sql: str, pattern: str) -> str:
        """The value that an analyst reads once OPA has fetched what was published, or else the last one."""
        deadline = time.monotonic() + EFFECTIVE_S
        while True:
            found: str = self.lab.value(sql, "analyst_emea")
            if re.fullmatch(pattern, found) or time.monotonic() > deadline:
                return found
            time.sleep(0.5)

    @contextmanager
    def visited_by(self, username: str, *, width: int = 1280, path: str = "/") -> Iterator[Visit]:
        """A window in which somebody asked for a page and then signed in at Keycloak's."""
        with Visit.opened(self.browser, self.url, self.axe, width=width) as visit:
            page = visit.page
            page.set_default_timeout(SLOW_MS)
            page.goto(self.url + path)
            page.get_by_role("link", name="Sign in").click()
            page.locator("#username").fill(username)
            page.locator("#password").fill(self.passwords[username])
            page.locator("#kc-login").click()
            page.wait_for_url(self.url + path)
            yield visit


@contextlib.contextmanager
def console_in(lab: LiveLab) -> Iterator[Console]:
    """The lab with its console, which leaves again."""
    with chromium() as browser:
        expect.set_options(timeout=SLOW_MS)
        lab.ok("up", "console")
        shown = lab.json("credentials")
        yield Console(
            lab=lab,
            browser=browser,
            url=shown["urls"]["control-plane"],
            passwords={one["username"]: one["password"] for one in shown["personas"]},
            axe=axe_source(),
        )
        expect.set_options(timeout=PATIENCE_MS)
        lab.ok("up", "--without", "console")


@pytest.fixture(scope="module")
def console(lab: LiveLab) -> Iterator[Console]:
    """The suite's lab with its console."""
    with console_in(lab) as found:
        yield found


@pytest.mark.parametrize("width", WIDTHS)
def test_an_analyst_goes_from_sign_in_to_a_dashboard(console: Console, width: int) -> None:
    with console.visited_by("analyst_emea", width=width, path=f"{CUSTOMER}/access") as visit:
        page = visit.page
        expect(page.get_by_role("heading", name="Why do I see this?")).to_be_visible()
        expect(page.get_by_text("region-by-key").first).to_be_visible()
        expect(page.get_by_text("2 columns hidden from you")).to_be_visible()
        visit.check()

        visit.go("/worksheet?new=1")
        visit.run_sql(COUNT)
        rows = console.lab.value(COUNT, "analyst_emea")
        expect(page.locator("[role=gridcell]").first).to_have_text(str(rows))
        visit.write_sql("SELECT c_mktsegment,\n  boom\nFROM retail.customer")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".cm-lintRange-error")).to_have_text("boom")
        visit.check()

        visit.run_sql(
            "SELECT c_mktsegment AS segment, count(*) AS customers\n"
            "FROM retail.customer WHERE c_acctbal > 0 GROUP BY 1 ORDER BY 2 DESC"
        )
        page.get_by_role("tab", name="Chart").click()
        expect(page.get_by_label("Kind")).to_have_value("bar")
        page.get_by_role("button", name="Save as a chart").click()
        dialog = page.get_by_role("dialog", name="Save as a chart")
        title = f"Customers by segment {width}"
        dialog.get_by_label("Title").fill(title)
        dialog.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("img", name=title)).to_be_visible()

        visit.go("/dashboards/new")
        settings = page.get_by_role("dialog", name="Dashboard")
        settings.get_by_label("Title").fill(f"Customers {width}")
        settings.get_by_role("button", name="Done").click()
        page.get_by_role("button", name="Add a tile").click()
        page.get_by_role("button", name=title).click()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("button", name="Change")).to_be_visible()
        expect(page.get_by_role("img", name=title)).to_be_visible()
        visit.check()


def test_members_of_a_workspace_have_its_chart_with_their_own_rows(console: Console) -> None:
    space = "live_team"
    with Person(console.lab, "engineer") as engineer:
        workspace = made_workspace(engineer, space)
        path = f"/api/v1/workspaces/{workspace['id']}"
        try:
            sent = {"X-CSRF-Token": engineer.csrf, "Origin": engineer.url}
            member = f"{engineer.url}{path}/members/analyst_emea"
            engineer.http.put(member, json={"owner": False}, headers=sent).raise_for_status()
            with console.visited_by("engineer", path="/worksheet?new=1") as visit:
                page = visit.page
                visit.run_sql(COUNT)
                page.get_by_role("tab", name="Chart").click()
                page.get_by_label("Kind").select_option("number")
                page.get_by_role("button", name="Save as a chart").click()
                dialog = page.get_by_role("dialog", name="Save as a chart")
                dialog.get_by_label("Title").fill("All customers")
                dialog.get_by_label("Belongs to").select_option(f"Workspace {space}")
                dialog.get_by_role("button", name="Save", exact=True).click()
                expect(page.get_by_role("heading", level=1)).to_contain_text(f"workspace {space}")
                address = page.url.removeprefix(console.url)
                _shows(console, page, "engineer")
            with console.visited_by("analyst_emea", path=f"/charts?workspace={workspace['id']}") as visit:
                visit.page.get_by_role("link", name="All customers").click()
                _shows(console, visit.page, "analyst_emea")
                expect(visit.page.get_by_role("button", name="Name and share")).to_be_visible()
                visit.check()
            with console.visited_by("analyst_amer", path=address) as visit:
                expect(visit.page.get_by_text("there is no chart of that id")).to_be_visible()
        finally:
            engineer.post(f"{path}/removal", {"tables": True})


def _shows(console: Console, page: Page, username: str) -> None:
    """The chart is the number that this person counts."""
    count = console.lab.value(COUNT, username)
    expect(page.get_by_role("main").get_by_text(f"{count:,}", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_of_a_steward_are_accessible(console: Console, width: int) -> None:
    with console.visited_by("steward", width=width) as visit:
        for path in (
            *("/", CUSTOMER, f"{CUSTOMER}/sample", f"{CUSTOMER}/lineage", "/explorer/lake/web"),
            *("/governance/tags", "/governance/rules", "/governance/grants", "/governance/exceptions"),
            *("/governance/history", "/audit", "/admin/health", "/admin/people", "/admin/publication"),
        ):
            visit.go(path)
            visit.check()


PHONE_PATHS = {
    "engineer": (
        *("/", "/explorer/lake/retail/orders", "/worksheet?new=1", "/jobs", "/jobs/new", "/workspaces"),
        *("/charts", "/admin/maintenance"),
    ),
    "admin": (
        *("/admin/health", "/admin/logs?service=trino", "/admin/versions", "/admin/people"),
        *("/admin/secrets", "/admin/maintenance", "/governance/grants"),
    ),
}


@pytest.mark.parametrize("username", PHONE_PATHS)
def test_pages_of_those_who_run_the_lab_fit_a_phone(console: Console, username: str) -> None:
    with console.visited_by(username, width=WIDTHS[-1]) as visit:
        for path in PHONE_PATHS[username]:
            visit.go(path)
            visit.check()


def test_partitions_of_a_table_are_told_by_field(console: Console) -> None:
    with console.visited_by("engineer", width=WIDTHS[-1], path="/explorer/lake/web/events/files") as visit:
        page = visit.page
        expect(page.get_by_text("by region, month(event_time)")).to_be_visible()
        grid = page.get_by_role("grid", name="Partitions")
        expect(grid.get_by_role("columnheader").nth(1)).to_contain_text("region")
        row = grid.get_by_role("row").nth(1).get_by_role("gridcell")
        expect(row.nth(0)).to_have_text("AMER")
        expect(row.nth(1)).to_have_text(re.compile(r"20\d\d-01"))
        expect(page.get_by_role("grid", name="Files").get_by_role("gridcell").first).to_be_visible()
        visit.check()


def test_a_steward_goes_from_a_tag_to_the_audit(console: Console) -> None:
    sql = "SELECT c_mktsegment FROM retail.customer LIMIT 1"
    plain = console.lab.value(sql, "analyst_emea")
    assert re.fullmatch("[A-Z]+", plain)
    with console.visited_by("steward", path="/governance/history") as visit:
        page = visit.page
        heading = page.get_by_role("heading", level=2, name=re.compile(r"Revision \d+"))
        before = int((heading.text_content() or "").split()[-1])
        visit.go("/governance/tags")
        page.get_by_role("button", name="Tag something").click()
        dialog = page.get_by_role("dialog", name="Tag something")
        dialog.get_by_label("Object").fill("retail.customer.c_mktsegment")
        dialog.get_by_label("Tag", exact=True).fill("customer.key")
        dialog.get_by_role("button", name="Collect").click()
        page.get_by_role("button", name="Review 1 change").click()
        page.get_by_role("button", name="Try it").click()
        expect(page.get_by_text("somebody sees less")).to_be_visible()
        expect(page.get_by_role("row", name=re.compile("analyst_emea.*retail.customer"))).to_be_visible()
        page.get_by_label("Why").fill("segments tell who a customer is")
        page.get_by_role("button", name="Publish", exact=True).click()
        expect(page.get_by_role("heading", level=2, name=f"Revision {before + 1}")).to_be_visible()
        expect(page.get_by_text(f"Revision {before + 1} is published").first).to_be_visible()
        assert re.fullmatch("[0-9a-f]{64}", console.settled(sql, "[0-9a-f]{64}"))

        page.get_by_role("list", name="Revisions").get_by_role("link", name=f"Revision {before}").click()
        page.get_by_role("button", name="Roll back to it").click()
        dialog = page.get_by_role("dialog", name=f"Roll back to revision {before}")
        dialog.get_by_role("checkbox", name="It may show somebody more than now").click()
        dialog.get_by_role("button", name="Roll back").click()
        expect(page.get_by_text(f"Revision {before + 2} is published").first).to_be_visible()
    assert console.settled(sql, plain) == plain
    with console.visited_by("auditor", path="/audit?user=analyst_emea&table=retail.customer") as visit:
        page = visit.page
        expect(page.get_by_text("c_mktsegment").first).to_be_visible()
        page.get_by_role("button", name=re.compile("c_mktsegment FROM retail.customer")).first.click()
        expect(page.get_by_role("link", name=re.compile(r"revision \d+")).first).to_be_visible()
        visit.check()


def test_signing_out_ends_the_sign_in_at_keycloak_too(console: Console) -> None:
    with console.visited_by("engineer") as visit:
        page = visit.page
        page.get_by_role("button", name="Account of engineer").click()
        page.get_by_role("menuitem", name="Sign out").click()
        sign_in = page.get_by_role("link", name="Sign in")
        expect(sign_in).to_be_visible()
        sign_in.click()
        expect(page.locator("#username")).to_be_visible()
