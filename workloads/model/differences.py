"""Where two descriptions of a computation differ, field by field, for messages."""

import json
from collections.abc import Mapping
from typing import Any

SHOWN = 3
"""Differences that a message lists; the others are counted."""

_ABSENT = object()


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """`row.frames is 5, this job's is 20; ...`, or an empty text where nothing differs.

    Args:
        found: nested mappings of plain values, as they were written down.
        expected: what this job asks for.
    """
    left, right = _flat(found), _flat(expected)
    odd = [
        f"{name} is {_said(left, name)}, this job's is {_said(right, name)}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name, _ABSENT) != right.get(name, _ABSENT)
    ]
    more = [f"and {len(odd) - SHOWN} more"] if len(odd) > SHOWN else []
    return "; ".join(odd[:SHOWN] + more)


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        # Through JSON, so that a tuple and the list it was written as are the same.
        return {name: json.loads(json.dumps(tree))}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{name}.{key}" if name else str(key))
    return flat


def _said(flat: Mapping[str, Any], name: str) -> str:
    return json.dumps(flat[name]) if name in flat else "absent"
