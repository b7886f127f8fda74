"""Address `bearing`: queries and keys are turned by where they look. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import AddressSpec


@dataclass(frozen=True, kw_only=True)
class BearingSpec(AddressSpec):
    """For cameras that turn on the spot."""

    name: ClassVar[str] = "bearing"
    computation: ClassVar[str] = "workloads.memory.address.bearing:Bearing"
    finds: ClassVar[tuple[str, ...]] = ("tokens", "pooled", "weighted", "cells", "matrix", "delta")
