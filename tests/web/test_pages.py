"""Every page, in each width and each theme: accessible, free of errors, nothing taken for markup."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from contracts.errors import LabError
from control_plane.api.identity.keycloak import unavailable
from control_plane.api.problems import UnavailableError, problem
from control_plane.api.queries.trino import trino_error
from tests.unit.test_trino_causes import FAILURE
from tests.web.browsing import WIDTHS, Theme, Visit
from tests.web.fake_workspaces import MARKETING
from tests.web.samples import NASTY

_CUSTOMER = "/explorer/lake/retail/customer"
_JOB = "/jobs/00000000-0000-4000-8000-000000000001"
PAGES = (
    ("analyst_emea", "/"),
    ("analyst_emea", "/worksheet"),
    ("analyst_emea", "/explorer"),
    ("analyst_emea", "/explorer/lake/retail"),
    ("analyst_emea", _CUSTOMER),
    ("analyst_emea", f"{_CUSTOMER}/sample"),
    ("analyst_emea", f"{_CUSTOMER}/snapshots?from=4418837261120045113&to=6029475298405621301"),
    ("analyst_emea", f"{_CUSTOMER}/files"),
    ("analyst_emea", "/explorer/lake/web/events/files"),
    ("analyst_emea", f"{_CUSTOMER}/lineage"),
    ("analyst_emea", f"{_CUSTOMER}/definition"),
    ("analyst_emea", "/chat"),
    ("analyst_emea", "/charts"),
    ("analyst_emea", "/dashboards"),
    ("analyst_emea", "/workspaces"),
    ("analyst_emea", f"/workspaces/{MARKETING}"),
    ("analyst_emea", f"/workspaces/{MARKETING}/members"),
    ("analyst_emea", f"/workspaces/{MARKETING}/files"),
    ("analyst_emea", f"/workspaces/{MARKETING}/connections"),
    ("analyst_emea", f"/workspaces/{MARKETING}/ingests"),
    ("analyst_emea", "/governance/tags"),
    ("analyst_emea", "/nowhere"),
    ("engineer", "/jobs"),
    ("engineer", "/jobs/new"),
    ("engineer", _JOB),
    ("engineer", f"{_JOB}/edit"),
    ("engineer", f"{_JOB}/runs/00000000-0000-4000-8000-00000000000f"),
    ("steward", f"{_CUSTOMER}/access"),
    ("steward", "/governance/tags"),
    ("steward", "/governance/rules"),
    ("steward", "/governance/grants"),
    ("steward", "/governance/exceptions"),
    ("steward", "/governance/review"),
    ("steward", "/governance/history"),
    ("auditor", "/audit"),
    ("auditor", "/audit?query_id=20260115_093002_00002_fakes"),
    ("admin", "/admin/health"),
    ("admin", "/admin/logs?service=trino"),
    ("admin", "/admin/maintenance"),
    ("admin", "/admin/versions"),
    ("admin", "/admin/people"),
    ("admin", "/admin/secrets"),
    ("admin", "/admin/publication"),
)


@pytest.mark.parametrize(("width", "theme"), [*zip(WIDTHS, ("light", "dark"), strict=True)])
def test_every_page_is_accessible(
    browser: Browser, fake_url: str, axe: str, width: int, theme: Theme
) -> None:
    """One window a person, so that pages come as they do in daily work: one after the other."""
    with Visit.opened(browser, fake_url, axe, width=width, theme=theme) as visit:
        signed_in = ""
        for user, path in PAGES:
            if user != signed_in:
                visit.sign_in_at_the_fake(user)
                signed_in = user
            visit.go(path)
            visit.check()
            assert visit.page.evaluate("window.hacked") is None
        assert visit.page.evaluate("document.documentElement.classList.contains('dark')") is (theme == "dark")


@pytest.mark.parametrize("width", WIDTHS)
def test_landing_leads_to_the_sign_in_and_back(browser: Browser, fake_url: str, axe: str, width: int) -> None:
    with Visit.opened(browser, fake_url, axe, width=width) as visit:
        page = visit.go("/explorer/lake/retail?x=1")
        visit.check()
        link = page.get_by_role("link", name="Sign in")
        expect(link).to_have_attribute("href", "/auth/login?next=%2Fexplorer%2Flake%2Fretail%3Fx%3D1")
        link.click()
        expect(page.get_by_role("heading", level=1, name="retail")).to_be_visible()


def test_dialogs_are_accessible(visit: Visit) -> None:
    page = visit.go("/")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("customer")
    expect(page.get_by_role("option", name="customer lake.retail")).to_be_visible()
    visit.check_dialog()
    page.keyboard.press("Escape")
    expect(page.get_by_role("combobox")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    visit.check_dialog()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Account of analyst_emea").click()
    expect(page.get_by_text("analysts_emea", exact=True)).to_be_visible()
    visit.check_dialog()
    visit.sign_in_at_the_fake("steward")
    page = visit.go("/governance/rules/region-by-key")
    expect(page.get_by_role("dialog", name="region-by-key")).to_be_visible()
    visit.check_dialog()
    page = visit.go("/governance/exceptions")
    page.get_by_role("button", name="Break glass").click()
    expect(page.get_by_role("dialog", name="Break glass")).to_be_visible()
    visit.check_dialog()


def test_partitions_have_their_fields_and_their_values_their_names(visit: Visit) -> None:
    page = visit.go("/explorer/lake/web/events/files")
    expect(page.get_by_text("4 partitions, the first of more, by region, month(at)")).to_be_visible()
    grid = page.get_by_role("grid", name="Partitions")
    expect(grid.get_by_role("columnheader")).to_contain_text(
        ["Row", "region", "month(at)", "record_count", "file_count", "total_size"]
    )
    rows = grid.get_by_role("row")
    expect(rows.nth(1).get_by_role("gridcell").first).to_have_text("null")
    expect(rows.nth(2).get_by_role("gridcell").first).to_have_text(NASTY)
    for number, month in ((3, "2025-12"), (4, "2026-01")):
        expect(rows.nth(number).get_by_role("gridcell")).to_contain_text(["EMEA", month, "5000", "2"])
    grid.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="data")
    expect(dialog.locator("pre")).to_contain_text('"max": 5000')
    visit.check_dialog()
    visit.go("/explorer/lake/retail/orders/files")
    expect(page.get_by_text("1 partition, not partitioned: all files are one part")).to_be_visible()
    expect(page.get_by_role("grid", name="Files")).to_be_visible()
    visit.go(f"{_CUSTOMER}/files")
    expect(page.get_by_text("this table has rules for you")).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_pages_are_reached_without_a_mouse(visit: Visit) -> None:
    page = visit.go("/")
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.get_by_role("heading", level=1, name="Explorer")).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("dashboards")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Dashboards")).to_be_visible()
    page.get_by_role("button", name="Account of analyst_emea").click()
    page.get_by_role("menuitemcheckbox", name="Single-letter shortcuts").click()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", level=1, name="Dashboards")).to_be_visible()


def test_the_theme_is_chosen_and_kept(visit: Visit) -> None:
    page = visit.go("/")
    page.get_by_role("button", name="Account of analyst_emea").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    dark = "document.documentElement.classList.contains('dark')"
    assert page.evaluate(dark)
    page.reload(wait_until="commit")
    page.wait_for_selector("#root > *")
    assert page.evaluate(dark)


def test_an_ended_session_says_so_and_keeps_the_text(visit: Visit) -> None:
    page = visit.go("/worksheet")
    visit.write_sql("SELECT 1 AS kept")
    page.wait_for_timeout(600)
    page.context.clear_cookies()
    page.keyboard.press("Control+Enter")
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog).to_be_visible()
    dialog.get_by_role("link", name="Sign in again").click()
    expect(page.locator(".cm-content")).to_contain_text("SELECT 1 AS kept")


def test_what_is_away_is_said_and_comes_back_by_itself(visit: Visit) -> None:
    page = visit.page
    away = {"title": "the governor does not answer", "status": 503, "next_command": "lab status"}
    page.route("**/api/v1/access/revisions?*", lambda route: route.fulfill(status=503, json=away))
    visit.sign_in_at_the_fake("steward")
    page.goto(f"{visit.url}/governance/history")
    expect(page.get_by_text("the governor does not answer")).to_be_visible()
    expect(page.get_by_text("This page tries again by itself")).to_be_visible()
    page.unroute("**/api/v1/access/revisions?*")
    expect(page.get_by_role("list", name="Revisions")).to_be_visible()


_OPA_AWAY = trino_error(
    {
        "message": "Failed to query OPA backend",
        "errorName": "GENERIC_INTERNAL_ERROR",
        "errorType": "INTERNAL_ERROR",
        "failureInfo": FAILURE,
    },
    None,
)
_TRINO_AWAY = UnavailableError("Trino does not answer", next_command="lab status")
_POSTGRESQL_AWAY = UnavailableError("the console's database does not answer", next_command="lab status")
_TABLES = ("/explorer/lake/retail", "**/api/v1/catalogs/lake/namespaces/retail/tables", "Tables of retail")
_JOBS = ("/jobs", "**/api/v1/jobs*", "Jobs")


def _fail(page: Page, asks: str, error: LabError) -> None:
    """Requests are answered by an error of the back end's own, as it sends it."""
    answer = problem(error)
    body = json.loads(bytes(answer.body))
    page.route(asks, lambda route: route.fulfill(status=answer.status_code, json=body))


