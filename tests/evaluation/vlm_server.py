"""A real HTTP server that answers as a judge model does, or misbehaves as asked, one behaviour a request."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-judge-4f7c19ab03e2"
USAGE = {"prompt_tokens": 700, "completion_tokens": 30}
HELD_S = 60.0  # nothing waits so long unless something is wrong


class Handler(BaseHTTPRequestHandler):
    """One request: recorded, then handed to its behaviour."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = self.server.enter(Received(self.path, dict(self.headers.items()), body))
        try:
            self.server.behave(number, body)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # who asked has gone
        finally:
            self.server.leave()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at what is printed."""

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


Behaviour = Callable[[Handler], None]


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All text of the first question, without the pictures."""
        return "\n".join(part["text"] for part in self.body["messages"][1]["content"] if part["type"] == "text")

    @property
    def pictures(self) -> list[str]:
        return [part["image_url"]["url"] for part in self.body["messages"][1]["content"] if part["type"] == "image_url"]


class Server(ThreadingHTTPServer):
    """Counts what is open at one time."""

    daemon_threads = True

    def __init__(self, behave: Callable[[int, Mapping[str, Any]], Behaviour]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = behave
        self.received: list[Received] = []
        self.open = 0
        self.most_open = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def enter(self, received: Received) -> int:
        with self._lock:
            self.received.append(received)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            return len(self.received) - 1

    def leave(self) -> None:
        with self._lock:
            self.open -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving(behave: Callable[[int, Mapping[str, Any]], Behaviour]) -> Iterator[Server]:
    """A server for as long as the block runs; `behave(number, body)` chooses what a request meets."""
    server = Server(behave)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def in_turn(*behaviours: Behaviour) -> Callable[[int, Mapping[str, Any]], Behaviour]:
    """The first request meets the first behaviour, and so on; the last one stays."""
    return lambda number, _: behaviours[min(number, len(behaviours) - 1)]


def completion(text: str | None, ended: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def scores(appearance: float, presence: float, view: float, scene: float) -> str:
    return json.dumps({"appearance": appearance, "presence": presence, "view": view, "scene": scene})


def says(text: str | None, ended: str = "stop", kind: str = "application/json") -> Behaviour:
    return lambda handler: handler.send(200, completion(text, ended), kind)


def fails(status: int, body: bytes = b"{}", kind: str = "application/json", **headers: str) -> Behaviour:
    return lambda handler: handler.send(status, body, kind, **headers)


def stops_halfway(handler: Handler) -> None:
    """Promises a whole body, sends half of it and closes the connection."""
    body = completion(scores(5, 5, 5, 5))
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def hangs_up(handler: Handler) -> None:
    """Closes the connection without a word."""
    handler.close_connection = True


def never_answers(handler: Handler) -> None:
    """Keeps the connection open until the server closes."""
    handler.server.closing.wait(HELD_S)
    handler.close_connection = True


def echoes_the_key(status: int) -> Behaviour:
    """Repeats the key it was given, as real servers have done."""

    def behave(handler: Handler) -> None:
        given = handler.headers.get("Authorization", "")
        handler.send(status, json.dumps({"error": {"message": f"incorrect API key provided: {given}"}}).encode())

    return behave


@dataclass
class Together:
    """Holds every request until `parties` of them are open."""

    parties: int
    text: str
    barrier: threading.Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.parties, timeout=HELD_S)

    def __call__(self, handler: Handler) -> None:
        self.barrier.wait()
        handler.send(200, completion(self.text))
