"""Secret masking, for orchestrator and workloads: what counts as a secret, and how it is kept out of every file.

Secrets come from the environment only, so they are known: the values of variables whose name says so, and the passwords
inside other values (addresses, connection strings, JSON). How a value is masked depends on how much it could stand
in a text by chance:

* one that no text holds by chance: wherever it stands;
* a short one, a password that is a word, a key of several words: where it stands alone, as "context" does not in
  "context-k5";
* a truth value, a small number, a word that is no password (`TOKEN=context`): only beside its variable's name.

What has the form of a secret is masked too, whoever's it is (`secret_forms`). A secret that is in no variable and has
no such form cannot be known. Standard library only.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from urllib.parse import quote, quote_plus, unquote

from workloads.runtime.secret_forms import MASK, PARAMETER, TOKEN, USER_AND_PASSWORD, spans_of_forms, without_forms
from workloads.runtime.secret_names import (
    SHORTEST_NUMBER,
    Kind,
    digits_of,
    is_ordinary,
    is_path,
    is_phrase,
    is_words,
    kind_of,
)

SHORTEST_ALONE = 4
"""Characters; a shorter value is masked beside its name only."""
SHORTEST_ANYWHERE = 6
"""A shorter one is masked where it stands alone."""
SHORTEST_REFUSED = 8
"""A shorter one may be in a configuration by chance."""
SHORTEST_PASSWORD_NUMBER = 6
"""Digits of a password that is a number; a shorter one is masked beside its name only."""

_PLACEHOLDERS = frozenset(("true", "false", "none", "null", "password", "secret", "token", "default", "changeme"))
_IN_ADDRESS = re.compile(r"://[^/\s@:]*:([^/\s]+)@|^[^/\s@:=]+:([^/\s@=]+)@[\w.-]+")
_IN_CONNECTION = re.compile(r"\b(\w+) ?= ?('[^']*'|[^;\s'\"&]+)", re.ASCII)


@dataclass(frozen=True)
class Secret:
    """A value to mask."""

    value: str
    pattern: re.Pattern[str] | None = None
    """Where it is masked; group 1 of it stays. None: wherever it stands."""

    def masked_in(self, text: str) -> str:
        """`text` without it."""
        if self.value not in text:
            return text
        if self.pattern is None:
            return text.replace(self.value, MASK)
        return self.pattern.sub(lambda found: found[1] + MASK, text)

    def spans_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Begin and end of each place in `text` where it is masked."""
        if self.value in text:
            pattern = self.pattern or re.compile(re.escape(self.value))
            yield from (found.span() for found in pattern.finditer(text))


def secrets_of(environment: Mapping[str, str]) -> tuple[Secret, ...]:
    """What to mask, in all usual notations; longest first, so that each is masked as a whole."""
    found = {secret for name, value in environment.items() for secret in _secrets_in(name, value)}
    return tuple(sorted(found, key=lambda one: (one.pattern is not None, -len(one.value), one.value)))


def mask(text: str, secrets: Sequence[Secret]) -> str:
    """`text` without these secrets, and without anything that has the form of one."""
    for secret in secrets:
        text = secret.masked_in(text)
    return without_forms(text)


def spans_of(text: str, secrets: Sequence[Secret]) -> Iterator[tuple[int, int]]:
    """Begin and end of everything that `mask` would replace in `text`; they may overlap."""
    for secret in secrets:
        yield from secret.spans_in(text)
    yield from spans_of_forms(text)


def credential_in(text: str, environment: Mapping[str, str]) -> tuple[int, str] | None:
    """Position and description of a credential in `text`, without the credential; None: it contains none."""
    found = USER_AND_PASSWORD.search(text) if "://" in text else None
    if found:
        return found.start(), "holds an address with a user and a password"
    for name, value in environment.items():
        for secret in _secrets_in(name, value):
            if len(secret.value) >= SHORTEST_REFUSED and (span := next(secret.spans_in(text), None)):
                return span[0], f"holds the value of ${name}"
    found = TOKEN.search(text)
    if found:
        return found.start(), f"holds what looks like a token ({found[0][:3]}...)"
    begin = min((begin for begin, _ in spans_of_forms(text)), default=None)
    return None if begin is None else (begin, "holds what looks like a password, a token or a signature")


