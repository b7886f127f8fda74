"""Address `depths`: queries and keys are turned by where points of their rays lie. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import AddressSpec


@dataclass(frozen=True, kw_only=True)
class DepthsSpec(AddressSpec):
    """For cameras that turn and move. Without `yaw` they do neither."""

    name: ClassVar[str] = "depths"
    computation: ClassVar[str] = "workloads.memory.address.depths:Depths"
    finds: ClassVar[tuple[str, ...]] = ("tokens", "pooled", "weighted")
