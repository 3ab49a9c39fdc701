"""The chat page: steps as they come, answers with their SQL, questions back, and what goes wrong."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from agent import values
from tests.web.browsing import WIDTHS, Theme, Visit

CHAT_TYPES = Path(__file__).parents[2] / "control_plane" / "web" / "src" / "api" / "chat.ts"
_AWAY = "**/api/v1/chat/about"


def ask(page: Page, question: str) -> None:
    """Writes a question and sends it by keyboard."""
    field = page.get_by_role("textbox", name=re.compile("Your (question|answer)"))
    expect(field).to_be_focused()
    page.keyboard.insert_text(question)
    page.keyboard.press("Enter")


def answer_to(page: Page, question: str) -> Any:
    """What the page shows for a question."""
    return page.get_by_role("article", name=f"Answer to “{question}”")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("AgentChart", values.Chart),
        *((one.__name__, one) for one in (values.Choice, values.Ask, values.RuleNote, values.Answer)),
        *((one.__name__, one) for one in (values.Run, values.Conversation, values.ConversationDetail)),
        *((one.__name__, one) for one in (values.Step, values.About)),
    ],
)
def test_the_page_knows_the_agents_values(ours: str, theirs: Any) -> None:
    text = CHAT_TYPES.read_text(encoding="utf-8")
    body = re.search(rf"export interface {ours} \{{(.*?)\n\}}", text, re.DOTALL)
    assert body is not None, ours
    assert set(re.findall(r"^  (\w+):", body[1], re.MULTILINE)) == {
        one.name for one in dataclasses.fields(theirs)
    }


def test_a_question_is_answered_step_by_step(visit: Visit) -> None:
    page = visit.go("/")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", level=1, name="New conversation")).to_be_visible()
    ask(page, "revenue by region")
    answer = answer_to(page, "revenue by region")
    expect(answer).to_contain_text("Revenue by customer region (2 rows): ASIA 1,200.00; EUROPE 900.50.")
    expect(answer.get_by_role("region", name="SQL")).to_contain_text("sum(o_totalprice) AS revenue")
    expect(answer.get_by_role("img", name="revenue by customer region")).to_be_visible()
    expect(page.get_by_role("heading", level=1, name="revenue by region")).to_be_visible()
    expect(answer.get_by_role("link", name="Why you see retail.customer as you do")).to_have_attribute(
        "href", "/explorer/lake/retail/customer/access"
    )
    answer.get_by_role("tab", name="Rows").click()
    expect(answer.get_by_role("gridcell", name="900.50")).to_be_visible()
    answer.get_by_role("button", name=re.compile("How it came about|steps")).click()
    expect(answer.get_by_role("listitem").filter(has_text="Check the SQL")).to_contain_text(
        "retail.orders · reads about 1.0 MiB"
    )
    visit.check()
    answer.get_by_role("link", name="Open in worksheet").click()
    expect(page.locator(".cm-content")).to_contain_text("sum(o_totalprice) AS revenue")


def test_a_conversation_is_found_again_renamed_and_removed(visit: Visit) -> None:
    page = visit.go("/chat")
    page.get_by_role("button", name="number of customers").click()
    page.keyboard.press("Enter")
    expect(answer_to(page, "number of customers")).to_contain_text("1,200.00")
    page.reload()
    visit.settle()
    expect(answer_to(page, "number of customers")).to_contain_text("1,200.00")
    page.get_by_role("button", name="Rename this conversation").click()
    page.get_by_label("Title").fill("Customers")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("navigation", name="Conversations")).to_contain_text("Customers")
    address = page.url
    page.get_by_role("button", name="Remove this conversation").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No conversation yet")).to_be_visible()
    page.goto(address)
    visit.settle()
    expect(page.get_by_role("alert")).to_contain_text("there is no such conversation")


def test_what_is_asked_back_is_answered(visit: Visit) -> None:
    page = visit.go("/chat")
    ask(page, "lowest account balance")
    asked = answer_to(page, "lowest account balance")
    expect(asked).to_contain_text("Which of these do you mean?")
    expect(page.get_by_role("textbox", name="Your answer")).to_be_visible()
    visit.check()
    asked.get_by_role("button", name="the customers with the lowest").click()
    expect(answer_to(page, "revenue by region")).to_contain_text("ASIA 1,200.00")


def test_runs_that_come_to_nothing_say_so(visit: Visit) -> None:
    page = visit.go("/chat")
    ask(page, "why so few?")
    declined = answer_to(page, "why so few?")
    expect(declined).to_contain_text("I don't know the word 'why'.")
    expect(declined).to_contain_text("I know of customers, orders.")
    ask(page, "a broken one")
    expect(answer_to(page, "a broken one").get_by_role("alert")).to_contain_text("Trino does not answer")
    ask(page, "a slow one")
    slow = answer_to(page, "a slow one")
    expect(slow.get_by_role("status")).to_have_text("Check the SQL…")
    slow.get_by_role("button", name="Stop").click()
    expect(slow).to_contain_text("It was ended before there was an answer.")
    visit.check()
    ask(page, "a cut one")
    expect(answer_to(page, "a cut one")).to_contain_text("ASIA 1,200.00")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_rows_are_data_and_every_answer_is_accessible(
    browser: Browser, fake_url: str, axe: str, width: int, theme: Theme
) -> None:
    with Visit.opened(browser, fake_url, axe, width=width, theme=theme) as visit:
        visit.sign_in_at_the_fake("analyst_emea")
        page = visit.go("/chat")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        ask(page, "nasty <img src=x onerror='window.hacked=1'>")
        answer = page.get_by_role("article")
        expect(answer).to_contain_text("onerror=")
        expect(answer.locator("strong")).to_have_text("is")
        expect(answer.get_by_role("region", name="SQL")).to_contain_text("onerror=")
        answer.get_by_role("button", name=re.compile("How it came about|steps")).click()
        expect(answer.get_by_role("listitem").filter(has_text="Find tables")).to_contain_text("onerror=")
        answer.get_by_role("tab", name="Rows").click()
        visit.settle()
        visit.check()
        assert page.evaluate("window.hacked") is None
        assert page.locator("article img, article script").count() == 0
        links = [link.get_attribute("href") or "" for link in answer.get_by_role("link").all()]
        assert links
        assert all(link.startswith("/") for link in links)
        assert all(url.startswith(fake_url) for url in asked)
        if width < 1024:
            page.get_by_role("button", name="Conversations").click()
            expect(page.get_by_role("dialog")).to_contain_text("onerror=")


def test_a_lab_without_the_agent_names_the_command(visit: Visit) -> None:
    page = visit.page
    absent = {"title": "this lab runs without the agent", "status": 404, "next_command": "lab up agent"}
    page.route(_AWAY, lambda route: route.fulfill(status=404, json=absent))
    page.goto(f"{visit.url}/chat")
    visit.settle()
    expect(page.get_by_text("lab up agent")).to_be_visible()
    visit.check()
    page.unroute(_AWAY)
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("heading", level=2, name="Ask your tables")).to_be_visible()


def test_an_agent_that_is_away_comes_back_by_itself(visit: Visit) -> None:
    page = visit.page
    away = {"title": "the agent does not answer", "status": 503, "next_command": "lab logs agent"}
    page.route(_AWAY, lambda route: route.fulfill(status=503, json=away))
    page.goto(f"{visit.url}/chat")
    expect(page.get_by_role("alert")).to_contain_text("lab logs agent")
    page.unroute(_AWAY)
    expect(page.get_by_role("heading", level=2, name="Ask your tables")).to_be_visible()


def test_a_question_that_can_not_be_sent_is_kept(visit: Visit) -> None:
    page = visit.go("/chat")
    busy = {"title": "too many questions are on their way", "status": 429, "permitted": "3 a user"}

    def refuse(route: Route) -> None:
        route.fulfill(status=429, json=busy)

    page.route("**/api/v1/chat/conversations", refuse)
    ask(page, "revenue by region")
    expect(page.get_by_role("alert")).to_contain_text("too many questions are on their way")
    expect(page.get_by_role("textbox", name="Your question")).to_have_value("revenue by region")
