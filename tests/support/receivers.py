"""Receivers of alerts on loopback: an HTTP server that keeps what it is sent, and a mail server."""

from __future__ import annotations

import contextlib
import http.server
import socketserver
import threading
import time
from collections.abc import Iterator


class Posts(list):
    """The requests so far, as (path, headers, body); `answers` holds the codes of the next answers, then 200."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.delay = 0.0
        self.url = ""


@contextlib.contextmanager
def web() -> Iterator[Posts]:
    """An HTTP server."""
    posts = Posts()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, dict(self.headers), body))
            time.sleep(posts.delay)
            code, headers = posts.answers.pop(0) if posts.answers else (200, {})
            with contextlib.suppress(OSError):
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    posts.url = f"http://127.0.0.1:{server.server_port}/hook/secret-token"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield posts
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def mail() -> Iterator[tuple[int, list[str]]]:
    """A mail server without TLS: its port, and the messages so far."""
    messages: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                command = line.strip().upper()
                if command.startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    for part in self.rfile:
                        if part.rstrip(b"\r\n") == b".":
                            break
                        lines.append(part)
                    messages.append(b"".join(lines).decode())
                if command.startswith(b"QUIT"):
                    self.wfile.write(b"221 bye\r\n")
                    return
                self.wfile.write(b"250 well\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], messages
    finally:
        server.shutdown()
        server.server_close()
