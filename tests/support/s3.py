"""An S3 server in this process (moto), behind a proxy that can fail as object stores do."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from moto.server import ThreadedMotoServer

Fault = Literal["reset", "hang", "slow", "500", "503", "cut", "wrong"]
FAULTS: tuple[Fault, ...] = ("reset", "hang", "slow", "500", "503", "cut", "wrong")
BUCKET = "bucket"
SLOW_S = 2.0
_CODES = {"500": "InternalError", "503": "SlowDown"}


class S3:
    """The server, as its clients see it."""

    def __init__(self, port: int, port_behind: int) -> None:
        self.environ = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.port_behind = port_behind
        self.methods: list[str] = []
        self.fault: Fault | None = None
        self.faults_left = 0
        self.is_over = threading.Event()

    @contextlib.contextmanager
    def failing(self, fault: Fault, times: int = 1_000_000) -> Iterator[None]:
        """Meanwhile requests fail, at most so many."""
        self.is_over.clear()
        self.fault, self.faults_left = fault, times
        try:
            yield
        finally:
            self.fault = None
            self.is_over.set()

    def next_fault(self) -> Fault | None:
        self.faults_left -= 1
        return self.fault if self.faults_left >= 0 else None

    def behind(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """The response of the server itself, with its whole body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port_behind, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()

    def num_objects(self) -> int:
        content: bytes = self.behind("GET", f"/{BUCKET}?list-type=2")[2]
        return content.count(b"<Key>")

    def buckets(self) -> bytes:
        content: bytes = self.behind("GET", "/")[2]
        return content


@contextlib.contextmanager
def server() -> Iterator[S3]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    proxy.daemon_threads = True
    s3 = S3(proxy.server_address[1], moto.get_host_and_port()[1])
    proxy.s3 = s3  # type: ignore[attr-defined]
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        s3.behind("PUT", f"/{BUCKET}")
        yield s3
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        moto.stop()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        s3: S3 = self.server.s3  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        s3.methods.append(self.command)
        fault = s3.next_fault()
        if fault == "hang":
            s3.is_over.wait()
        if fault in ("hang", "reset"):
            self.close_connection = True
            return
        if fault in _CODES:
            error = f"<Error><Code>{_CODES[fault]}</Code><Message>x</Message></Error>".encode()
            self._send(int(fault), [("Content-Type", "application/xml")], error)
            return
        if fault == "slow":
            time.sleep(SLOW_S)
        status, headers, content = s3.behind(self.command, self.path, body, **dict(self.headers))
        if fault == "wrong":
            headers = [pair for pair in headers if "checksum" not in pair[0].lower()]
            content = content[::-1]
        self._send(status, headers, content, is_cut=fault == "cut")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle

    def _send(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, is_cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        size = dict((name.lower(), value) for name, value in headers).get("content-length")
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", size if is_head and size else str(len(content)))
        self.end_headers()
        if is_cut:
            self.close_connection = True
            content = content[: len(content) // 2]
        self.wfile.write(b"" if is_head else content)

    def log_message(self, *_: object) -> None:
        pass
