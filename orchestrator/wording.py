"""Words that several messages share: counts with their noun, long lists, times, states with their reason, URLs."""

import time
from collections.abc import Sequence
from urllib.parse import urlsplit


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 job`, `2 jobs`; `plural` where an `s` is not enough."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def shortened(names: Sequence[str], most: int) -> str:
    """`a, b and 3 more`: at most so many names."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def shortened_lines(lines: Sequence[str], most: int, what: str = "") -> list[str]:
    """At most so many lines, then `  ... and 3 more`, or `  ... and 3 more WHAT`."""
    left = len(lines) - most
    return [*lines[:most], *([f"  ... and {left} more {what}".rstrip()] if left > 0 else [])]


def last_line(text: str) -> str:
    """The last line that says something; empty: none does."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def local_time(at: float, *, seconds: bool = True) -> str:
    """Seconds since 1970 as `2026-01-31 14:05:09` of this machine's time zone, or to the minute."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M", time.localtime(at))


def without_state(state: str, reason: str) -> str:
    """A reason for a line that names the state already: `cancelled; retry it` -> `retry it`."""
    rest = reason.removeprefix(state)
    return rest.lstrip(" ,:;") if rest != reason and (not rest or rest[0] in " ,:;") else reason


def state_words(state: str, reason: str) -> str:
    """`failed: why`; the reason alone where it begins with the state."""
    rest = without_state(state, reason)
    return f"{state}: {reason}" if reason and rest == reason else reason or state


def progress_words(step: int, of: int, phase: str) -> str:
    """`12/40 train`; the phase alone while the number of steps is not known."""
    return f"{step}/{of} {phase}" if of else phase


def public_url(url: str) -> str:
    """A URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an invalid URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
