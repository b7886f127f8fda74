"""Read `self-attention`: context tokens stand among the target's, and all attend to all.

With an address, the positions of the tokens are its own. No parameter is added. Source: study.md section 4, "Sequence".
"""

from typing import Any

from workloads.memory.interface import Address, ContextTokens, FrameWrite, Mechanism, Positions, Sizes, Slots
from workloads.study.memory.read.self_attention import SelfAttentionSpec


class ReadBySelfAttention(Mechanism):
    """Frames of context tokens."""

    address: Address

    def __init__(self, write: FrameWrite, address: Address, spec: SelfAttentionSpec, sizes: Sizes) -> None:
        super().__init__()
        self.memory, self.address = write, address

    def context(self, slots: Slots) -> ContextTokens:
        """Of its write."""
        return self.memory.context(slots)

    def positions(self, rotary: Positions, looks: Any) -> Positions:
        """Of its address."""
        return self.address.positions(rotary, looks)
