"""A reverse proxy on loopback before an object store: it counts, and it does what networks and stores do on bad days."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HOPS = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


@dataclasses.dataclass
class Call:
    """One request that came.

    Attributes:
      number: from 1 since the last `reset`.
      method, path: as the client sent them.
      sent, served: bytes of the bodies of request and answer.
    """

    number: int
    method: str
    path: str
    sent: int = 0
    served: int = 0

    @property
    def is_data(self) -> bool:
        """Whether it reads an object's content."""
        return self.method == "GET" and "list-type" not in self.path and "prefix=" not in self.path


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to a call.

    Attributes:
      status: an answer that the store did not give, with its body.
      body: of that answer.
      pause: seconds before the answer.
      reset: the connection is reset in the middle of the request's body.
      cut: the answer ends after half of its body.
      alter: a byte in the middle of the answer's body is another.
      away: the connection is closed without a word.
    """

    status: int = 0
    body: bytes = b""
    pause: float = 0.0
    reset: bool = False
    cut: bool = False
    alter: bool = False
    away: bool = False


class Proxy:
    """The proxy; `rule`, `before` and `after` may be set at any time.

    Attributes:
      port: where it listens.
      rule: tells the fault of a call; none by default.
      before: called before a call reaches the store.
      after: called when the store has done it, before the client knows.
      calls: what came since the last `reset`.
    """

    def __init__(self) -> None:
        self.upstream = 0
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.reset()

    def reset(self) -> None:
        """Forgets all calls and faults."""
        self.rule: Callable[[Call], Fault | None] = lambda call: None
        self.before: Callable[[Call], None] = lambda call: None
        self.after: Callable[[Call], None] = lambda call: None
        self.calls = []

    def add(self, method: str, path: str) -> Call:
        with self._lock:
            call = Call(len(self.calls) + 1, method, path)
            self.calls.append(call)
            return call

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Header and body go out in two pieces, and the second would wait for an answer to the first.
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            call = proxy.add(self.command, self.path)
            fault = proxy.rule(call) or Fault()
            if fault.away:
                self._hang_up()
                return
            if fault.reset:
                self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
                self._hang_up()
                return
            body = self._body()
            call.sent = len(body)
            time.sleep(fault.pause)
            if fault.status:
                self._answer(fault.status, [("Content-Type", "application/xml")], fault.body)
                return
            proxy.before(call)
            status, headers, content = self._forward(body)
            proxy.after(call)
            if fault.alter and content:
                middle = len(content) // 2
                content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            call.served = len(content)
            self._answer(status, headers, content, cut=fault.cut)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _serve

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
            headers["Content-Length"] = str(len(body))
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                return answer.status, answer.getheaders(), content
            finally:
                connection.close()

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False) -> None:
            length = next((value for name, value in headers if name.lower() == "content-length"), None)
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOPS | {"content-length"}:
                    self.send_header(name, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", length or "0")
            elif status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.wfile.flush()
                self._hang_up()

        def _hang_up(self) -> None:
            self.close_connection = True
            # With data left unread the peer gets a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
