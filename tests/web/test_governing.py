"""Stewards and their changes in a browser, and dashboards."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.browsing import Visit


@pytest.fixture
def steward(visit: Visit) -> Visit:
    """The window with a steward in it."""
    visit.sign_in_at_the_fake("steward")
    return visit


def _tag(page: Page, name: str, tag: str) -> None:
    page.get_by_role("button", name="Tag something").click()
    dialog = page.get_by_role("dialog", name="Tag something")
    dialog.get_by_label("Object").fill(name)
    dialog.get_by_label("Tag", exact=True).fill(tag)
    dialog.get_by_role("button", name="Collect").click()


def test_a_change_is_collected_tried_published_and_undone(steward: Visit) -> None:
    page = steward.go("/governance/tags")
    _tag(page, "retail.customer.c_mktsegment", "customer.key")
    page.get_by_role("button", name="Review 1 change").click()
    publish = page.get_by_role("button", name="Publish", exact=True)
    expect(publish).to_be_disabled()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("somebody sees less")).to_be_visible()
    expect(publish).to_be_disabled()
    page.get_by_label("Why").fill("segments tell who a customer is")
    publish.click()
    expect(page.get_by_role("heading", level=2, name="Revision 3")).to_be_visible()
    expect(page.get_by_text("customer.key on retail.customer.c_mktsegment")).to_be_visible()
    page.get_by_role("list", name="Revisions").get_by_role("link", name="Revision 2").click()
    page.get_by_role("button", name="Roll back to it").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", level=2, name="Revision 4")).to_be_visible()


def test_what_would_show_more_has_to_be_meant(steward: Visit) -> None:
    page = steward.go("/governance/tags")
    page.get_by_role("button", name="Take pii.phone off retail.customer.c_phone").click()
    page.get_by_role("button", name="Review 1 change").click()
    page.get_by_role("button", name="Try it").click()
    expect(
        page.get_by_text("analysts_emea on retail.customer.c_phone: masked by last_4 before")
    ).to_be_visible()
    page.get_by_label("Why").fill("the numbers are public")
    publish = page.get_by_role("button", name="Publish", exact=True)
    expect(publish).to_be_disabled()
    page.get_by_role("checkbox", name="I mean to show more than before").click()
    expect(publish).to_be_enabled()


def test_two_stewards_do_not_undo_each_other(
    steward: Visit, browser: Browser, fake_url: str, axe: str
) -> None:
    page = steward.go("/governance/tags")
    _tag(page, "web.events.payload", "free_text")
    page.get_by_role("button", name="Review 1 change").click()
    page.get_by_role("button", name="Try it").click()
    page.get_by_label("Why").fill("mine")
    with Visit.opened(browser, fake_url, axe) as other:
        other.sign_in_at_the_fake("steward")
        second = other.go("/governance/tags")
        _tag(second, "web.events.event_id", "customer.key")
        second.get_by_role("button", name="Review 1 change").click()
        second.get_by_role("button", name="Try it").click()
        second.get_by_label("Why").fill("theirs")
        second.get_by_role("button", name="Publish", exact=True).click()
        expect(second.get_by_role("heading", level=2, name="Revision 3")).to_be_visible()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("Somebody changed the access data in the meantime")).to_be_visible()
    page.get_by_role("button", name="Base mine on revision 3").click()
    page.get_by_role("button", name="Try it").click()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_role("heading", level=2, name="Revision 4")).to_be_visible()
    expect(page.get_by_text("free_text on web.events.payload")).to_be_visible()


def test_a_rule_is_written_and_left_as_it_was(steward: Visit) -> None:
    page = steward.go("/governance/rules/mask-phone")
    dialog = page.get_by_role("dialog", name="mask-phone")
    dialog.get_by_label("Mask").select_option("null")
    dialog.get_by_role("button", name="Collect").click()
    row = page.get_by_role("row", name="mask-phone")
    expect(row.get_by_text("changed", exact=True)).to_be_visible()
    expect(row.get_by_text("always null")).to_be_visible()
    row.get_by_role("button", name="Leave mask-phone as it was").click()
    expect(row.get_by_text("only the last 4")).to_be_visible()
    expect(page.get_by_role("button", name="Review")).to_have_count(0)


def test_who_may_not_change_grants_can_read_them(steward: Visit) -> None:
    page = steward.go("/governance/grants")
    expect(page.get_by_text("Lab admins change grants")).to_be_visible()
    expect(page.get_by_role("button", name="Grant", exact=True)).to_have_count(0)


def test_the_audit_is_searched_by_its_address(visit: Visit) -> None:
    visit.sign_in_at_the_fake("auditor")
    page = visit.go("/audit")
    page.get_by_label("User").fill("analyst_emea")
    page.get_by_role("checkbox", name="Refused only").click()
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(f"{visit.url}/audit?user=analyst_emea&denied=1")
    line = page.get_by_role("button", name="SELECT name, salary FROM hr.employees")
    expect(page.get_by_role("heading", level=2, name="1 query")).to_be_visible()
    line.click()
    expect(page.get_by_text("SelectFromColumns of hr.employees (salary)")).to_be_visible()


def test_a_result_becomes_a_chart_and_a_dashboard_with_a_filter(visit: Visit) -> None:
    page = visit.go("/worksheet?new=1")
    visit.run_sql("SELECT region, month, revenue FROM revenue WHERE region = :region")
    page.get_by_role("tab", name="Chart").click()
    expect(page.get_by_label("Kind")).to_have_value("line")
    expect(page.get_by_label("Split by")).to_have_value("region")
    page.get_by_role("button", name="Save as a chart").click()
    dialog = page.get_by_role("dialog", name="Save as a chart")
    dialog.get_by_label("Title").fill("Revenue by month")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Revenue by month")).to_be_visible()
    expect(page.get_by_role("img", name="Revenue by month")).to_be_visible()

    page = visit.go("/dashboards/new")
    settings = page.get_by_role("dialog", name="Dashboard")
    settings.get_by_label("Title").fill("Sales")
    settings.get_by_role("button", name="Add a filter").click()
    settings.get_by_label("Parameter").fill("region")
    settings.get_by_label("Choices", exact=True).fill("AMER, EMEA")
    settings.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Add a tile").click()
    page.get_by_role("button", name="Revenue by month").click()
    page.get_by_role("button", name="Add a tile").click()
    page.get_by_role("button", name="A text").click()
    page.get_by_role("button", name="Move Text").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.get_by_role("button", name="Text: more").click()
    page.get_by_role("menuitem", name="Write").click()
    page.get_by_label("Markdown").fill(
        "# Sales\n\n[ours](/explorer) [bad](javascript:window.hacked=1)\n\n"
        "<img src=x onerror='window.hacked=1'> <script>window.hacked=1</script>"
    )
    page.get_by_role("dialog", name="Text").get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Sales")).to_be_visible()
    expect(page.get_by_role("button", name="Change")).to_be_visible()
    expect(page.get_by_role("link", name="ours")).to_be_visible()
    assert page.get_by_role("link", name="bad").count() == 0
    assert page.locator("main img[src]").count() == 0
    with page.expect_request(lambda one: "/tiles/" in one.url) as sent:
        page.get_by_label("region").select_option("EMEA")
    assert sent.value.post_data_json == {"filters": [{"name": "region", "type": "varchar", "value": "EMEA"}]}
    expect(page).to_have_url(page.url.split("?")[0] + "?f.region=EMEA")
    assert page.evaluate("window.hacked") is None
    visit.settle()
    visit.check()


def _new_board(page: Page, title: str) -> str:
    """Saves a dashboard without a tile; its path in the API."""
    settings = page.get_by_role("dialog", name="Dashboard")
    settings.get_by_label("Title").fill(title)
    settings.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Change")).to_be_visible()
    return f"/api/v1/dashboards/{page.url.split('/')[-1]}"


def test_two_editors_of_a_dashboard_do_not_undo_each_other(visit: Visit) -> None:
    page = visit.go("/dashboards/new")
    kept = _new_board(page, "Sales")
    save = page.get_by_role("button", name="Save", exact=True)
    heading = page.get_by_role("heading", level=1)
    dialog = page.get_by_role("dialog", name="Somebody changed this dashboard in the meantime")

    def begin(theirs: str) -> None:
        """A tile of one's own, while somebody else saves another title, and the page looks again."""
        page.get_by_role("button", name="Change").click()
        page.get_by_role("button", name="Add a tile").click()
        page.get_by_role("button", name="A text").click()
        visit.saved_elsewhere(kept, title=theirs)
        with page.expect_response(f"**{kept}"):
            page.context.set_offline(True)
            page.context.set_offline(False)
        save.click()

    begin("Theirs")
    expect(dialog.get_by_text("analyst_emea saved version 2 in the meantime")).to_be_visible()
    visit.check_dialog()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Move Text")).to_be_visible()
    visit.saved_elsewhere(kept, title="Theirs again")
    save.click()
    dialog.get_by_role("button", name="Replace theirs").click()
    expect(heading).to_have_text("Sales")
    expect(page.get_by_role("button", name="Change")).to_be_visible()
    assert page.request.get(visit.url + kept).json()["version"] == 4

    begin("Kept by them")
    dialog.get_by_role("button", name="Save as a new dashboard").click()
    expect(heading).to_have_text("Sales (copy)")
    assert page.request.get(visit.url + kept).json()["title"] == "Kept by them"
    kept = f"/api/v1/dashboards/{page.url.split('/')[-1]}"

    begin("Theirs at last")
    dialog.get_by_role("button", name="Drop mine").click()
    expect(heading).to_have_text("Theirs at last")
    expect(page.get_by_role("button", name="Change")).to_be_visible()


