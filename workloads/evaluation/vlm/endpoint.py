"""Where the judge's models answer: an OpenAI-compatible base URL and its key, from the environment alone.

Where is not what: neither is part of a fingerprint, of a cache's keys, or of any file. The key is shown by nothing
here: not by `repr`, and not in text that a server sends back (`Endpoint.masked`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from workloads.runtime.errors import BadInput

URL = "ECHO_MATRIX_JUDGE_URL"
KEY = "ECHO_MATRIX_JUDGE_KEY"
CONCURRENCY = "ECHO_MATRIX_JUDGE_CONCURRENCY"
TIMEOUT = "ECHO_MATRIX_JUDGE_TIMEOUT_S"

QUESTIONS_AT_ONCE = 4
MOST_AT_ONCE = 256
TIMEOUT_S = 180.0  # of one answer, from the request to its last byte
LONGEST_TIMEOUT_S = 3600.0
MASK = "***"

EXAMPLE = "http://127.0.0.1:8000/v1"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint, and how it may be asked."""

    url: str
    """Base URL without a slash at its end; `/chat/completions` follows."""
    key: str | None = field(repr=False)
    """Sent as a bearer token; None: no such header."""
    at_once: int
    """Questions that may be open at one time."""
    timeout_s: float

    def masked(self, text: str) -> str:
        """`text` without the key, should a server have repeated it."""
        return text.replace(self.key, MASK) if self.key else text


def endpoint_from(environment: Mapping[str, str], paths: Mapping[str, str]) -> Endpoint:
    """The endpoint of `environment`, or of `paths["judge_url"]` where the environment names none.

    A refused URL is not repeated, since it may hold a password.

    Raises:
        BadInput: no URL, one that cannot be used or holds a secret, or a number out of its range.
    """
    name = URL if environment.get(URL) else "paths.judge_url"
    url = environment.get(URL) or paths.get("judge_url", "")
    if not url:
        raise BadInput(
            f"{URL} is not set, and the judge vlm asks an OpenAI-compatible endpoint; "
            f"set it to a base URL such as {EXAMPLE}, and {KEY} if the server wants a key"
        )
    key = environment.get(KEY, "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise BadInput(f"{KEY} holds a character that no header can carry; set it to the key alone")
    return Endpoint(
        url=_usable(url, name),
        key=key,
        at_once=int(_number(environment, CONCURRENCY, QUESTIONS_AT_ONCE, 1, MOST_AT_ONCE, whole=True)),
        timeout_s=_number(environment, TIMEOUT, TIMEOUT_S, 0.1, LONGEST_TIMEOUT_S, whole=False),
    )


def _usable(url: str, name: str) -> str:
    try:
        parts = urlsplit(url.strip())
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_one = urlsplit(""), False
    if parts.username is not None or parts.password is not None:
        raise BadInput(f"{name} holds a user or a password; give the URL without it, and a key by {KEY}")
    if parts.query or parts.fragment:
        raise BadInput(f"{name} has a query or a fragment; give the base URL alone, and a key by {KEY}")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one:
        raise BadInput(f"{name} is no URL of a server; allowed: http or https, a host and a path, such as {EXAMPLE}")
    return parts.geturl().rstrip("/")


def _number(
    environment: Mapping[str, str], name: str, otherwise: float, low: float, high: float, *, whole: bool
) -> float:
    text = environment.get(name, "")
    if not text:
        return otherwise
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        kind = "a whole number" if whole else "seconds"
        raise BadInput(f"{name} is {text!r}; allowed: {kind}, {low:g}..{high:g}")
    return value