def _secrets_in(name: str, value: str) -> Iterator[Secret]:
    """The secrets of one variable."""
    for its_name, whole, kind in _values_of(name, value):
        # A log is masked line by line, and a private key has several.
        for one in {whole, *(line.strip() for line in whole.splitlines())}:
            for form in _forms(one):
                yield from _secret(its_name, form, kind, whole)


def _values_of(name: str, value: str) -> Iterator[tuple[str, str, Kind]]:
    """Name, value and kind of each secret in a variable; the name of a password in an address is empty."""
    if kind := kind_of(name):
        yield name, value, kind
    for found in _IN_ADDRESS.finditer(value):
        yield "", found[1] or found[2], "password"
    for pattern, its_name, its_value in ((PARAMETER, 2, 3), (_IN_CONNECTION, 1, 2)):
        for found in pattern.finditer(value):
            if kind := kind_of(found[its_name]):
                yield found[its_name], found[its_value].strip("'"), kind
    if value.lstrip().startswith("{"):
        for its, text in _texts_of_json(value):
            if kind := kind_of(its):
                yield its, text, kind


def _texts_of_json(value: str) -> Iterator[tuple[str, str]]:
    """Name and text of each entry of a JSON object, such as the key of a service account."""
    try:
        left = [("", json.loads(value))]
    except (ValueError, RecursionError):
        return
    while left:
        name, one = left.pop()
        if isinstance(one, dict):
            left += one.items()
        elif isinstance(one, list):
            left += [(name, item) for item in one]
        elif isinstance(one, str):
            yield name, one


def _secret(name: str, value: str, kind: Kind, whole: str) -> Iterator[Secret]:
    """A value as a secret: masked anywhere, alone, or beside its name, as the `whole` that it is a line or form of."""
    if not value:
        return
    if kind == "token":
        anywhere = not is_ordinary(whole)
        alone = anywhere or is_phrase(whole)
    else:
        digits = digits_of(whole)
        alone = (digits is None or digits >= SHORTEST_PASSWORD_NUMBER) and not is_path(whole)
        alone = alone and whole.lower() not in _PLACEHOLDERS
        anywhere = alone and (digits is None or digits >= SHORTEST_NUMBER) and not is_words(whole, numbered=False)
    if anywhere and len(value) >= SHORTEST_ANYWHERE:
        yield Secret(value)
    elif alone and len(value) >= SHORTEST_ALONE:
        yield Secret(value, re.compile(rf"((?<![^\W_])(?<![^\W_][-_.])){re.escape(value)}(?![^\W_])(?![-_.][^\W_])"))
    elif name:
        beside = rf"((?<![^\W_]){re.escape(name)}\\*['\"]?\s*[=:,]\s*\\*['\"]?){re.escape(value)}(?![^\W_])"
        yield Secret(value, re.compile(beside))


def _forms(value: str) -> set[str]:
    """A value as addresses, JSON, Python and HTML write it, and as it is read where its bytes are no text."""
    plain = {value, unquote(value), value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")}
    percent = {
        write(one, errors="surrogateescape") for one in plain for write in (partial(quote, safe=""), quote, quote_plus)
    }
    lower = {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), one) for one in percent}
    quoted = {write(one) for one in plain for write in (_as_json, _as_json_of_letters, _as_python, _doubled, escape)}
    return plain | percent | lower | quoted | {_doubled(one) for one in quoted}


def _as_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _as_json_of_letters(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _as_python(value: str) -> str:
    return repr(value)[1:-1]


def _doubled(value: str) -> str:
    return value.replace("\\", "\\\\")
