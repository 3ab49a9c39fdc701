"""The pictures of the guides, taken anew of a running lab:

    LAB_HOME=/tmp/pictures ./lab up console agent
    LAB_HOME=/tmp/pictures python -m tests.web.pictures [NAME…]

They go to ``docs/guides/console``. Look at them before they are committed: nothing here can.
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, FilePayload, Page, expect

from cli.access import user_tokens
from cli.operations import credentials
from cli.project import open_lab
from cli.session import Session
from contracts.identity import Audience
from tests.web.browsing import Visit, chromium

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "guides" / "console"
CUSTOMER = "/explorer/lake/retail/customer"
QUALITY = 0.72
SIZE = (1280, 800)
PATIENCE_MS = 180_000
SPACE = "marketing"
BY_SEGMENT = """SELECT c_mktsegment AS segment, count(*) AS customers, sum(c_acctbal) AS balance
FROM retail.customer
WHERE c_mktsegment <> :without
GROUP BY 1
ORDER BY 2 DESC"""
BY_MONTH = """SELECT date_trunc('month', o_orderdate) AS month, sum(o_totalprice) AS revenue
FROM retail.orders
WHERE o_orderdate < DATE '1998-08-01' AND o_orderpriority = :priority
GROUP BY 1 ORDER BY 1"""
BY_STATUS = """SELECT o_orderpriority AS priority, o_orderstatus AS status, count(*) AS orders
FROM retail.orders GROUP BY 1, 2 ORDER BY 1, 2"""
LEADS = b"""Id,Name,Country,Signed up,Value
1,Ada Lovelace,GB,2026-01-31,1250.50
2,Alan Turing,GB,2026-02-01,980.00
3,Grace Hopper,US,2026-02-01,
4,Emmy Noether,DE,2026-02-03,2210.75
"""


class Studio:
    """The lab's console, and the ways in."""

    def __init__(self, session: Session, browser: Browser) -> None:
        self._session, self._browser = session, browser
        self._outputs = session.outputs()
        self.url = (self._outputs.component_urls or {})["control-plane"]
        self._passwords = {one.username: one.password for one in credentials(session).personas}

    @contextmanager
    def visited_by(self, username: str, path: str) -> Iterator[Page]:
        """A window on a page, in which somebody signed in."""
        with Visit.opened(self._browser, self.url, "", width=SIZE[0]) as visit:
            page = visit.page
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{self.url}/auth/login?next=/")
            page.locator("#username").fill(username)
            page.locator("#password").fill(self._passwords[username])
            page.locator("#kc-login").click()
            page.wait_for_url(f"{self.url}/")
            visit.go(path)
            self.visit = visit
            yield page

    def api(self, username: str) -> httpx.Client:
        """The console's API in somebody's name."""
        token = user_tokens(self._session, self._outputs, username, Audience.CONTROL_PLANE)()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=180, trust_env=False)

    def take(self, page: Page, name: str) -> None:
        """Keeps what the window shows."""
        self.visit.settle()
        page.mouse.move(0, 0)
        page.wait_for_timeout(700)
        png = base64.b64encode(page.screenshot()).decode()
        with self._browser.new_context() as context:
            drawn = context.new_page().evaluate(
                """async ([source, quality]) => {
                  const image = new Image();
                  image.src = `data:image/png;base64,${source}`;
                  await image.decode();
                  const canvas = document.createElement("canvas");
                  [canvas.width, canvas.height] = [image.width, image.height];
                  canvas.getContext("2d").drawImage(image, 0, 0);
                  return canvas.toDataURL("image/webp", quality).split(",")[1];
                }""",
                [png, QUALITY],
            )
        content = base64.b64decode(drawn)
        (FOLDER / f"{name}.webp").write_bytes(content)
        print(f"{name}.webp: {len(content) // 1024} KiB", flush=True)


def made(answer: httpx.Response) -> Any:
    """What was made."""
    if answer.is_error:
        raise SystemExit(f"{answer.request.url}: {answer.status_code} {answer.text}")
    return answer.json()


def access(studio: Studio) -> None:
    """Why an analyst sees a table as they do."""
    with studio.visited_by("analyst_emea", f"{CUSTOMER}/access") as page:
        studio.take(page, "access")


def worksheet(studio: Studio) -> None:
    """A statement with a parameter, and its result."""
    with studio.visited_by("analyst_emea", "/worksheet?new=1") as page:
        studio.visit.write_sql(BY_SEGMENT)
        page.locator("#parameter-without").fill("MACHINERY")
        page.keyboard.press("Control+Enter")
        expect(studio.visit.state()).to_have_text(["Finished"], timeout=PATIENCE_MS)
        studio.take(page, "worksheet")


