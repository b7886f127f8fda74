"""Read `text`: stored tokens are appended to the keys and values of text attention, in every block.

With an address, logits on text keys are from queries and keys as they are, those on stored keys from the turned
ones, in one softmax. No parameter is added. Source: study.md section 5, rows `spatial`, `spatial-bearing`.
"""

from torch import Tensor

from workloads.memory.interface import Address, Mechanism, Sizes, Slots, Stored, TokenWrite
from workloads.study.memory.read.text_attention import TextSpec


class ReadBesideText(Mechanism):
    """What is stored stands beside the text."""

    address: Address

    def __init__(self, write: TokenWrite, address: Address, spec: TextSpec, sizes: Sizes) -> None:
        super().__init__()
        self.memory, self.address = write, address

    def summary(self, slots: Slots) -> Tensor | None:
        """Of its write."""
        return self.memory.summary(slots)

    def store(self, tokens: Tensor, slots: Slots) -> Stored:
        """Of its write."""
        return self.memory.stored(tokens, slots, self.address)

    def beside_text(self, stored: Stored) -> Stored | None:
        """All of it."""
        return stored

    def readings(self) -> dict[str, float]:
        """What the write says."""
        return self.memory.readings()