def test_a_dashboard_that_was_removed_while_somebody_changed_it_can_be_kept(visit: Visit) -> None:
    page = visit.go("/dashboards/new")
    kept = _new_board(page, "Sales")
    page.get_by_role("button", name="Change").click()
    page.request.delete(visit.url + kept, headers={"X-CSRF-Token": visit.csrf})
    page.get_by_role("button", name="Save", exact=True).click()
    dialog = page.get_by_role("dialog", name="This dashboard is gone")
    expect(dialog.get_by_role("button", name="Replace theirs")).to_have_count(0)
    dialog.get_by_role("button", name="Save as a new dashboard").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sales (copy)")


def test_two_editors_of_a_chart_do_not_undo_each_other(visit: Visit) -> None:
    page = visit.go("/worksheet?new=1")
    visit.run_sql("SELECT region, month, revenue FROM revenue")
    page.get_by_role("tab", name="Chart").click()
    page.get_by_role("button", name="Save as a chart").click()
    dialog = page.get_by_role("dialog", name="Save as a chart")
    dialog.get_by_label("Title").fill("Revenue")
    dialog.get_by_role("button", name="Save", exact=True).click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Revenue")
    kept = f"/api/v1/charts/{page.url.split('/')[-1]}"

    page.get_by_role("button", name="Drawing").click()
    page.get_by_label("Kind").select_option("area")
    visit.saved_elsewhere(kept, title="Theirs")
    page.get_by_role("button", name="Save", exact=True).click()
    dialog = page.get_by_role("dialog", name="Somebody changed this chart in the meantime")
    visit.check_dialog()
    dialog.get_by_role("button", name="Replace theirs").click()
    expect(dialog).to_have_count(0)
    expect(heading).to_have_text("Revenue")
    saved = page.request.get(visit.url + kept).json()
    assert (saved["version"], saved["spec"]["kind"]) == (3, "area")

    # The dialog in which it is named stays as it was filled in.
    page.get_by_role("button", name="Name and share").click()
    naming = page.get_by_role("dialog", name="Name and share")
    naming.get_by_label("Title").fill("Mine")
    visit.saved_elsewhere(kept, title="Theirs")
    naming.get_by_role("button", name="Save").click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(naming.get_by_label("Title")).to_have_value("Mine")
    naming.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Save as a new chart").click()
    expect(heading).to_have_text("Mine (copy)")
    assert page.request.get(visit.url + kept).json()["title"] == "Theirs"


def test_what_is_kept_goes_once_that_is_meant(visit: Visit) -> None:
    page = visit.go("/dashboards/new")
    kept = _new_board(page, "Sales")
    page.get_by_role("button", name="Remove this dashboard").click()
    dialog = page.get_by_role("dialog", name="Remove the dashboard")
    visit.check_dialog()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.request.get(visit.url + kept).ok
    page.get_by_role("button", name="Remove this dashboard").click()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No dashboard yet")).to_be_visible()
    assert page.request.get(visit.url + kept).status == 404


def test_what_can_be_done_with_a_row_is_in_view_on_a_phone(browser: Browser, fake_url: str, axe: str) -> None:
    with Visit.opened(browser, fake_url, axe, width=390) as phone:
        phone.sign_in_at_the_fake("steward")
        page = phone.go("/governance/rules")
        for name in ("Change mask-phone", "Remove mask-phone"):
            expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