@pytest.mark.parametrize(
    ("error", "told", "path", "asks", "label"),
    [
        pytest.param(_OPA_AWAY, "OPA does not answer", *_TABLES, id="opa"),
        pytest.param(_TRINO_AWAY, "Trino does not answer", *_TABLES, id="trino"),
        pytest.param(unavailable(), "Keycloak does not answer", *_TABLES, id="keycloak"),
        pytest.param(_POSTGRESQL_AWAY, "the console's database does not answer", *_JOBS, id="postgresql"),
    ],
)
def test_the_service_that_is_away_is_named_and_the_page_recovers(
    visit: Visit, error: LabError, told: str, path: str, asks: str, label: str
) -> None:
    page = visit.page
    _fail(page, asks, error)
    visit.sign_in_at_the_fake("engineer")
    page.goto(f"{visit.url}{path}")
    main = page.get_by_role("main")
    # The tree beside the list may ask the same.
    expect(main.get_by_role("alert").filter(has_text=told).first).to_be_visible()
    expect(main.get_by_text("This page tries again by itself").first).to_be_visible()
    page.unroute(asks)
    expect(main.get_by_label(label, exact=True)).to_be_visible()
    expect(page.get_by_text(told)).to_have_count(0)


@pytest.mark.parametrize("error", [unavailable(), _POSTGRESQL_AWAY], ids=["keycloak", "postgresql"])
def test_a_console_that_knows_nobody_says_why_and_opens_by_itself(visit: Visit, error: LabError) -> None:
    page = visit.page
    _fail(page, "**/api/v1/me", error)
    visit.sign_in_at_the_fake("engineer")
    page.goto(f"{visit.url}/jobs")
    expect(page.get_by_role("heading", name="The console is not available")).to_be_visible()
    expect(page.get_by_text(error.what)).to_be_visible()
    page.unroute("**/api/v1/me")
    expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()


