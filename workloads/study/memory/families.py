"""Registry of memory mechanisms: `FAMILIES` are the declarations in this folder; nothing lists them by hand."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any

from workloads.contract import rows
from workloads.study import memory
from workloads.study.memory.base import REGISTERED, MemoryRow

MEMORY_CONTROLS = ("evidence.frames", "backbone.recurrent_every", "backbone.grid", "backbone.grid_tokens")
"""Controls that size a mechanism. A row's configuration holds one only if the row `reads` it."""


def row_from(raw: Mapping[str, Any]) -> MemoryRow:
    """The row of a resolved object, e.g. `request.row`, of a family that is shipped or whose declaration is imported.

    Raises:
        RowError: an unknown family or a combination that cannot be.
        TypeError: an unknown or missing parameter.
    """
    return rows.row_from({kind.family: kind for kind in _in_order(REGISTERED.values())}, raw)


def _in_order(kinds: Iterable[type[MemoryRow]]) -> tuple[type[MemoryRow], ...]:
    return tuple(sorted(kinds, key=lambda kind: (kind.order, kind.family)))


def _shipped() -> tuple[type[MemoryRow], ...]:
    found = [
        importlib.import_module(f"{memory.__name__}.{module.name}") for module in pkgutil.iter_modules(memory.__path__)
    ]
    names = {module.__name__ for module in found}
    return _in_order(kind for kind in REGISTERED.values() if kind.__module__ in names)


FAMILIES = _shipped()
"""Declarations that the study ships, in the order of messages."""
