"""The token by which a standing Ray cluster knows its users: is there one to send, and can others read it.

Ray itself would end its process over a token that is missing.
"""

from collections.abc import Mapping
from pathlib import Path
from stat import S_IRGRP, S_IROTH, S_IXGRP, S_IXOTH

from orchestrator.errors import SiteError


def check_token(environment: Mapping[str, str]) -> None:
    """Check that there is a token where one is to be sent.

    Raises:
        SiteError: there is none, or no such mode; says where it may be.
    """
    mode = environment.get("RAY_AUTH_MODE", "disabled").lower()
    if mode not in ("token", "disabled"):
        raise SiteError(f"RAY_AUTH_MODE is {environment['RAY_AUTH_MODE']!r}; allowed: token, disabled")
    if mode == "token":
        token_of(environment)


def token_of(environment: Mapping[str, str]) -> str:
    """The token that Ray would send.

    Raises:
        SiteError: there is none; says where it may be.
    """
    if given := environment.get("RAY_AUTH_TOKEN", "").strip():
        if not _is_one_word(given):
            raise SiteError("RAY_AUTH_TOKEN is no token, which is one word; `ray get-auth-token` prints it on the head")
        return given
    file = _file(environment)
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = f"cannot be read ({getattr(error, 'strerror', None) or 'it is no text'})"
        raise SiteError(_none(file, why)) from error
    if not token:
        raise SiteError(_none(file, "is empty"))
    if not _is_one_word(token):
        raise SiteError(_none(file, "holds no token, which is one word"))
    return token


def open_token(environment: Mapping[str, str]) -> str:
    """That other users of this machine can read the token, and what to do; empty: they cannot."""
    if environment.get("RAY_AUTH_MODE", "").lower() == "disabled" or environment.get("RAY_AUTH_TOKEN"):
        return ""
    file = _file(environment).absolute()
    try:
        closed = any(not folder.stat().st_mode & (S_IXGRP | S_IXOTH) for folder in file.parents)
        if closed or not file.stat().st_mode & (S_IRGRP | S_IROTH):
            return ""
    except OSError:
        return ""
    return f"other users can read {file}, and whoever has it runs code on the cluster as you; chmod 600 {file}"


def _is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _file(environment: Mapping[str, str]) -> Path:
    """Where Ray looks for the token."""
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    return Path(named) if named else Path(environment.get("HOME") or "~").expanduser() / ".ray" / "auth_token"


def _none(file: Path, why: str) -> str:
    return (
        f"RAY_AUTH_MODE is token, but {file} {why}; copy the cluster's token there from its head (`ray get-auth-token` "
        "prints it), or set RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
    )
