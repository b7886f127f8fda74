"""Read `self-attention`: context tokens among the target's. Source: study.md section 4, "Sequence"."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import ReadSpec


@dataclass(frozen=True, kw_only=True)
class SelfAttentionSpec(ReadSpec):
    """Costs what its tokens cost."""

    name: ClassVar[str] = "self-attention"
    computation: ClassVar[str] = "workloads.memory.read.self_attention:ReadBySelfAttention"
