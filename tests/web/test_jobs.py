"""Jobs in a browser: written, permitted, run, watched and stopped."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.web.browsing import Visit


@pytest.fixture
def engineer(visit: Visit) -> Visit:
    """The window with an engineer in it."""
    visit.sign_in_at_the_fake("engineer")
    return visit


def test_a_job_is_written_scheduled_permitted_run_and_watched(engineer: Visit) -> None:
    page = engineer.go("/jobs/new")
    page.get_by_label("Title").fill("Nightly copy")
    engineer.write_sql("INSERT INTO raw.t SELECT * FROM retail.nation WHERE n_name = :name -- slow")
    page.locator("#parameter-name").fill("PERU")
    page.get_by_label("Schedule").select_option("every day at 06:00")
    expect(page.get_by_text("Next: ")).to_be_visible()
    page.get_by_label("Schedule").select_option("cron…")
    page.get_by_label("Cron").fill("61 * * * *")
    expect(page.get_by_text("this is no schedule")).to_be_visible()
    page.get_by_label("Cron").fill("30 2 * * *")
    expect(page.get_by_text("Next: ")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1, name="Nightly copy")).to_be_visible()
    page.get_by_role("button", name="Give the permission…").click()
    dialog = page.get_by_role("dialog", name="Run jobs while you are away")
    dialog.get_by_role("button", name="Permit and sign in").click()
    expect(page.get_by_text("Paused:")).to_have_count(0)
    page.get_by_role("button", name="Run now").click()
    asked = page.get_by_role("dialog", name="Run now")
    expect(asked.get_by_label(":name")).to_have_value("PERU")
    asked.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Run 1")).to_be_visible()
    expect(page.get_by_role("status").first).to_have_text("Running")
    expect(page.get_by_role("region", name="Log")).to_contain_text("as engineer")
    expect(page.get_by_text(":name = PERU")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status").first).to_have_text("Canceled")
    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("heading", level=1, name="Run 2")).to_be_visible()


def test_an_old_version_comes_back_as_a_new_one(engineer: Visit) -> None:
    page = engineer.go("/jobs/00000000-0000-4000-8000-000000000001/edit")
    page.get_by_label("Title").fill("Renamed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1, name="Renamed")).to_be_visible()
    page.get_by_role("button", name="Show version 1").click()
    page.get_by_role("dialog").get_by_role("link", name="Bring it back…").click()
    expect(page.get_by_label("Title")).to_have_value('Daily orders <img src=x onerror="window.hacked=1">')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("list", name="Versions").get_by_role("listitem")).to_have_count(3)


def test_a_job_that_is_being_written_stays_while_the_console_is_away(engineer: Visit) -> None:
    page = engineer.go("/jobs/00000000-0000-4000-8000-000000000001/edit")
    page.get_by_label("Title").fill("Half written")
    save = page.get_by_role("button", name="Save")
    with engineer.away("**/api/v1/jobs/00000000-0000-4000-8000-000000000001"):
        save.click()
        said = page.get_by_role("alert").filter(has_text="the console's database does not answer")
        expect(said).to_be_visible()
        expect(page.get_by_text("This page tries again by itself")).to_have_count(0)
        expect(page.get_by_label("Title")).to_have_value("Half written")
    save.click()
    expect(page.get_by_role("heading", level=1, name="Half written")).to_be_visible()


def test_a_lab_without_spark_says_so(engineer: Visit) -> None:
    page = engineer.go("/jobs/new")
    page.get_by_label("Kind").select_option("Python for Spark")
    expect(page.get_by_text("This lab runs without Spark")).to_be_visible()
    engineer.check()
