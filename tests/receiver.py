"""A receiver of webhooks in a thread of its own: keeps what is posted to it, answers as it is told."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Received:
    """One request. fields: of a form, in order; data: of JSON, else {}."""

    path: str
    headers: dict[str, str]
    body: bytes
    fields: list[tuple[str, str]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def first(self, name: str) -> str:
        return next((value for key, value in self.fields if key == name), "")


class Receiver:
    """posts: everything that came, in order. answer: the status of each answer."""

    def __init__(self) -> None:
        self.posts: list[Received] = []
        self.answer = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append(_read(self.path, dict(self.headers), body))
                self.send_response(receiver.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def at(self, path: str) -> list[Received]:
        return [post for post in list(self.posts) if post.path == f"/{path}"]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Who posts may be killed in the middle."""


def _read(path: str, headers: dict[str, str], body: bytes) -> Received:
    kind = headers.get("Content-Type", "")
    if kind.startswith("application/json"):
        return Received(path, headers, body, data=json.loads(body))
    if kind.startswith("application/x-www-form-urlencoded"):
        return Received(path, headers, body, fields=parse_qsl(body.decode(), keep_blank_values=True))
    return Received(path, headers, body)
