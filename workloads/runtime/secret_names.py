"""Names and values of secrets: what a variable, a parameter or a header of some name holds, and what is ordinary.

Words of a name count, not parts of words: `API_KEY` and `apiKey` name a secret, `AUTHOR`, `MONKEY` and `SSH_AUTH_SOCK`
name none. Standard library only.
"""

import re
from typing import Literal

Kind = Literal["password", "token"]

PASSWORDS = frozenset(("PASS", "PASSWD", "PASSWORD", "PASSWORDS", "PASSPHRASE", "PASSCODE", "PWD", "PW"))
"""What people choose, which may be a word."""
TOKENS = frozenset(
    (
        *("KEY", "KEYS", "SECRET", "SECRETS", "TOKEN", "TOKENS", "JWT", "AUTH", "OAUTH", "AUTHORIZATION", "BEARER"),
        *("COOKIE", "COOKIES", "CREDENTIAL", "CREDENTIALS", "CRED", "CREDS", "PAT", "SAS", "SIG", "SIGNATURE"),
    )
)
"""What machines make, which is never a word."""
JOINED = re.compile(
    r"\w*(?:(PASSWORD|PASSWD|PASSPHRASE|PASS|PWD)|SECRET|TOKEN|(?:API|ACCESS|SECRET|PRIVATE|AUTH|ACCOUNT)KEY)"
)
"""Words written together, such as PGPASSWORD; the first group is of a password."""
NO_PASSWORDS = frozenset(
    ("BYPASS", "COMPASS", "ENCOMPASS", "ASKPASS", "SURPASS", "TRESPASS", "OVERPASS", "UNDERPASS", "OLDPWD")
)
FOLDERS = frozenset(("PWD", "OLDPWD"))
"""Variables of every shell: the folder one is in, and was in."""
ABOUT = frozenset(
    (
        *("SOCK", "SOCKET", "FILE", "FILES", "FILENAME", "PATH", "DIR", "DIRECTORY", "FOLDER", "URL", "URI", "HOST"),
        *("ENDPOINT", "HOSTNAME", "PORT", "LIMIT", "LENGTH", "SIZE", "COUNT", "TTL", "TIMEOUT", "SECONDS", "EXPIRY"),
        *("EXPIRES", "EXPIRATION", "TYPE", "MODE", "METHOD", "PROVIDER", "NAME", "ENABLED", "DISABLED", "REQUIRED"),
        *("VERSION", "ALGORITHM", "ALG", "HELPER", "COMMAND", "PROMPT", "MARKER"),
    )
)
"""Last words of names whose value is about a secret (its place, kind or size) and is not the secret."""
NUMBERS = frozenset(("MAX", "MIN", "NUM", "NO", "USE", "ENABLE", "DISABLE"))
"""First words of such names."""

SHORTEST_NUMBER = 12
"""Digits that no ordinary number has."""
SHORTEST_PHRASE = 12
"""Characters; `us-east-1` and `context-k5` have fewer."""
SURE = 20
"""Characters that no ordinary word has."""

_WORDS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORD = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)?\d{0,3}")
_VOWEL = re.compile(r"[aeiouy]", re.IGNORECASE)
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d.,:/_ -]+", re.ASCII)
_PATH = re.compile(r"(?:~|\.{0,2})(?:/[\w.-]+)+/?", re.ASCII)
_RANDOM = re.compile(r"(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)\w{12,}", re.ASCII)
_BETWEEN_WORDS = re.compile(r"[\s._,:/@+-]+")


def kind_of(name: str) -> Kind | None:
    """What a variable, a parameter or a header of this name holds; None: no secret, as far as its name says."""
    words = _words_of(name)
    if not words or name in FOLDERS or words[-1] in ABOUT or words[0] in NUMBERS:
        return None
    kinds = {_kind_of_word(word) for word in words}
    return "password" if "password" in kinds else "token" if "token" in kinds else None


def mentions_secret(name: str) -> bool:
    """Whether the name is of a secret, or of something about one: `VAULT_TOKEN_PATH` is the place of a secret."""
    return name not in FOLDERS and any(_kind_of_word(word) for word in _words_of(name))


def _words_of(name: str) -> list[str]:
    return [word.upper() for word in _WORDS_OF_NAME.findall(name)]


def _kind_of_word(word: str) -> Kind | None:
    joined = None if word in NO_PASSWORDS else JOINED.fullmatch(word)
    if word in PASSWORDS or (joined and joined[1]):
        return "password"
    return "token" if word in TOKENS or joined else None


def is_path(value: str) -> bool:
    """Whether a value is the path of a file or a folder; a key of letters and slashes is none."""
    return _PATH.fullmatch(value) is not None and not any(_RANDOM.search(part) for part in value.split("/"))


def digits_of(value: str) -> int | None:
    """How many digits a number, a date or a time has; None: the value is nothing of the kind."""
    return sum(letter.isdigit() for letter in value) if _NUMBER.fullmatch(value) else None


def is_words(value: str, *, numbered: bool) -> bool:
    """Whether a value is a word, or a few joined ones; `numbered`: each may end with up to three digits."""
    return len(value) < SURE and all(
        _is_word(part) and (numbered or part.isalpha()) for part in _BETWEEN_WORDS.split(value)
    )


def is_phrase(value: str) -> bool:
    """Whether a value is several joined words that are long enough for a secret which somebody thought of."""
    several = len(_BETWEEN_WORDS.split(value)) > 1 and len(value) >= SHORTEST_PHRASE
    return several and digits_of(value) is None and not is_path(value) and is_words(value, numbered=True)


def is_ordinary(value: str) -> bool:
    """Whether a text may hold the value by chance: a number, a word, a few joined ones, or a path."""
    digits = digits_of(value)
    return digits < SHORTEST_NUMBER if digits is not None else is_path(value) or is_words(value, numbered=True)


def _is_word(part: str) -> bool:
    """Whether a part is spoken (it has a vowel, and never five consonants in a row), or short."""
    letters = part.rstrip("0123456789")
    spoken = len(letters) <= 3 or (_VOWEL.search(letters) is not None and not _CONSONANTS.search(letters))
    return _WORD.fullmatch(part) is not None and spoken
