"""The families of memory mechanisms that the study ships, and a row of any family from its resolved form."""

from collections.abc import Mapping
from typing import Any

from workloads.contract import rows
from workloads.study.memory.base import REGISTERED, MemoryRow
from workloads.study.memory.bound import Bound
from workloads.study.memory.compress import Compress
from workloads.study.memory.context import Context
from workloads.study.memory.spatial import Spatial
from workloads.study.memory.ssm import Ssm

FAMILIES: tuple[type[MemoryRow], ...] = (Context, Compress, Spatial, Ssm, Bound)

MEMORY_CONTROLS = ("evidence.frames", "backbone.recurrent_every", "backbone.grid", "backbone.grid_tokens")
"""Controls that size a mechanism. A row's configuration holds one only if the row `reads` it."""


def row_from(raw: Mapping[str, Any]) -> MemoryRow:
    """The row of a resolved object, e.g. `request.row`, of a family that is shipped or whose declaration is imported.

    Raises:
        RowError: an unknown family or a combination that cannot be.
        TypeError: an unknown or missing parameter.
    """
    return rows.row_from(REGISTERED, raw)