def board_of(studio: Studio, username: str, workspace_id: str | None = None) -> str:
    """The id of a new dashboard with three charts and a filter."""
    priority = {"name": "priority", "type": "varchar", "default": "1-URGENT"}
    charts: tuple[tuple[str, str, dict[str, Any], list[dict[str, Any]]], ...] = (
        ("Revenue by month", BY_MONTH, {"kind": "line", "x": "month", "y": ["revenue"]}, [priority]),
        (
            "Orders by priority and status",
            BY_STATUS,
            {"kind": "bar", "x": "priority", "y": ["orders"], "series": "status", "stacked": True},
            [],
        ),
        (
            "Customers",
            "SELECT count(*) AS customers FROM retail.customer",
            {"kind": "number", "y": ["customers"]},
            [],
        ),
    )
    places = ((0, 0, 12, 4), (0, 4, 8, 4), (8, 4, 4, 4))
    with studio.api(username) as api:
        tiles: list[dict[str, Any]] = []
        for (title, statement, spec, parameters), (x, y, width, height) in zip(charts, places, strict=True):
            body = {"title": title, "statement": statement, "catalog": "lake", "spec": spec}
            owned = {"parameters": parameters, "workspace_id": workspace_id}
            chart = made(api.post("/charts", json={**body, **owned}))
            place = {"x": x, "y": y, "width": width, "height": height}
            tiles.append({"id": f"t{len(tiles)}", "kind": "chart", "chart_id": chart["id"], **place})
        choices = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]
        filters = [{"parameter": "priority", "label": "Priority", "default": "1-URGENT", "options": choices}]
        board: dict[str, Any] = {"title": "Orders", "tiles": tiles, "filters": filters}
        return str(made(api.post("/dashboards", json={**board, "workspace_id": workspace_id}))["id"])


def drawn(studio: Studio, page: Page) -> None:
    """Waits until the dashboard's charts are there."""
    for title in ("Revenue by month", "Orders by priority and status"):
        expect(page.get_by_role("img", name=title)).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_timeout(3000)


def dashboard(studio: Studio) -> None:
    """Three charts with a filter."""
    board = board_of(studio, "analyst_emea")
    with studio.visited_by("analyst_emea", f"/dashboards/{board}") as page:
        drawn(studio, page)
        studio.take(page, "dashboard")


def belongs(studio: Studio) -> None:
    """Where a dashboard is given to a workspace."""
    board = board_of(studio, "engineer", space_of(studio))
    with studio.visited_by("engineer", f"/dashboards/{board}") as page:
        drawn(studio, page)
        page.get_by_role("button", name="Change").click()
        page.get_by_role("button", name="Name, filters, sharing").click()
        dialog = page.get_by_role("dialog", name="Dashboard")
        dialog.get_by_label("Belongs to").scroll_into_view_if_needed()
        studio.take(page, "belongs")


def meanwhile(studio: Studio) -> None:
    """Two people changed one dashboard."""
    with studio.api("engineer") as api:
        space = space_of(studio)
        found = made(api.get("/dashboards", params={"workspace_id": space}))
        board = str(found[0]["id"]) if found else board_of(studio, "engineer", space)
        api.put(f"/workspaces/{space}/members/analyst_emea", json={"owner": False}).raise_for_status()
    with studio.visited_by("engineer", f"/dashboards/{board}") as page:
        drawn(studio, page)
        page.get_by_role("button", name="Change").click()
        with studio.api("analyst_emea") as api:
            kept = made(api.get(f"/dashboards/{board}"))
            names = ("title", "description", "tiles", "filters", "shares")
            body = {**{name: kept[name] for name in names}, "workspace_id": space}
            matching = {"If-Match": f'"{kept["version"]}"'}
            made(api.put(f"/dashboards/{board}", json={**body, "title": "Orders"}, headers=matching))
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("button", name="Replace theirs")).to_be_visible()
        studio.take(page, "meanwhile")


def files(studio: Studio) -> None:
    """Partitions and files of a table."""
    with studio.visited_by("engineer", "/explorer/lake/web/events/files") as page:
        expect(page.get_by_role("grid", name="Files")).to_be_visible(timeout=PATIENCE_MS)
        studio.take(page, "files")


def review(studio: Studio) -> None:
    """What a tag would mean, before it is published."""
    with studio.visited_by("steward", "/governance/tags") as page:
        page.get_by_role("button", name="Tag something").click()
        dialog = page.get_by_role("dialog", name="Tag something")
        dialog.get_by_label("Object").fill("retail.customer.c_mktsegment")
        dialog.get_by_label("Tag", exact=True).fill("customer.key")
        dialog.get_by_role("button", name="Collect").click()
        page.get_by_role("button", name="Review 1 change").click()
        page.get_by_role("button", name="Try it").click()
        expect(page.get_by_text("somebody sees less")).to_be_visible(timeout=PATIENCE_MS)
        studio.take(page, "review")


def audit(studio: Studio) -> None:
    """One query of an analyst's, with the rules that held."""
    with studio.visited_by("auditor", "/audit?user=analyst_emea&table=retail.customer") as page:
        page.get_by_role("button", name="c_mktsegment").first.click()
        studio.take(page, "audit")


