"""Factory of memory mechanisms: imports the classes that a row's declaration names."""

import importlib
from typing import Any

from workloads.memory.interface import Mechanism, Sizes
from workloads.runtime.errors import BadInput
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.composed import ComposedRow
from workloads.study.memory.parts import PartSpec


def make_mechanism(row: MemoryRow, sizes: Sizes) -> Mechanism:
    """The mechanism of `row`, its parameters not yet started.

    Raises:
        KeyError: the backbone's section lacks a control that the row reads.
        BadInput: a row without a mechanism, or one whose declaration names no such class.
    """
    if isinstance(row, ComposedRow):
        return _composed(row, sizes)
    if not row.computation:
        raise BadInput(f"memory row: family {row.family} shows known frames and has no mechanism; it cannot generate")
    made = _named(f"family {row.family}", row.computation)(row, sizes)
    if not isinstance(made, Mechanism):
        raise BadInput(
            f"memory row: family {row.family} names {row.computation}, which is no Mechanism; "
            "derive it from workloads.memory.interface.Mechanism"
        )
    return made


def _composed(row: ComposedRow, sizes: Sizes) -> Mechanism:
    """The read of a row, given its write and its address; a state is written in each block by a write of its own."""
    write, address, read = row.parts
    found = _part("address", address)(address, sizes)
    kept = _part("write", write)
    into = (lambda: kept(write, sizes)) if write.carries_state else kept(write, sizes)
    made: Mechanism = _part("read", read)(into, found, read, sizes)
    return made


def _part(choice: str, spec: PartSpec) -> Any:
    return _named(f"{choice} {spec.name}", spec.computation)


def _named(what: str, computation: str) -> Any:
    module, _, name = computation.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"memory row: {what} names {computation}, which is not there: {error}") from error
