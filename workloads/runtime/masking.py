"""Secret masking, for orchestrator and workloads: what counts as a secret, and how it is kept out of every file.

Secrets come from the environment only, so their values are known: those of variables with names like `API_KEY`, and
passwords in addresses. Text that looks like a password in an address, or like a token of a well-known service, is
masked too. Standard library only.
"""

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSW|JWT", re.IGNORECASE)
SHORTEST_SECRET = 6  # a shorter value (`TOKENIZERS_PARALLELISM=false`) would mask ordinary words
SHORTEST_REFUSED = 8  # a shorter value may be in a configuration by chance
MASK = "***"

_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]*:([^/\s@'\"]*)@")
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]+@")
_TOKEN = re.compile(
    r"\b(hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+)"
)


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values to mask, in all usual notations; longest first, so that each is masked as a whole."""
    found: set[str] = set()
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            found.add(value)
            found.update(value.splitlines())  # a log is masked line by line, a private key has several
        found.update(_IN_ADDRESS.findall(value))
    found |= {unquote(value) for value in found}
    written = (lambda v: quote(v, safe=""), lambda v: json.dumps(v)[1:-1], lambda v: repr(v)[1:-1], _doubled)
    found |= {form(value) for form in written for value in found}
    return tuple(sorted((v for v in found if len(v) >= SHORTEST_SECRET), key=lambda value: (-len(value), value)))


def _doubled(value: str) -> str:
    return value.replace("\\", "\\\\")


def mask(text: str, secrets: Sequence[str]) -> str:
    """`text` with these values, passwords in addresses and anything like a token masked."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    if "://" in text:
        text = _USER_IN_ADDRESS.sub(f"{MASK}@", text)
    return _TOKEN.sub(MASK, text)


def credential_in(text: str, environment: Mapping[str, str]) -> tuple[int, str] | None:
    """Position and description of a credential in `text`, without the credential; None: it contains none."""
    found = _IN_ADDRESS.search(text) if "://" in text else None
    if found:
        return found.start(), "holds an address with a user and a password"
    for name, value in environment.items():
        if len(value) >= SHORTEST_REFUSED and value in text and SECRET_NAME.search(name):
            return text.index(value), f"holds the value of ${name}"
    found = _TOKEN.search(text)
    return (found.start(), f"holds what looks like a token ({found[0][:3]}...)") if found else None
