"""Gate of the MLflow UI: who may ask it, and for what. An ASGI application (asgi.readthedocs.io) around MLflow's.

Loopback is open to every user of a machine, and to every page that a browser on it shows. So each address of the UI
begins with a password that is made at each start: whoever has the printed link is let in, in any browser, and nobody
else. A cookie would be sent to the servers of other users too, because browsers send it to all ports of a machine.

Pages of other sites are refused even if they know the link: by `Host` (a name of theirs that leads to this machine) and
by `Origin` and `Sec-Fetch-Site` (a request that they make in a visitor's browser).
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import quote

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CLOSED = (
    *("/ajax-api/3.0/mlflow/assistant", "/ajax-api/3.0/jobs", "/gateway", "/v1/traces"),
    *(
        f"/{kind}{version}/mlflow/{what}"
        for kind in ("api/", "ajax-api/")
        for version in ("2.0", "3.0")
        for what in (
            *("gateway", "gateway-proxy", "mcp-servers", "webhooks", "runs/create-promptlab-run", "jobs"),
            *("genai", "issues/invoke", "scorer/invoke", "prompt-optimization"),
        )
    ),
)
"""What MLflow offers beside runs: programs that it starts, and requests that it makes with credentials of its own."""
ASKED = (
    *(f"/ajax-api/3.0/mlflow/assistant/{what}" for what in ("config", "providers")),
    "/ajax-api/2.0/mlflow/gateway-proxy",  # to which the answer is that there is no gateway
)
"""What MLflow's pages ask before they show the like; without an answer they show an error."""
ELSEWHERE = ("192.0.2.1", 0)
"""The client that MLflow sees, at nobody's address (RFC 5737): it starts its assistant for loopback's alone."""
HEADERS = (
    (b"referrer-policy", b"no-referrer"),  # a link from here to elsewhere does not tell the password
    (b"cross-origin-resource-policy", b"same-origin"),
)
NO_LINK = "open the link that `echo-matrix ui` has printed: it holds the password of this start"


class Gate:
    """MLflow's application behind a password.

    Args:
        application: MLflow's.
        password: first part of every path.
        names: of this machine, by which a browser may name it besides `localhost` and addresses of numbers.
    """

    def __init__(self, application: Application, password: str, names: Collection[str] = ()) -> None:
        self._application = application
        self._prefix = f"/{password}"
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without the password; or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        status, why = self.verdict(scope)
        if why:
            location = ((b"location", self._prefix.encode() + b"/"),) if status == 307 else ()
            content = (b"content-type", b"text/plain; charset=utf-8")
            await send({"type": "http.response.start", "status": status, "headers": [content, *location, *HEADERS]})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})
            return

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        path = scope["path"][len(self._prefix) :]
        inner = {**scope, "path": path, "raw_path": quote(path).encode(), "client": ELSEWHERE}
        await self._application(inner, receive, answer)

    def verdict(self, scope: Scope) -> tuple[int, str]:
        """Status and reason of a refusal; an empty reason: the request is passed on."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._is_this_machine(host):
            return 403, f"this machine is not called {host!r} here: use localhost or its address"
        path = scope["path"]
        if not hmac.compare_digest(path[: len(self._prefix)].encode(), self._prefix.encode()):
            return 403, NO_LINK
        rest = path[len(self._prefix) :]
        if not rest:
            return 307, "the link ends with a slash"
        if not rest.startswith("/"):
            return 403, NO_LINK
        if not _is_own(headers, host):
            return 403, "a page of another site has sent this"
        if rest.startswith(CLOSED) and not (scope["method"] == "GET" and rest in ASKED):
            return 404, "`echo-matrix ui` serves runs and their artifacts alone"
        return 200, ""

    def _is_this_machine(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower().removesuffix(".")
        if name == "localhost" or name.endswith(".localhost") or name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # somebody else's name may lead here, a number is nobody's


def _is_own(headers: dict[str, str], host: str) -> bool:
    """Whether the page that sent a request is one of ours, or the request is a link that was opened."""
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return False
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    return site in (None, "same-origin", "none") or mode == "navigate"
