"""A console without a lab behind it: the API's own models, filled with samples, and the built pages.

It answers with a stricter Content-Security-Policy than anything needs to be, so that a page that would not
work under it is noticed. Run it by hand with ``python -m tests.web.fake_console DIST [PORT]``.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import sqlglot
import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from control_plane.api.schemas.charts import (
    Chart,
    Dashboard,
    DashboardSummary,
    FilterOptions,
    RunChart,
    RunTile,
    SaveChart,
    SaveDashboard,
)
from control_plane.api.schemas.common import WorkspaceRef
from control_plane.api.schemas.identity import Info, Me, SignedOut, SignIn, SignInReady
from control_plane.api.schemas.queries import (
    Completion,
    CompletionNamespace,
    CompletionTable,
    ExplainStatement,
    History,
    Plan,
    Query,
    QueryState,
    RowsPage,
    SavedQuery,
    SaveQuery,
    SqlCheck,
    SqlText,
    StartQuery,
    StatementInfo,
    SyntaxProblem,
)
from control_plane.api.web import add_web
from tests.web import (
    fake_admin,
    fake_chat,
    fake_explorer,
    fake_governance,
    fake_jobs,
    fake_workspaces,
    samples,
)
from tests.web.fake_queries import FakeQuery

STRICT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
COOKIE = "fake-user"
CSRF = "fake-csrf-token"
_OPEN = ("/auth/", "/assets/")


class World:
    """What people kept and ran."""

    def __init__(self) -> None:
        self.queries: dict[uuid.UUID, FakeQuery] = {}
        self.kept: dict[uuid.UUID, Any] = {}


def _owned(user: str) -> dict[str, Any]:
    now = datetime.now(tz=UTC)
    return {
        "id": uuid.uuid4(),
        "owner": user,
        "version": 1,
        "can_edit": True,
        "created_at": now,
        "updated_at": now,
        "updated_by": user,
    }


def _problem(status: int, title: str) -> JSONResponse:
    document = {"type": "about:blank", "title": title, "status": status}
    return JSONResponse(document, status_code=status, media_type="application/problem+json")


def create_fake(web_dir: Path) -> FastAPI:
    """The application."""
    app = FastAPI()
    world = World()
    app.state.history = fake_governance.History()
    app.state.agent = fake_chat.FakeAgent()
    app.state.spaces = fake_workspaces.Spaces()

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        user = request.cookies.get(COOKIE, "")
        request.state.username = user
        path = request.url.path
        if path.startswith("/api/") and samples.persona(user) is None:
            return _problem(401, "you are not signed in")
        if request.method not in ("GET", "HEAD") and request.headers.get("x-csrf-token") != CSRF:
            return _problem(403, "the request does not come from this console's own page")
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = STRICT_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.exception_handler(StarletteHTTPException)
    def http_error(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, str(error.errors()[0]))

    _add_session(app)
    _add_queries(app, world)
    _add_sql(app)
    app.include_router(fake_jobs.make_router())
    _add_kept(app, world)
    app.include_router(fake_explorer.router)
    app.include_router(fake_governance.router)
    app.include_router(fake_chat.router)
    app.include_router(fake_admin.router)
    app.include_router(fake_workspaces.router)
    add_web(app, web_dir)
    return app


def _add_session(app: FastAPI) -> None:
    @app.get("/auth/login")
    def login(next: str = "/", user: str = "analyst_emea") -> Response:
        response = RedirectResponse(next if next.startswith("/") and not next.startswith("//") else "/", 302)
        response.set_cookie(COOKIE, user, httponly=True)
        return response

    @app.get("/auth/ready")
    def sign_in_ready() -> SignInReady:
        return SignInReady()

    @app.post("/auth/logout")
    def logout(response: Response) -> SignedOut:
        response.delete_cookie(COOKIE)
        return SignedOut(url="/")

    @app.get("/api/v1/me")
    def me(request: Request) -> Me:
        person = samples.persona(request.state.username)
        assert person is not None
        return Me(
            username=person.username,
            name=f"{person.first_name} {person.last_name}",
            email=person.email,
            groups=list(person.groups),
            permissions=samples.permissions(person.groups),
            sign_in=SignIn.SESSION,
            csrf_token=CSRF,
            session_ends_at=None,
        )

    @app.get("/api/v1/info")
    def info() -> Info:
        return Info(
            lab="lab",
            version="0.1.0",
            catalog_kind="nessie",
            default_catalog=samples.CATALOG,
            services=["governor", "trino"],
        )


def _add_queries(app: FastAPI, world: World) -> None:
    def find(query_id: uuid.UUID) -> FakeQuery:
        try:
            return world.queries[query_id]
        except KeyError:
            raise HTTPException(404, "there is no query of that id") from None

    @app.post("/api/v1/queries", status_code=202)
    def start(body: StartQuery, request: Request) -> Query:
        query = FakeQuery(body=body, user=request.state.username)
        world.queries[query.id] = query
        return query.model()

    @app.get("/api/v1/queries")
    def history(request: Request, text: str = "", limit: int = 50) -> History:
        own = [one for one in world.queries.values() if one.user == request.state.username]
        found = [one.entry() for one in reversed(own) if text.lower() in one.body.statement.lower()]
        return History(queries=found[:limit], next=None)

    @app.get("/api/v1/queries/{query_id}")
    def get(query_id: uuid.UUID) -> Query:
        return find(query_id).model()

    @app.delete("/api/v1/queries/{query_id}")
    def cancel(query_id: uuid.UUID) -> Query:
        query = find(query_id)
        query.end(QueryState.CANCELED)
        return query.model()

    @app.get("/api/v1/queries/{query_id}/events")
    def events(query_id: uuid.UUID, offset: int = 0, max_rows: int | None = None) -> StreamingResponse:
        return StreamingResponse(find(query_id).events(offset, max_rows), media_type="application/x-ndjson")

    @app.get("/api/v1/queries/{query_id}/rows")
    def rows(query_id: uuid.UUID, offset: int = 0, limit: int = 1000) -> RowsPage:
        query = find(query_id)
        return RowsPage(
            columns=query.columns,
            offset=offset,
            rows=query.rows(offset, limit),
            row_count=query.row_count,
            complete=True,
        )

    @app.get("/api/v1/queries/{query_id}/download")
    def download(query_id: uuid.UUID, format: str = "csv") -> Response:
        query = find(query_id)
        text = "\n".join(",".join(str(value) for value in row) for row in query.rows(0, 1000))
        headers = {"Content-Disposition": f'attachment; filename="result.{format}"'}
        return Response(text, media_type="application/octet-stream", headers=headers)


def _add_sql(app: FastAPI) -> None:
    @app.post("/api/v1/sql/check")
    def check(body: SqlText) -> SqlCheck:
        text = body.statement
        try:
            sqlglot.parse(text, read="trino")
        except sqlglot.errors.ParseError as error:
            first = error.errors[0]
            found = SyntaxProblem(
                message=str(first["description"]), line=int(first["line"] or 1), column=int(first["col"] or 1)
            )
            return SqlCheck(statements=[], problems=[found])
        statements, start = [], 0
        for part in text.split(";"):
            if part.strip():
                lead = len(part) - len(part.lstrip())
                names = {word.strip(",()")[1:] for word in part.split() if word.startswith(":")}
                statements.append(
                    StatementInfo(
                        start=start + lead,
                        end=start + len(part),
                        kind="select",
                        reads_only=True,
                        parameters=sorted(names),
                    )
                )
            start += len(part) + 1
        return SqlCheck(statements=statements, problems=[])

    @app.post("/api/v1/sql/format")
    def format_sql(body: SqlText) -> SqlText:
        return SqlText(
            statement=";\n\n".join(
                sqlglot.transpile(body.statement, read="trino", write="trino", pretty=True)
            )
        )

    @app.post("/api/v1/sql/explain")
    def explain(body: ExplainStatement) -> Plan:
        text = "Fragment 0 [SINGLE]\n    Output layout: [c_mktsegment, count]\n    └─ RemoteSource[1]\n"
        return Plan(kind=body.kind, text=text)

    @app.get("/api/v1/sql/completion")
    def completion(request: Request) -> Completion:
        nobody = not samples.permissions(()) and request.state.username == "outsider"
        return Completion(
            catalog=samples.CATALOG,
            namespaces=[
                CompletionNamespace(
                    name=space,
                    tables=[
                        CompletionTable(name=name, columns=dict(columns)) for name, columns in tables.items()
                    ],
                )
                for space, tables in ({} if nobody else samples.TABLES).items()
            ],
            functions=["approx_distinct", "avg", "count", "date_trunc", "max", "min", "sum"],
            keywords=["SELECT", "FROM", "WHERE", "GROUP", "BY", "ORDER", "LIMIT", "JOIN", "ON", "AS", "WITH"],
        )


def _add_kept(app: FastAPI, world: World) -> None:
    def find(kept_id: uuid.UUID) -> Any:
        try:
            return world.kept[kept_id]
        except KeyError:
            raise HTTPException(404, "there is nothing of that id") from None

    def keep(kind: type[Any], request: Request, body: Any, **more: Any) -> Any:
        made = kind(**{**body.model_dump(), **_owned(request.state.username), **place(body), **more})
        world.kept[made.id] = made
        return made

    def change(kept_id: uuid.UUID, request: Request, body: Any, **more: Any) -> Any:
        old = find(kept_id)
        if request.headers.get("if-match") != f'"{old.version}"':
            raise HTTPException(412, "somebody changed it in the meantime")
        facts = {**old.model_dump(), **body.model_dump(), **place(body), **more, "version": old.version + 1}
        world.kept[kept_id] = type(old)(**facts)
        return world.kept[kept_id]

    def place(body: Any) -> dict[str, Any]:
        made = app.state.spaces.made.get(getattr(body, "workspace_id", None))
        return {
            "workspace": None if made is None else WorkspaceRef(id=made.id, name=made.name),
            "can_manage": True,
        }

    def listed(kind: type[Any], text: str, workspace_id: uuid.UUID | None) -> list[Any]:
        found = [one for one in world.kept.values() if isinstance(one, kind)]
        if workspace_id is not None:
            found = [one for one in found if one.workspace and one.workspace.id == workspace_id]
        return [one for one in reversed(found) if text.lower() in one.title.lower()]

    def charts_of(body: SaveDashboard) -> list[Chart]:
        ids = [tile.chart_id for tile in body.tiles]
        return [one for one in world.kept.values() if isinstance(one, Chart) and one.id in ids]

    def run(request: Request, chart: Chart) -> Query:
        query = FakeQuery(body=StartQuery(statement=chart.statement), user=request.state.username)
        world.queries[query.id] = query
        return query.model()

    for path, kind, body_type in (("saved-queries", SavedQuery, SaveQuery), ("charts", Chart, SaveChart)):
        _add_crud(app, path, kind, body_type, keep, change, find, listed)

    @app.delete("/api/v1/{_kind}/{kept_id}", status_code=204)
    def delete(_kind: str, kept_id: uuid.UUID) -> None:
        find(kept_id)
        del world.kept[kept_id]

    @app.post("/api/v1/charts/{chart_id}/data", status_code=202)
    def run_chart(chart_id: uuid.UUID, body: RunChart, request: Request) -> Query:
        return run(request, find(chart_id))

    @app.get("/api/v1/dashboards")
    def dashboards(text: str = "", workspace_id: uuid.UUID | None = None) -> list[DashboardSummary]:
        return [
            DashboardSummary(**{**one.model_dump(), "tile_count": len(one.tiles)})
            for one in listed(Dashboard, text, workspace_id)
        ]

    @app.post("/api/v1/dashboards", status_code=201)
    def create_dashboard(body: SaveDashboard, request: Request) -> Dashboard:
        made: Dashboard = keep(Dashboard, request, body, charts=charts_of(body))
        return made

    @app.get("/api/v1/dashboards/{kept_id}")
    def get_dashboard(kept_id: uuid.UUID) -> Dashboard:
        found: Dashboard = find(kept_id)
        return found

    @app.put("/api/v1/dashboards/{kept_id}")
    def put_dashboard(kept_id: uuid.UUID, body: SaveDashboard, request: Request) -> Dashboard:
        made: Dashboard = change(kept_id, request, body, charts=charts_of(body))
        return made

    @app.post("/api/v1/dashboards/{kept_id}/tiles/{tile_id}/data", status_code=202)
    def run_tile(kept_id: uuid.UUID, tile_id: str, body: RunTile, request: Request) -> Query:
        tile = next(one for one in find(kept_id).tiles if one.id == tile_id)
        return run(request, find(tile.chart_id))

    @app.get("/api/v1/dashboards/{kept_id}/filters/{parameter}/options")
    def options(kept_id: uuid.UUID, parameter: str) -> FilterOptions:
        return FilterOptions(options=["AMER", "APAC", "EMEA"], truncated=False)


def _add_crud(
    app: FastAPI, path: str, kind: type[Any], body_type: type[Any], *acts: Callable[..., Any]
) -> None:
    keep, change, find, listed = acts

    def create(body: Annotated[Any, Body()], request: Request) -> Any:
        return keep(kind, request, body_type.model_validate(body))

    def get(kept_id: uuid.UUID) -> Any:
        return find(kept_id)

    def put(kept_id: uuid.UUID, body: Annotated[Any, Body()], request: Request) -> Any:
        return change(kept_id, request, body_type.model_validate(body))

    def every(text: str = "", workspace_id: uuid.UUID | None = None) -> Any:
        return listed(kind, text, workspace_id)

    app.add_api_route(f"/api/v1/{path}", every, response_model=list[kind])  # type: ignore[valid-type]  # a model that is known when it runs
    app.add_api_route(f"/api/v1/{path}", create, methods=["POST"], status_code=201, response_model=kind)
    app.add_api_route(f"/api/v1/{path}/{{kept_id}}", get, response_model=kind)
    app.add_api_route(f"/api/v1/{path}/{{kept_id}}", put, methods=["PUT"], response_model=kind)


if __name__ == "__main__":
    uvicorn.run(
        create_fake(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2] if len(sys.argv) > 2 else 8765)
    )
