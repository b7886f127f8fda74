"""Canonical JSON and its digest, which every fingerprint is made of.

UTF-8, sorted keys, no spaces, NFC strings, floats by `repr` (the shortest text that reads back the same). Numbers
already have the type of their schema, so that `5` in a float field is `5.0` here. A value without a unique spelling is
refused: with a fallback such as `str(value)`, two values could share a fingerprint, or one value have two.
"""

import json
import math
import unicodedata
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def canonical(value: Any) -> str:
    """`value` as canonical JSON.

    Raises:
        TypeError: something that is not a mapping with text keys, list, tuple, text, int, float, bool or None.
        ValueError: NaN, an infinity, -0.0, or two keys that are equal in NFC.
    """
    return _write(_plain(value))


def digest(value: Any) -> str:
    """sha256 of the canonical form, 64 hex digits.

    Raises:
        TypeError: see `canonical`.
        ValueError: see `canonical`.
    """
    return digest_of_text(canonical(value))


def digest_of_text(text: str) -> str:
    """sha256 of a text that is already canonical, 64 hex digits."""
    return sha256(text.encode("utf-8")).hexdigest()


def _plain(value: Any) -> Any:
    # `type(...) is`, not isinstance: a subclass (an enum, a numpy float) may be encoded differently.
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is str:
        return unicodedata.normalize("NFC", value)
    if kind is float:
        if not math.isfinite(value) or (value == 0 and math.copysign(1.0, value) < 0):
            raise ValueError(f"{value!r} has no canonical form; allowed: finite numbers, 0.0 without a sign")
        return value
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    raise TypeError(f"{kind.__name__} has no canonical form; allowed: mapping, list, text, int, float, bool, null")


def _plain_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise TypeError(f"key {key!r} has no canonical form; allowed: text")
        name = unicodedata.normalize("NFC", key)
        if name in plain:
            raise ValueError(f"key {key!r} appears twice after NFC normalisation")
        plain[name] = _plain(item)
    return plain


def axis_text(value: Any) -> str:
    """An axis value as in labels and `results.csv`: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else canonical(value)
