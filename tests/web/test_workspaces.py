"""Workspaces: made, filled from a file, connected, and removed only when that is meant."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Request, expect

from tests.web.browsing import Visit
from tests.web.fake_workspaces import MARKETING

_PATH = f"/workspaces/{MARKETING}"


def test_a_workspace_is_made(visit: Visit) -> None:
    visit.sign_in_at_the_fake("admin")
    page = visit.go("/workspaces")
    expect(page.get_by_role("link", name="marketing")).to_contain_text("owner")
    page.get_by_role("button", name="New workspace").click()
    dialog = page.get_by_role("dialog", name="New workspace")
    dialog.get_by_label("Name", exact=True).fill("Not A Name")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.get_by_text("this can't be the name of a workspace")).to_be_visible()
    dialog.get_by_label("Name", exact=True).fill("finance")
    visit.check_dialog()
    dialog.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1, name="finance")).to_be_visible()


def test_a_file_is_looked_into_and_ingested(visit: Visit) -> None:
    page = visit.go(f"{_PATH}/files")
    expect(page.get_by_text("the server answered 403")).to_be_visible()
    content = b"id,name\n1,Ada\n"
    page.get_by_label("File to upload").set_input_files(
        {"name": "2026 Leads.csv", "mimeType": "text/csv", "buffer": content}
    )
    dialog = page.get_by_role("dialog", name="Ingest 2026 Leads.csv")
    expect(dialog.get_by_label("Table")).to_have_value("leads")
    expect(dialog.get_by_text("<img src=x")).to_be_visible()
    dialog.get_by_label("Type of id").select_option("string")
    expect(dialog.get_by_label("Type of id")).to_have_value("string")
    visit.check_dialog()
    with page.expect_request("**/ingests") as sent:
        dialog.get_by_role("button", name="Ingest").click()
    body: dict[str, Any] = sent.value.post_data_json or {}
    assert (body["mode"], body["options"]["types"]) == ("create", {"id": "string"})
    expect(page.get_by_role("table", name="Ingests")).to_contain_text("1,200 rows")
    assert page.evaluate("window.hacked") is None


def test_connections_are_made_and_fetched_by(visit: Visit) -> None:
    page = visit.go(f"{_PATH}/connections")
    page.get_by_role("button", name="New connection").click()
    dialog = page.get_by_role("dialog", name="New connection")
    dialog.get_by_label("Kind").select_option("s3")
    for label, value in (("Name", "landing"), ("Endpoint", "https://s3.example"), ("Bucket", "in")):
        dialog.get_by_label(label, exact=True).fill(value)
    dialog.get_by_label("Secret key").fill("s3cret")
    visit.check_dialog()
    dialog.get_by_role("button", name="Try and keep").click()
    expect(page.get_by_role("table", name="Connections")).to_contain_text("https://s3.example/in")
    page.get_by_role("button", name="Fetch").first.click()
    page.get_by_role("button", name="public.leads").click()
    page.get_by_role("dialog").get_by_role("button", name="Fetch").click()
    expect(page.get_by_role("table", name="Files")).to_contain_text("leads.csv")


def test_owners_describe_a_workspace_and_admins_set_its_quota(visit: Visit) -> None:
    page = visit.go(_PATH)
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog", name="Settings of marketing")
    expect(dialog.get_by_text("Its quota is set by lab admins.")).to_be_visible()
    expect(dialog.get_by_label("Queries at once")).to_have_count(0)
    dialog.get_by_label("What it is for").fill("Campaigns")
    with page.expect_request(_is_change) as sent:
        dialog.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {"description": "Campaigns", "quota": None}
    visit.sign_in_at_the_fake("admin")
    page = visit.go(_PATH)
    page.get_by_role("button", name="Settings").click()
    queries = dialog.get_by_label("Queries at once")
    expect(queries).to_have_value("4")
    queries.fill("")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    queries.fill("9")
    visit.check_dialog()
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("9 queries, 2 jobs")).to_be_visible()


def _is_change(request: Request) -> bool:
    return request.method == "PATCH"


def test_members_and_the_end(visit: Visit) -> None:
    page = visit.go(f"{_PATH}/members")
    page.get_by_label("User name").fill("steward")
    page.get_by_role("button", name="Add member").click()
    expect(page.get_by_role("table", name="Members")).to_contain_text("steward")
    page = visit.go(_PATH)
    page.get_by_role("button", name="Remove workspace").click()
    dialog = page.get_by_role("dialog", name="Remove marketing")
    remove = dialog.get_by_role("button", name="Remove for good")
    dialog.get_by_label("Type marketing to confirm").fill("marketing")
    expect(dialog.get_by_text("there are tables in")).to_be_visible()
    expect(remove).to_be_disabled()
    visit.check_dialog()
    dialog.get_by_text("Its tables go, with their rows").click()
    expect(remove).to_be_enabled()
    remove.click()
    expect(page.get_by_text("You belong to no workspace")).to_be_visible()


def test_a_chart_and_a_dashboard_belong_to_a_workspace(visit: Visit) -> None:
    page = visit.go("/worksheet?new=1")
    visit.run_sql("SELECT c_mktsegment, count(*) FROM retail.customer GROUP BY 1")
    page.get_by_role("tab", name="Chart").click()
    page.get_by_role("button", name="Save as a chart").click()
    dialog = page.get_by_role("dialog", name="Save as a chart")
    dialog.get_by_label("Title").fill("Calls")
    dialog.get_by_label("Belongs to").select_option("Workspace marketing")
    visit.check_dialog()
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Callsworkspace marketing")

    visit.go("/dashboards/new")
    settings = page.get_by_role("dialog", name="Dashboard")
    settings.get_by_label("Title").fill("Mine")
    expect(settings.get_by_label("Belongs to")).to_have_value("")
    settings.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Change").click()
    visit.go("/dashboards/new")
    settings.get_by_label("Title").fill("Ours")
    settings.get_by_label("Belongs to").select_option("Workspace marketing")
    expect(settings.get_by_text("Nobody but its workspace's members sees it.")).to_be_visible()
    visit.check_dialog()
    settings.get_by_role("button", name="Done").click()
    with page.expect_request("**/api/v1/dashboards") as sent:
        page.get_by_role("button", name="Save", exact=True).click()
    assert (sent.value.post_data_json or {})["workspace_id"] == str(MARKETING)

    visit.go(_PATH)
    page.get_by_role("link", name="Dashboards", exact=True).last.click()
    cards = page.get_by_role("main").get_by_role("list").get_by_role("link")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("in workspace marketing")
    visit.check()
    page.get_by_label("Workspace", exact=True).select_option("All that you may see")
    expect(cards).to_have_count(2)
    visit.go(f"/charts?workspace={MARKETING}")
    expect(page.get_by_label("Workspace", exact=True)).to_have_value(str(MARKETING))
    cards.first.click()
    page.get_by_role("button", name="Name and share").click()
    naming = page.get_by_role("dialog", name="Name and share")
    naming.get_by_label("Belongs to").select_option("You alone")
    naming.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Calls")
