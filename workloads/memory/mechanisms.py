"""Factory of memory mechanisms: imports the class that a row's declaration names."""

import importlib

from workloads.memory.interface import Mechanism, Sizes
from workloads.runtime.errors import BadInput
from workloads.study.memory.base import MemoryRow


def make_mechanism(row: MemoryRow, sizes: Sizes) -> Mechanism:
    """The mechanism of `row`, its parameters not yet started.

    Raises:
        KeyError: the backbone's section lacks a control that the row reads.
        BadInput: a row without a mechanism, or one whose declaration names no such class.
    """
    if not row.computation:
        raise BadInput(f"memory row: family {row.family} shows known frames and has no mechanism; it cannot generate")
    module, _, name = row.computation.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"memory row: family {row.family} names {row.computation}, which is not there: {error}"
        ) from error
    made = kind(row, sizes)
    if not isinstance(made, Mechanism):
        raise BadInput(
            f"memory row: family {row.family} names {row.computation}, which is no Mechanism; "
            "derive it from workloads.memory.interface.Mechanism"
        )
    return made
