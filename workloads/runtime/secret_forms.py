"""Forms of secrets: what a text shows to be one, whoever's it is, such as a password in an address.

`without_forms` masks them, `spans_of_forms` says where they are. Standard library only.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workloads.runtime.secret_names import is_ordinary, kind_of

MASK = "***"
LONGEST = 8192
"""Characters of a secret that is known by its form; a longer one is masked as far."""

TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|[sr]k_live_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}"
    r"|dckr_pat_[A-Za-z0-9_-]{20,}|(?<![\w-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+)"
)
"""Tokens of well-known services."""
USER_AND_PASSWORD = re.compile(r"(://)[^/\s?#'\"<>:]*:[^/\s?#'\"<>]*(?P<after>@)")
PARAMETER = re.compile(
    r"((?:[?&]|&amp;|\\u0026|%3F|%26)([\w.-]{1,64})(?:=|%3D))"
    r"((?:(?!%26|%3F|\\u0026)[^&\s\"'<>#\\]){1,8192})",
    re.IGNORECASE | re.ASCII,
)
_USER = re.compile(r"(?<!ssh)(://)[^/\s?#'\"<>:@]+(?P<after>@)")
_HOOK = re.compile(r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[\w/-]{20,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"\b((?:password|passwd|passphrase|AccountKey|SharedAccessKey|SharedAccessSignature)=)([^;&\s\"'<>,)]{1,8192})",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(authorization\\*['\"]*\s*[:=]\s*b?\\*['\"]*(?:(?:basic|bearer|token|negotiate|apikey)\s+))([^\s'\",;\\]{1,8192})",
    re.IGNORECASE,
)
_SIGNED_HEADER = re.compile(
    r"(authorization\\*['\"]*\s*[:=]\s*b?\\*['\"]*(?:digest|aws4-hmac-sha256)\s+)([^'\"\r\n]{1,8192})", re.IGNORECASE
)
_COOKIES = re.compile(
    r"(\b(?:set-)?cookie\\*['\"]*\s*:\s*b?\\*['\"]*)([^\s'\"=]{1,256}=[^'\"\r\n]{1,8192})", re.IGNORECASE
)
_HEADER = re.compile(
    r"(\b(x-[a-z0-9-]{1,60}|api-key|(?:proxy-)?authorization)\\*['\"]*\s*:\s*b?\\*['\"]*)([^\s'\",;\\]{1,8192})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer\s+)([\w.~+/=-]{8,8192})", re.IGNORECASE | re.ASCII)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)([^-]{1,8192})")


@dataclass(frozen=True)
class _Form:
    """One form."""

    pattern: re.Pattern[str]
    signs: tuple[str, ...]
    """One of these, in small letters, is in every text with a match: most texts need no more than this look."""
    counts: Callable[[re.Match[str]], bool] = lambda _found: True
    """Whether a match is a secret. Groups 1 and `after` stay, where there are any."""

    def is_in(self, lower: str) -> bool:
        """Whether a text, in small letters, may hold a match."""
        return any(sign in lower for sign in self.signs)

    def masked(self, found: re.Match[str]) -> str:
        """A match, without its secret if it is one."""
        if not self.counts(found):
            return found[0]
        groups = self.pattern.groupindex
        return (found[1] if self.pattern.groups else "") + MASK + (found["after"] if "after" in groups else "")


def _by_name(found: re.Match[str]) -> bool:
    """Whether the name in group 2 is of a secret, and the value in group 3 can be one."""
    kind = kind_of(found[2])
    return kind == "password" or (kind == "token" and not is_ordinary(found[3]))


def _by_value(found: re.Match[str]) -> bool:
    return not is_ordinary(found[2])


_FORMS: Sequence[_Form] = (
    _Form(USER_AND_PASSWORD, ("://",)),
    _Form(_USER, ("://",)),
    _Form(PARAMETER, ("=", "%3d"), _by_name),
    _Form(_ASSIGNED, ("=",), _by_value),
    _Form(_AUTHORIZATION, ("authorization",)),
    _Form(_SIGNED_HEADER, ("authorization",)),
    _Form(_COOKIES, ("cookie",)),
    _Form(_HEADER, ("x-", "api-key", "authorization"), _by_name),
    _Form(_BEARER, ("bearer",), _by_value),
    _Form(_PRIVATE_KEY, ("private key",)),
    _Form(_HOOK, ("hook",)),
    _Form(TOKEN, ("",)),
)


def without_forms(text: str) -> str:
    """`text` with everything masked that has the form of a secret."""
    lower = text.lower()
    for form in _FORMS:
        if form.is_in(lower):
            text = form.pattern.sub(form.masked, text)
    return text


def spans_of_forms(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of everything in `text` that has the form of a secret; they may overlap."""
    lower = text.lower()
    for form in _FORMS:
        if form.is_in(lower):
            yield from (found.span() for found in form.pattern.finditer(text) if form.counts(found))