@pytest.mark.parametrize("error", [unavailable(), _POSTGRESQL_AWAY], ids=["keycloak", "postgresql"])
def test_who_wants_to_sign_in_is_told_what_is_away_until_it_is_back(
    browser: Browser, fake_url: str, axe: str, error: LabError
) -> None:
    with Visit.opened(browser, fake_url, axe) as visit:
        page = visit.page
        _fail(page, "**/auth/ready", error)
        visit.go("/dashboards")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(error.what)
        expect(alert).to_contain_text("This page tries again by itself")
        visit.check()
        page.unroute("**/auth/ready")
        expect(alert).to_have_count(0)
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_dialog_that_is_being_filled_in_stays_while_the_console_is_away(visit: Visit) -> None:
    asks = f"**/api/v1/workspaces/{MARKETING}"

    def still_made(route: Route) -> None:
        if route.request.method != "GET":
            route.continue_()
            return
        found = route.fetch()
        route.fulfill(response=found, json={**found.json(), "state": "making"})

    # Its page looks again while it is made.
    visit.page.route(asks, still_made)
    page = visit.go(f"/workspaces/{MARKETING}")
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog", name="Settings of marketing")
    dialog.get_by_label("What it is for").fill("Half written")
    with visit.away(asks):
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text("the console's database does not answer")
        expect(dialog.get_by_text("This page tries again by itself")).to_have_count(0)
        expect(dialog.get_by_label("What it is for")).to_have_value("Half written")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("Half written").first).to_be_visible()


def test_a_board_that_is_being_changed_stays_while_the_console_is_away(visit: Visit) -> None:
    page = visit.go("/dashboards/new")
    dialog = page.get_by_role("dialog", name="Dashboard")
    dialog.get_by_label("Title").fill("Sales")
    dialog.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Change").click()
    page.get_by_role("button", name="Add a tile").click()
    page.get_by_role("button", name="A text").click()
    with visit.away(page.url.replace("/dashboards/", "/api/v1/dashboards/")):
        expect(page.get_by_role("button", name="Move Text")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Change")).to_be_visible()
