"""Write `convolution`: the last inputs of a short convolution over time. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, linear
from workloads.study.memory.parts import WriteSpec


@dataclass(frozen=True, kw_only=True)
class ConvolutionSpec(WriteSpec):
    """Registers at every image location."""

    name: ClassVar[str] = "convolution"
    computation: ClassVar[str] = "workloads.memory.write.convolution:ShortConvolution"
    controls: ClassVar[tuple[str, ...]] = ("evidence.frames", "backbone.recurrent_every")
    carries_state: ClassVar[bool] = True

    kernel: int
    expand: int

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """The last inputs of the convolution."""
        return (self.kernel - 1, s.frame_tokens, self.expand * s.width)

    def parameters(self, s: BackboneSizes) -> int:
        """Per block: norm, two linear maps, taps, bias and gate."""
        d, inner = s.width, self.expand * s.width
        return len(s.recurrent_blocks) * (2 * d + linear(d, inner) + (self.kernel + 1) * inner + linear(inner, d) + 1)

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Two linear maps, of which a write's last block needs only the first."""
        return 2 * at.tokens * self.expand * s.width * s.width * (1 if at.last else 2)

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input, which the block's next part replaces, and its norm; then what the convolution keeps."""
        d, tokens = s.width, at.tokens
        total = at.stream * d * FLOAT + tokens * d * wide
        if at.last:
            return total
        inner = self.expand * d
        padded = tokens + (self.kernel - 1) * s.frame_tokens
        return total + padded * inner * FLOAT + tokens * (inner * wide + d * FLOAT)

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int | None:
        """A state is a slice of the convolution's inputs over all tokens."""
        return (at.tokens + (self.kernel - 1) * s.frame_tokens) * self.expand * s.width * FLOAT
