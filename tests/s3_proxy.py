"""A proxy on loopback that makes requests to an S3 server fail, one by one, as networks and services do.

    with faulty(service) as proxy:
        proxy.fail(LOST_ANSWER, "PUT", "commits/")             # the next PUT whose key holds "commits/"
        proxy.fail(refusal(503, "SlowDown"), times=3)          # the next three requests
        store = make_store(service.behind(proxy.endpoint).location(tmp_path))
        ...
        assert proxy.seen("PUT", "commits/") == 2

Signatures hold, since the server sees the host that the client signed: the proxy's.
"""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from s3_servers import Service


@dataclass(frozen=True)
class Answer:
    """What a server answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """How one request fails."""

    name: str
    request: Callable[[bytes], bytes] | None = None
    """Changes the body before it is forwarded."""
    forwarded: bool = True
    """Whether the server gets the request."""
    answer: Callable[[Answer], Answer] | None = None
    """Changes what the client gets; None: nothing arrives."""
    hangs_s: float = 0.0
    """Before anything is answered."""
    sent: float = 1.0
    """Share of the body that arrives before the connection ends."""


def flipped(body: bytes, bit: int = 1) -> bytes:
    """`body` with one bit in its middle changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ bit]) + body[middle + 1 :] if body else body


def refusal(status: int, code: str, more: str = "", **headers: str) -> Fault:
    """The request is not forwarded, and refused with an error of S3; `more`: XML inside the error."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>Told to fail</Message>{more}'
        "<RequestId>1</RequestId></Error>"
    ).encode()
    named = {"Content-Type": "application/xml", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Fault(code, forwarded=False, answer=lambda _: Answer(status, named, body))


def page(status: int, text: str) -> Fault:
    """The answer of something that is no S3 service."""
    return Fault("page", forwarded=False, answer=lambda _: Answer(status, {"Content-Type": "text/html"}, text.encode()))


def _same(answer: Answer) -> Answer:
    return answer


LOST_ANSWER = Fault("the server does it, and its answer is lost")
DROPPED = Fault("the connection ends before the server hears of it", forwarded=False)
CONFLICT = refusal(409, "ConditionalRequestConflict")
FALSE_PRECONDITION = refusal(412, "PreconditionFailed")
SLOW_DOWN = refusal(503, "SlowDown")
INTERNAL = refusal(500, "InternalError")
DONE_AND_INTERNAL = Fault("the server does it, and answers 500", answer=INTERNAL.answer)
TRUNCATED = Fault("the answer ends in its middle", answer=_same, sent=0.5)
# Another bit than that of a request: the two would repair each other.
FLIPPED_ANSWER = Fault("a bit of the answer differs", answer=lambda a: Answer(a.status, a.headers, flipped(a.body, 2)))
FLIPPED_REQUEST = Fault("a bit of the request differs", request=flipped, answer=_same)


def hang(seconds: float) -> Fault:
    """The server does not hear of it, and nothing is answered for so long."""
    return Fault("hangs", forwarded=False, hangs_s=seconds)


@dataclass
class _Armed:
    fault: Fault
    method: str
    key: str
    times: int


@dataclass
class FaultProxy:
    """Passes requests on to a service, but for those that are told to fail."""

    service: Service
    endpoint: str = ""
    _armed: list[_Armed] = field(default_factory=list)
    _seen: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, fault: Fault, method: str = "", key: str = "", *, times: int = 1) -> None:
        """Let the next requests of this method (empty: any) whose path and query hold `key` fail."""
        with self._lock:
            self._armed.append(_Armed(fault, method, key, times))

    def clear(self) -> None:
        """Pass everything on, and forget what was seen."""
        with self._lock:
            self._armed.clear()
            self._seen.clear()

    def seen(self, method: str = "", key: str = "") -> int:
        """How many such requests there were, failed ones included."""
        with self._lock:
            return sum(method in ("", one) and key in path for one, path in self._seen)

    def fault_of(self, method: str, path: str) -> Fault | None:
        """The fault of a request that has arrived."""
        with self._lock:
            self._seen.append((method, path))
            for armed in self._armed:
                if armed.times and armed.method in ("", method) and armed.key in path:
                    armed.times -= 1
                    return armed.fault
        return None


@contextlib.contextmanager
def faulty(service: Service) -> Iterator[FaultProxy]:
    """A proxy of `service`."""
    proxy = FaultProxy(service)
    upstream = urlsplit(service.endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault_of(self.command, unquote(self.path))
            if fault is None:
                self._send(self._forward(body), 1.0)
                return
            answer = Answer(200, {}, b"")
            if fault.forwarded:
                answer = self._forward(fault.request(body) if fault.request else body)
            if fault.hangs_s:
                time.sleep(fault.hangs_s)
            if fault.answer is not None:
                self._send(fault.answer(answer), fault.sent)
            if fault.answer is None or fault.sent < 1:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

        def _forward(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("expect", "connection"):
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return Answer(answer.status, dict(answer.getheaders()), answer.read())
            finally:
                connection.close()

        def _send(self, answer: Answer, share: float) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer.body))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: int(len(answer.body) * share)])

        def log_message(self, *_: object) -> None:
            """Silent: what was asked is in `seen`."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A client that gives up is no error here."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