def space_of(studio: Studio) -> str:
    """The id of the workspace that is shown, with a table in it."""
    with studio.api("engineer") as api:
        found = [one for one in made(api.get("/workspaces")) if one["name"] == SPACE]
        if found:
            return str(found[0]["id"])
        body = {"name": SPACE, "description": "Campaigns, and the leads that they bring"}
        space = made(api.post("/workspaces", json=body))
        path = f"/workspaces/{space['id']}"
        while space["state"] != "ready":
            time.sleep(1)
            space = made(api.get(path))
        kept = made(api.post(f"{path}/uploads", params={"filename": "leads.csv"}, content=LEADS))
        ingest = made(api.post(f"{path}/ingests", json={"upload_id": kept["id"], "table": "leads"}))
        while ingest["state"] == "running":
            time.sleep(1)
            ingest = made(api.get(f"{path}/ingests/{ingest['id']}"))
        if ingest["state"] != "finished":
            raise SystemExit(str(ingest["error"]))
        return str(space["id"])


def workspace(studio: Studio) -> None:
    """A workspace's first page, as an admin who sets its quota."""
    space = space_of(studio)
    with studio.api("admin") as api:
        deadline = time.monotonic() + PATIENCE_MS / 1000
        # The governor measures every now and then.
        while made(api.get(f"/workspaces/{space}"))["usage"]["tables"] == 0 and time.monotonic() < deadline:
            time.sleep(2)
    with studio.visited_by("admin", f"/workspaces/{space}") as page:
        studio.take(page, "workspace")


def ingest(studio: Studio) -> None:
    """A file before it becomes a table."""
    with studio.visited_by("engineer", f"/workspaces/{space_of(studio)}/files") as page:
        file: FilePayload = {"name": "leads-2026.csv", "mimeType": "text/csv", "buffer": LEADS}
        page.get_by_label("File to upload").set_input_files(file)
        dialog = page.get_by_role("dialog", name="Ingest leads-2026.csv")
        expect(dialog.get_by_text("Emmy Noether")).to_be_visible(timeout=PATIENCE_MS)
        studio.take(page, "ingest")


def connection(studio: Studio) -> None:
    """A connection before it is tried out."""
    with studio.visited_by("engineer", f"/workspaces/{space_of(studio)}/connections") as page:
        page.get_by_role("button", name="New connection").first.click()
        dialog = page.get_by_role("dialog", name="New connection")
        dialog.get_by_label("Kind").select_option("postgresql")
        values = {"Name": "crm", "Host": "crm.example.com", "Database": "crm", "User": "reader"}
        for label, value in values.items():
            dialog.get_by_label(label, exact=True).fill(value)
        studio.take(page, "connection")


def job(studio: Studio) -> None:
    """A run of a job, with its log."""
    statement = (
        "DROP TABLE IF EXISTS raw.orders_by_status;\n"
        "CREATE TABLE raw.orders_by_status AS\n"
        "SELECT :scheduled_date AS day, o_orderstatus AS status, count(*) AS orders\n"
        "FROM retail.orders GROUP BY o_orderstatus"
    )
    work = {"kind": "sql", "statement": statement, "catalog": "lake"}
    schedule = {"cron": "30 6 * * MON-FRI", "time_zone": "Europe/Zurich"}
    with studio.api("engineer") as api:
        kept = made(api.post("/jobs", json={"title": "Orders by status", "work": work, "schedule": schedule}))
        with studio.visited_by("engineer", f"/jobs/{kept['id']}") as page:
            if page.get_by_role("button", name="Give the permission").count():
                page.get_by_role("button", name="Give the permission").click()
                page.get_by_role("button", name="Permit and sign in").click()
                expect(page.get_by_role("button", name="Give the permission")).to_have_count(0)
            run = made(api.post(f"/jobs/{kept['id']}/runs", json={}))
            while run["state"] not in ("succeeded", "failed"):
                time.sleep(1)
                run = made(api.get(f"/job-runs/{run['id']}"))
            studio.visit.go(f"/jobs/{kept['id']}/runs/{run['id']}")
            studio.take(page, "job")


def answer(studio: Studio) -> None:
    """A question in words, and its answer."""
    with studio.visited_by("analyst_emea", "/chat") as page:
        page.locator("textarea").fill("revenue by market segment")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Open in worksheet")).to_be_visible(timeout=PATIENCE_MS)
        studio.take(page, "answer")


PICTURES: dict[str, Callable[[Studio], None]] = {
    one.__name__: one
    for one in (
        *(access, files, worksheet, dashboard, review, audit, workspace, ingest, connection, belongs),
        *(meanwhile, job, answer),
    )
}


def main(names: list[str]) -> int:
    """Takes the pictures of these names, or all."""
    if unknown := [name for name in names if name not in PICTURES]:
        print(f"no picture is called {', '.join(unknown)}; there are {', '.join(PICTURES)}")
        return 2
    with chromium() as browser:
        studio = Studio(Session(open_lab()), browser)
        for name in names or PICTURES:
            PICTURES[name](studio)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
