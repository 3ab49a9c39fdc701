"""Admin's pages: logs that are followed, and what maintenance did and would do."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.web.browsing import Visit


def test_a_log_is_followed_and_searched(visit: Visit) -> None:
    visit.sign_in_at_the_fake("admin")
    page = visit.go("/admin/health")
    page.get_by_role("tab", name="Logs").click()
    page.get_by_label("Service").select_option("trino")
    expect(page).to_have_url(f"{visit.url}/admin/logs?service=trino")
    log = page.get_by_role("region", name="Log of trino")
    expect(log).to_contain_text("INFO trino line 199")
    expect(log).to_contain_text("onerror=")
    expect(log).to_contain_text("trino line at 1")
    expect(page.get_by_text("older ones left out")).to_be_visible()
    page.get_by_role("searchbox", name="Show lines that have").fill("warn table")
    expect(log).not_to_contain_text("INFO trino line 199")
    expect(log).to_contain_text("WARN no table")
    page.get_by_role("switch", name="Follow").click()
    visit.check()
    assert page.evaluate("window.hacked") is None


def test_logs_that_are_elsewhere_name_the_command(visit: Visit) -> None:
    visit.sign_in_at_the_fake("admin")
    absent = {
        "title": "the services' logs are not kept where this console runs",
        "status": 404,
        "next_command": "lab logs SERVICE",
    }
    visit.page.route("**/api/v1/admin/logs", lambda route: route.fulfill(status=404, json=absent))
    page = visit.go("/admin/logs")
    expect(page.get_by_text("lab logs SERVICE")).to_be_visible()
    visit.check()


def test_only_admins_are_offered_logs(visit: Visit) -> None:
    page = visit.go("/admin/maintenance")
    expect(page.get_by_role("tab", name="Maintenance")).to_be_visible()
    expect(page.get_by_role("tab", name="Logs")).to_have_count(0)
    page = visit.go("/admin/logs")
    expect(page.get_by_role("alert")).to_contain_text("may not read the services' logs")


def test_maintenance_is_reported_and_planned(visit: Visit) -> None:
    visit.sign_in_at_the_fake("engineer")
    page = visit.go("/admin/maintenance")
    expect(page.get_by_role("cell", name="40 → 2")).to_be_visible()
    page.get_by_label("Table", exact=True).select_option("retail.orders")
    page.get_by_role("button", name="What would be done").click()
    expect(page.get_by_text("lab maintain retail.orders")).to_be_visible()
    expect(page.get_by_text("38 small files").first).to_be_visible()
    expect(page.get_by_role("region", name="Maintenance policies")).to_contain_text("min_files: 100")
    visit.check()
    page.get_by_role("button", name="retail.orders").click()
    dialog = page.get_by_role("dialog", name="Maintenance of retail.orders")
    expect(dialog).to_contain_text("a query reads the table")
    expect(dialog).to_contain_text("EXECUTE optimize")


def test_secrets_are_listed_and_all_other_sessions_ended(visit: Visit) -> None:
    visit.sign_in_at_the_fake("admin")
    page = visit.go("/admin/secrets")
    expect(page.get_by_text("The services that hold one start again")).to_be_visible()
    secrets = page.get_by_role("table", name="Secrets")
    for title, command, services in (
        ("Passwords of the sample users", "lab rotate people", "no service"),
        ("Keys of the object store's users", "lab rotate keys", "catalog, governor, opa"),
        ("Key of pseudonyms", "nothing: pseudonyms that people kept", "governor"),
    ):
        row = secrets.get_by_role("row", name=title).get_by_role("cell")
        expect(row).to_contain_text([title, command, services])
    visit.check()
    page.get_by_role("button", name="End all sessions but mine").click()
    page.get_by_role("dialog").get_by_role("button", name="End them").click()
    expect(page.get_by_text("3 sessions ended")).to_be_visible()
    visit.sign_in_at_the_fake("analyst_emea")
    page = visit.go("/admin/people")
    expect(page.get_by_role("tab", name="Secrets")).to_have_count(0)
    page = visit.go("/admin/secrets")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
