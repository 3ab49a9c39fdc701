"""A Spark gateway that keeps jobs as the real one does: what they do is said by the test."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import httpx
import jwt

from tests.unit.test_governor_auth import KEY

URL = "http://spark.test:28030"


class FakeSpark:
    """The gateway. ``refusals`` are answered to submissions first; a job runs until :meth:`end`."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.programs: list[dict[str, Any]] = []
        self.refusals: list[tuple[int, str]] = []
        self.forget_answers = 0
        self.down = False
        self._lock = threading.Lock()

    def end(self, job_id: str, state: str = "succeeded", **more: Any) -> None:
        """What becomes of a job."""
        self.jobs[job_id] |= {"state": state, "ended_at": 2.0, **more}

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answers one request."""
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, KEY.public_key(), ["RS256"], audience="spark")
        assert claims["aud"] == "spark", "an exchanged token has one audience"
        with self._lock:
            return self._answer(request, claims["preferred_username"])

    def _answer(self, request: httpx.Request, username: str) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/jobs").strip("/")
        if request.method == "POST":
            return self._submit(request, username)
        if not path:
            return httpx.Response(200, json=[j for j in self.jobs.values() if j["username"] == username])
        job = self.jobs.get(path.split("/")[0])
        if job is None or job["username"] != username:
            return _problem(404, "there is no job of that id")
        if path.endswith("/log"):
            text, offset = self.logs.get(job["id"], ""), int(request.url.params["offset"])
            ended = job["state"] not in ("starting", "running")
            return httpx.Response(200, json={"text": text[offset:], "next_offset": len(text), "ended": ended})
        if request.method == "DELETE":
            self.end(job["id"], "killed")
        return httpx.Response(200, json=job)

    def _submit(self, request: httpx.Request, username: str) -> httpx.Response:
        if self.refusals:
            return _problem(*self.refusals.pop(0))
        body = json.loads(request.content)
        self.programs.append({**body, "content": base64.b64decode(body["content"]).decode()})
        job = {
            "id": f"spark-{len(self.jobs) + 1}",
            "username": username,
            "file_name": body["file_name"],
            "arguments": body["arguments"],
            "state": "running",
            "submitted_at": 1.0,
        }
        self.jobs[job["id"]] = job
        if self.forget_answers:
            self.forget_answers -= 1
            raise httpx.ReadError("connection reset", request=request)
        return httpx.Response(200, json=job)


def _problem(status: int, title: str) -> httpx.Response:
    return httpx.Response(status, json={"title": title, "status": status})
