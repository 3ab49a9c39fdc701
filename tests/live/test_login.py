"""``lab login`` with Keycloak's own pages, filled in as a person does."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.live.conftest import LiveLab

USER = "analyst_emea"
MINE = "SELECT DISTINCT current_user AS me, c.n FROM (SELECT count(*) AS n FROM retail.customer) c"


class Browser:
    """Follows links and submits forms, and keeps cookies."""

    def __init__(self) -> None:
        self.http = httpx.Client(
            trust_env=False, follow_redirects=True, timeout=60, event_hooks={"response": [self._trust]}
        )
        self.page = httpx.Response(204)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def open(self, url: str) -> None:
        """Goes to an address."""
        self.page = self.http.get(url)

    def submit(self, **fields: str) -> None:
        """Sends the page's one form with its hidden fields and these."""
        form = re.search(r"<form\b[^>]*\baction=\"([^\"]+)\".*?</form>", self.page.text, re.DOTALL)
        assert form is not None, self.page.text
        hidden = {}
        for tag in re.findall(r"<input\b[^>]*>", form[0]):
            attributes = dict(re.findall(r"([\w-]+)=\"([^\"]*)\"", tag))
            if attributes.get("type") == "hidden":
                hidden[attributes["name"]] = html.unescape(attributes.get("value", ""))
        action = self.page.url.join(html.unescape(form[1]))
        self.page = self.http.post(action, data={**hidden, **fields})

    def _trust(self, _: httpx.Response) -> None:
        for cookie in self.http.cookies.jar:
            # Browsers trust the loopback without TLS, too.
            cookie.secure = False


@pytest.fixture
def password(lab: LiveLab) -> str:
    """The sample user's."""
    found: str = next(c["password"] for c in lab.json("credentials")["personas"] if c["username"] == USER)
    return found


@pytest.fixture
def signed_out(lab: LiveLab) -> Iterator[LiveLab]:
    """The lab with nobody signed in, before and after; its commands open no window."""
    lab.ok("logout")
    yield replace(lab, environment={**lab.environment, "LAB_DIRECT_LOGIN": "1"})
    lab.ok("logout")


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """The first group of the first line that fits."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"the command ended with {process.wait()} and never said {pattern}")


def sees_own_rows(lab: LiveLab) -> None:
    """Whoever is signed in is the analyst, with the analyst's rules."""
    assert [lab.json("sql", MINE)] == lab.rows(MINE, USER)


def test_a_person_signs_in_with_a_browser_and_out_again(signed_out: LiveLab, password: str) -> None:
    refused = signed_out.run("sql", "SELECT 1")
    assert refused.returncode == 1
    assert "nobody is signed in" in refused.stderr
    process = signed_out.start("login")
    with Browser() as browser:
        browser.open(said(process, r"^(http://\S+/auth\?\S+)"))
        browser.submit(username=USER, password="not the password")
        assert "Invalid username or password" in browser.page.text
        browser.submit(username=USER, password=password)
        assert browser.page.url.path == "/callback"
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"signed in as {USER}" in output
    sees_own_rows(signed_out)
    (kept,) = signed_out.home.rglob("session.json")
    tokens = kept.read_text(encoding="utf-8")
    assert "signed out" in signed_out.ok("logout")
    assert "nobody is signed in" in signed_out.run("sql", "SELECT 1").stderr
    # What somebody copied before is of no use after.
    kept.write_text(tokens, encoding="utf-8")
    kept.chmod(0o600)
    try:
        late = signed_out.run("sql", "SELECT 1")
        assert (late.returncode, "the sign-in has ended" in late.stderr) == (1, True), late.stderr
    finally:
        kept.unlink(missing_ok=True)


def test_a_person_signs_in_with_a_code_on_another_machine(signed_out: LiveLab, password: str) -> None:
    process = signed_out.start("login", "--device")
    with Browser() as browser:
        browser.open(said(process, r"^or open (http://\S+)"))
        browser.submit(username=USER, password=password)
        browser.submit(accept="Yes")
        assert "Device Login Successful" in browser.page.text
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    sees_own_rows(signed_out)
