"""One question over HTTP to one model: POST {base}/chat/completions, and what the reply means for asking again.

Redirects are not followed and no other credentials than the given key are sent (`requests` would look into ~/.netrc).
A reply is read within one time limit from its first byte to its last, and up to a size that no answer has.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.auth import AuthBase

from workloads.evaluation.vlm.endpoint import KEY, URL, Endpoint
from workloads.evaluation.vlm.rubric import Turn
from workloads.runtime.errors import BadInput

DECODING: Mapping[str, Any] = {"temperature": 0, "max_tokens": 800}
"""Sent with every question, and part of every cached answer's key."""

JSON_ONLY: Mapping[str, Any] = {"response_format": {"type": "json_object"}}
"""Sent until a server refuses it. It narrows what may be said and is no part of the key."""

LONGEST_REPLY = 4 << 20  # bytes
CONNECT_S = 10.0
SHOWN = 200  # characters of a server's own words that are repeated
FILTERED = ("content_filter", "content_policy")

REFUSED = 400
NO_KEY, FORBIDDEN, NOT_THERE = 401, 403, 404
AGAIN = frozenset({408, 409, 425, 429})
GATEWAY = frozenset({502, 503, 504})
"""What a proxy answers in place of a server that is gone."""


@dataclass(frozen=True)
class Reply:
    """What a model said."""

    text: str
    """Empty: it said nothing, or was not let."""
    ended: str
    """`finish_reason`: stop, length, content_filter, …"""
    prompt_tokens: int
    completion_tokens: int


class Transient(Exception):
    """No answer this time; another try may get one."""

    def __init__(self, why: str, *, retry_after_s: float | None = None, reached: bool = False) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        """How long the server asked to be left alone."""
        self.reached = reached
        """Whether a server answered at all, and not a proxy for one that is gone."""


class Client:
    """One model at one endpoint. May be used by several threads at once."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._endpoint = endpoint
        self.model = model
        self._json_only = True

    def ask(self, turns: Sequence[Turn]) -> Reply:
        """One reply.

        Raises:
            Transient: rate limits, faults of the server, timeouts, broken connections and broken replies.
            BadInput: the server will never answer such a question: wrong key, no such model, no images, a redirect.
        """
        json_only = self._json_only
        status, headers, body = self._post(turns, json_only)
        if status == REFUSED and json_only and not _filtered(body):
            status, headers, body = self._post(turns, json_only=False)
            self._json_only = status == REFUSED  # refused all the same: it was not for that parameter
        if status == REFUSED and _filtered(body):
            return Reply("", "content_filter", 0, 0)
        if status != requests.codes.ok:
            raise self._failure(status, headers, body)
        return _reply(body)

    def _post(self, turns: Sequence[Turn], json_only: bool) -> tuple[int, Mapping[str, str], bytes]:
        question = {"model": self.model, "messages": list(turns), **DECODING, **(JSON_ONLY if json_only else {})}
        limit_s = self._endpoint.timeout_s
        until = time.monotonic() + limit_s
        try:
            with requests.post(
                f"{self._endpoint.url}/chat/completions",
                json=question,
                auth=_Bearer(self._endpoint.key),
                headers={"Accept": "application/json"},
                timeout=(min(CONNECT_S, limit_s), limit_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = b""
                for part in response.iter_content(1 << 16):
                    body += part
                    if len(body) > LONGEST_REPLY:
                        raise Transient(f"the reply is longer than {LONGEST_REPLY} bytes", reached=True)
                    if time.monotonic() > until:
                        raise Transient(f"the reply took longer than {limit_s:g} s", reached=True)
                return response.status_code, response.headers, body
        except requests.Timeout as error:
            raise Transient(f"no reply in {limit_s:g} s") from error
        except requests.RequestException as error:
            raise Transient(f"the connection failed ({type(error).__name__})") from error

    def _failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        """What a status other than 200 means."""
        if status in AGAIN or status >= 500:
            wished_s = _retry_after_s(headers)
            return Transient(f"the server answered {status}", retry_after_s=wished_s, reached=status not in GATEWAY)
        if status in (NO_KEY, FORBIDDEN):
            return BadInput(
                f"the judge's server refused the key for model {self.model!r} (HTTP {status}); set {KEY} to a key that "
                "may use it, then retry the job"
            )
        if status == NOT_THERE:
            return BadInput(
                f"the judge's server has no model {self.model!r}, or no /chat/completions under {URL} (HTTP {status}); "
                "ask GET {base}/models for the names it serves, and correct controls.judge.models or the URL"
            )
        if 300 <= status < 400:
            return BadInput(
                f"the judge's server redirects (HTTP {status}), which is not followed; set {URL} to where it answers"
            )
        said = self._endpoint.masked(body.decode("utf-8", "replace"))[:SHOWN]
        return BadInput(
            f"the judge's server will not take a question to model {self.model!r} (HTTP {status}: {said!r}); it must "
            "be a model that takes several images; correct controls.judge.models or how it is served"
        )


@dataclass(frozen=True, repr=False)
class _Bearer(AuthBase):
    """The key as a header; given even without a key, so that `requests` looks for no other."""

    key: str | None

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.key is not None:
            r.headers["Authorization"] = f"Bearer {self.key}"
        return r


def _filtered(body: bytes) -> bool:
    """Whether a refusal is about what is asked of, by a server that says so with status 400."""
    text = body.decode("utf-8", "replace").lower()
    return any(word in text for word in FILTERED)


def _reply(body: bytes) -> Reply:
    """Raises Transient for a body that is no chat completion."""
    try:
        raw = json.loads(body)
        choice = raw["choices"][0]
        content = choice["message"].get("content")
        if content is not None and not isinstance(content, str):
            raise TypeError("content is no text")
        usage = raw.get("usage") or {}
        return Reply(
            text=content or "",
            ended=str(choice.get("finish_reason") or ""),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise Transient(f"the reply is no chat completion ({type(error).__name__})", reached=True) from error


def _count(value: Any) -> int:
    """A number of tokens; what a server does not tell, or not as a number, counts nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None without a usable one."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None
