"""Address `none`: a location of the image reads the same location of the store, or content alone finds it."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import AddressSpec


@dataclass(frozen=True, kw_only=True)
class NoAddressSpec(AddressSpec):
    """What the paper's rows have."""

    name: ClassVar[str] = "none"
    computation: ClassVar[str] = "workloads.memory.interface:Address"
    finds: ClassVar[tuple[str, ...]] = (
        "tokens",
        "pooled",
        "weighted",
        "grid",
        "convolution",
        "diagonal",
        "matrix",
        "delta",
    )
