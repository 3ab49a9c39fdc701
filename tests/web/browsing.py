"""What browser tests do: open windows, watch for errors, measure accessibility."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from cli.toolchain.web import WebTools

ARGUMENTS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--headless=new"),
)
WIDTHS = (1280, 390)
PATIENCE_MS = 45_000
"""How long a page may take on a machine that does much else."""

Theme = Literal["light", "dark"]

_AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_AXE_RUN = """async (tags) => {
  const found = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  return found.violations.map((one) => ({
    rule: one.id,
    nodes: one.nodes.slice(0, 5).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`),
  }));
}"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_LOADING = ".shimmer, main .animate-spin"
expect.set_options(timeout=PATIENCE_MS)

# Answers other than 200 that a test asks for are reported on the console, too.
_EXPECTED = ("Failed to load resource",)
# Told by the page itself, since the console's line does not say where. Chromium's own editing puts styles on
# what it replaces in the editor; the policy takes them away, as CodeMirror does.
_POLICY = "Content Security Policy"
_TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) => {
  if (event.target?.dataset?.editor === undefined) {
    window.tellViolation(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
  }
});"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium; skips where there is none, fails where CI has to have one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail("CI has no Chromium: .ci/run installs it")
        pytest.skip("no Chromium on this machine: apt install chromium")
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def axe_source() -> str:
    """axe-core's script from the pages' own packages."""
    return (WebTools().packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@dataclass
class Visit:
    """A window on a console, and everything that went wrong in it."""

    page: Page
    url: str
    axe: str
    csrf: str = "fake-csrf-token"
    errors: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(
        cls, browser: Browser, url: str, axe: str, *, width: int = 1280, theme: Theme = "light"
    ) -> Iterator[Visit]:
        """A window with nothing in it yet. At the end nothing may have gone wrong in it."""
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=theme, reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE_MS)
        visit = cls(page=context.new_page(), url=url, axe=axe)
        visit.page.on("console", visit._on_console)
        visit.page.expose_function("tellViolation", lambda what: visit.errors.append(f"policy: {what}"))
        visit.page.add_init_script(_TELL_VIOLATIONS)
        visit.page.on("pageerror", lambda error: visit.errors.append(f"pageerror: {error}"))
        try:
            yield visit
            assert not visit.errors, visit.errors
        finally:
            context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_EXPECTED) and _POLICY not in message.text:
            self.errors.append(f"{message.type}: {message.text}")

    def sign_in_at_the_fake(self, username: str) -> None:
        """As Keycloak would, without a password."""
        self.page.goto(f"{self.url}/auth/login?next=/api/v1/info&user={username}")

    def go(self, path: str) -> Page:
        """Opens a page and waits until it stands still."""
        self.page.goto(self.url + path)
        return self.settle()

    @contextmanager
    def away(self, asks: str) -> Iterator[None]:
        """What is asked of these addresses is not answered, and the page has found out."""
        problem = {"title": "the console's database does not answer", "status": 503}
        self.page.route(asks, lambda route: route.fulfill(status=503, json=problem))
        # A network that comes back makes the page look again; once more before what it asks counts as away,
        # and every few seconds from then on.
        with self.page.expect_response(asks):
            self.page.context.set_offline(True)
            self.page.context.set_offline(False)
        for _ in range(2):
            with self.page.expect_response(asks):
                pass
        yield
        self.page.unroute(asks)

    def saved_elsewhere(self, path: str, **changes: Any) -> None:
        """Somebody else opened what is kept there, changed it and saved it."""
        kept = self.page.request.get(f"{self.url}{path}").json()
        names = ("title", "description", "statement", "spec", "tiles", "filters", "shares")
        sent = {name: kept[name] for name in names if name in kept}
        headers = {"If-Match": f'"{kept["version"]}"', "X-CSRF-Token": self.csrf}
        answer = self.page.request.put(f"{self.url}{path}", data={**sent, **changes}, headers=headers)
        assert answer.ok, answer.text()

    def settle(self) -> Page:
        """Waits until nothing is loading any more."""
        self.page.locator("h1").first.wait_for(state="attached")
        self.page.wait_for_load_state("networkidle")
        # By a locator: what else waits in the page is evaluated there, which its policy refuses.
        expect(self.page.locator(_LOADING)).to_have_count(0, timeout=PATIENCE_MS)
        return self.page

    def write_sql(self, text: str) -> None:
        """Replaces the text of the open worksheet."""
        editor = self.page.locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Escape")

    def run_sql(self, text: str) -> None:
        """Runs a statement and waits for its end."""
        self.write_sql(text)
        self.page.keyboard.press("Control+Enter")
        expect(self.page.get_by_role("button", name="Run")).to_be_visible()
        expect(self.state()).to_have_text(["Finished"])

    def state(self) -> Any:
        """Where the run of the open worksheet stands."""
        return self.page.get_by_role("tabpanel", name="Result").get_by_role("status").first

    def check_dialog(self) -> None:
        """Axe alone: what lies behind an open dialog is hidden, its heading too."""
        self.page.wait_for_timeout(250)
        self.page.evaluate(self.axe)
        found = self.page.evaluate(_AXE_RUN, _AXE_TAGS)
        assert found == [], json.dumps(found, indent=1)

    def check(self) -> None:
        """No violation of WCAG 2.2 AA that axe knows, a heading, and no scrolling sideways."""
        expect(self.page.get_by_role("heading", level=1)).to_have_count(1)
        assert self.page.evaluate(_OVERFLOW) <= 0, "the page scrolls sideways"
        self.page.evaluate(self.axe)
        found = self.page.evaluate(_AXE_RUN, _AXE_TAGS)
        assert found == [], json.dumps(found, indent=1)
