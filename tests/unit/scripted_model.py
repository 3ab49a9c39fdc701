"""A server that speaks OpenAI's chat protocol and answers by a script: what a model would say, turn by turn.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Turn = Mapping[str, Any]
"""``{"tool": name, **arguments}``, several of them as ``{"tools": [...]}``, ``{"text": words}`` or
``{"status": 500}``."""


@dataclass
class Script:
    """Turns still to come, and the requests that were made. The last turn is repeated."""

    turns: list[Turn]
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def next(self) -> Turn:
        return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]

    def said(self, number: int = -1) -> str:
        """All that a request told the model, as one text."""
        return "\n".join(str(message.get("content")) for message in self.requests[number]["messages"])

    def tools_offered(self, number: int) -> list[str]:
        return [tool["function"]["name"] for tool in self.requests[number].get("tools", [])]


@contextmanager
def scripted(*turns: Turn) -> Iterator[Script]:
    """The running server; ``url`` is its base URL."""
    script = Script(list(turns))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length))
            body["authorization"] = self.headers.get("Authorization", "")
            script.requests.append(body)
            turn = script.next()
            status = int(turn.get("status", 200))
            answer = {"error": {"message": turn.get("text", "no")}} if status != 200 else _completion(turn)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _completion(turn: Turn) -> dict[str, Any]:
    calls: Sequence[Turn] = turn.get("tools") or ([turn] if "tool" in turn else [])
    message: dict[str, Any] = {"role": "assistant", "content": turn.get("text")}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call-{number}",
                "type": "function",
                "function": {
                    "name": call["tool"],
                    "arguments": json.dumps({key: value for key, value in call.items() if key != "tool"}),
                },
            }
            for number, call in enumerate(calls)
        ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
