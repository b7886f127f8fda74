"""The gate of the MLflow UI: who is let in, and what MLflow then sees."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.tracking.mlflow.gate import NO_LINK, Gate

HOST = "127.0.0.1:5000"
PASSWORD = "open-sesame"


def ask(
    path: str, *, method: str = "GET", kind: str = "http", **headers: str
) -> tuple[int, str, Mapping[str, str], list[dict[str, Any]]]:
    """Status, body and headers of an answer, and the requests that MLflow has seen; `_` in a header's name is `-`."""
    seen: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def mlflow(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"SAMEORIGIN")]})
        await send({"type": "http.response.body", "body": b"runs"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "client": ("127.0.0.1", 40000),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(Gate(mlflow, PASSWORD, ["login1", "login1.cluster.example"])(scope, receive, send))
    if kind != "http":
        return 0, sent[0]["type"] if sent else "", {}, seen
    answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], sent[1]["body"].decode().strip(), answer, seen


def test_with_the_link_mlflow_is_asked_without_the_password() -> None:
    status, body, headers, (scope,) = ask(f"/{PASSWORD}/get-artifact/é")
    assert (status, body) == (200, "runs")
    assert (scope["path"], scope["raw_path"]) == ("/get-artifact/é", b"/get-artifact/%C3%A9")
    assert headers == {
        "x-frame-options": "SAMEORIGIN",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    assert ask(f"/{PASSWORD}")[:2] == (307, "the link ends with a slash")
    assert ask(f"/{PASSWORD}")[2]["location"] == f"/{PASSWORD}/"


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/ajax-api/2.0/mlflow/runs/search", "/Open-Sesame/", "/open-sesam", "/open-sesamex/", "//", ""],
)
def test_without_the_password_nothing_is_answered(path: str) -> None:
    status, body, _, seen = ask(path)
    assert (status, body, seen) == (403, NO_LINK, [])


@pytest.mark.parametrize("host", ["login1:5000", "localhost:1", "LOCALHOST", "[::1]:5000", "10.0.0.7", "a.localhost:5"])
def test_this_machine_is_known_by_its_names_and_by_numbers(host: str) -> None:
    assert ask(f"/{PASSWORD}/", host=host)[0] == 200


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:5000", "127.0.0.1.evil.example", "login2"])
def test_a_name_that_somebody_made_lead_here_is_refused(host: str) -> None:
    """DNS rebinding: a page of evil.example, whose address has become 127.0.0.1, is of one origin with this server."""
    status, body, _, seen = ask(f"/{PASSWORD}/", host=host)
    assert (status, seen) == (403, []) and "is not called" in body


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:6000"},
        {"origin": "https://127.0.0.1:5000"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ],
)
def test_what_a_page_of_another_site_sends_is_refused(headers: dict[str, str]) -> None:
    status, body, _, seen = ask(f"/{PASSWORD}/ajax-api/2.0/mlflow/runs/delete", method="POST", **headers)
    assert (status, body, seen) == (403, "a page of another site has sent this", [])


def test_a_link_that_is_opened_from_elsewhere_and_the_pages_own_requests_pass() -> None:
    assert ask(f"/{PASSWORD}/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200
    own = {"origin": f"http://{HOST}", "sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}
    assert ask(f"/{PASSWORD}/ajax-api/2.0/mlflow/runs/search", method="POST", **own)[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("PUT", "/ajax-api/3.0/mlflow/assistant/config"),
        ("GET", "/ajax-api/3.0/mlflow/assistant/sessions/x/stream"),
        ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "/gateway/mlflow/v1/chat/completions"),
        ("POST", "/ajax-api/3.0/jobs"),
        ("POST", "/api/2.0/mlflow/webhooks"),
        ("POST", "/v1/traces"),
        ("POST", "/ajax-api/3.0/mlflow/scorer/invoke"),
    ],
)
def test_what_starts_programs_or_sends_requests_is_closed_to_everybody(method: str, path: str) -> None:
    status, body, _, seen = ask(f"/{PASSWORD}{path}", method=method)
    assert (status, seen) == (404, []) and "runs and their artifacts alone" in body


def test_mlflow_takes_nobody_for_a_client_of_this_machine() -> None:
    """Its pages ask for the assistant, which it gives to clients of loopback alone."""
    status, _, _, (scope,) = ask(f"/{PASSWORD}/ajax-api/3.0/mlflow/assistant/config")
    assert status == 200 and scope["client"][0] == "192.0.2.1"


@pytest.mark.parametrize(("kind", "said"), [("websocket", "websocket.close"), ("lifespan", "")])
def test_nothing_but_requests_reaches_mlflow(kind: str, said: str) -> None:
    assert ask(f"/{PASSWORD}/", kind=kind)[1:] == (said, {}, [])
