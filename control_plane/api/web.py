"""The built web app, from a folder: hashed assets for ever, its one page for every other address."""

from __future__ import annotations

import gzip
import mimetypes
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from contracts.errors import LabError
from control_plane.api.problems import problem

_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"
_COMPRESSIBLE = ("text/", "application/javascript", "application/json", "image/svg+xml", "application/wasm")
_CACHED_FILES = 128
_WITHOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Lakehouse Lab console</title></head><body>
<h1>The console's API runs; its web app is not built</h1>
<p>Build it with <code>npm ci &amp;&amp; npm run build</code> in <code>control_plane/web</code>, then run
<code>./lab up console</code> again.</p>
<p>The API's description: <a href="/api/v1/openapi.json">openapi.json</a>.
<a href="/auth/login?next=/">Sign in</a>.</p>
</body></html>
"""
mimetypes.add_type("application/javascript", ".js")
mimetypes.add_type("font/woff2", ".woff2")


def add_web(app: FastAPI, folder: Path | None) -> None:
    """Serves ``folder``: ``assets/`` holds files with a hash in their name, ``index.html`` is the page.
    A ``.br`` or ``.gz`` beside a file is taken in its place."""

    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str, request: Request) -> Response:
        if path.startswith(("api/", "auth/", "health/")):
            return _nothing(request)
        if folder is None or not (folder / "index.html").is_file():
            return HTMLResponse(_WITHOUT, headers={"Cache-Control": _REVALIDATE})
        found = _inside(folder, path)
        if found is not None:
            hashed = path.startswith("assets/")
            return _file(found, request, _IMMUTABLE if hashed else _REVALIDATE)
        if path.startswith("assets/"):
            # An asset of an older build: the page must not come in its place.
            return _nothing(request)
        return _file(folder / "index.html", request, _REVALIDATE)


def _nothing(request: Request) -> Response:
    missing = LabError("there is nothing at this address", value=request.url.path)
    return problem(missing, status=HTTPStatus.NOT_FOUND)


def _inside(folder: Path, path: str) -> Path | None:
    """The file of that path below ``folder``; links and dots lead nowhere else."""
    if not path or "\0" in path:
        return None
    root = folder.resolve()
    found = (root / path).resolve()
    return found if found.is_relative_to(root) and found.is_file() else None


def _file(path: Path, request: Request, cache: str) -> Response:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {"Cache-Control": cache, "Vary": "Accept-Encoding"}
    if not kind.startswith(_COMPRESSIBLE):
        return FileResponse(path, media_type=kind, headers=headers)
    accepted = {
        part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")
    }
    for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
        packed = path.with_name(path.name + suffix)
        if encoding in accepted and packed.is_file():
            return FileResponse(packed, media_type=kind, headers={**headers, "Content-Encoding": encoding})
    if "gzip" in accepted:
        content = _gzipped(str(path), path.stat().st_mtime_ns)
        return Response(content, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})
    return FileResponse(path, media_type=kind, headers=headers)


@lru_cache(maxsize=_CACHED_FILES)
def _gzipped(path: str, changed_ns: int) -> bytes:
    del changed_ns  # a part of the key
    return gzip.compress(Path(path).read_bytes(), compresslevel=6, mtime=0)
