"""A spatial grid of tokens, and the way it is read. Source: study.md section 5."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from workloads.contract.rows import RowError
from workloads.study.memory.base import FLOAT, BackboneSizes, BlockPass, MemoryRow, linear
from workloads.study.memory.context import Context


@dataclass(frozen=True, kw_only=True)
class Spatial(MemoryRow):
    """A grid of tokens written from all evidence, and the way it is read."""

    family: ClassVar[str] = "spatial"
    order: ClassVar[int] = 3
    needs_deviation: ClassVar[tuple[str, ...]] = ("masked",)
    computation: ClassVar[str] = "workloads.memory.spatial:SpatialStore"

    write: Literal["grid", "none"]
    """grid: all evidence is pooled to a grid and mixed to tokens; none: nothing is stored."""
    read: Literal["text", "readout", "none"]
    """text: appended to the text keys and values; readout: own cross-attention; none: withheld."""
    masked: bool = False
    """Trained as if False; its tokens are masked at generation. Needs a line under `deviations`."""

    def __post_init__(self) -> None:
        if self.write not in ("grid", "none"):
            raise RowError("write", f"write is {self.write!r}; allowed: grid, none")
        if self.read not in ("text", "readout", "none"):
            raise RowError("read", f"read is {self.read!r}; allowed: text, readout, none")
        if self.write == "none" and self.read != "none":
            raise RowError(
                "read", f"read: {self.read} reads nothing, for write is none; allowed: write: grid, or read: none"
            )
        if self.masked and self.read == "none":
            raise RowError("masked", "masked: true masks nothing, for read is none")

    @property
    def reads(self) -> tuple[str, ...]:
        """The grid, the evidence that is averaged, and where a read-out stands."""
        grid = ("evidence.frames", "backbone.grid", "backbone.grid_tokens")
        return (*grid, "backbone.recurrent_every") if self.read == "readout" else grid

    def evaluated(self) -> MemoryRow:
        """A row that reads nothing is the anchor-only row."""
        return Context(frames=1) if self.read == "none" else self

    def trained(self) -> MemoryRow:
        """Masking happens at generation only."""
        row = self.evaluated()
        return replace(row, masked=False) if isinstance(row, Spatial) and row.masked else row

    def stored(self, s: BackboneSizes) -> int:
        """`m`, stored tokens that are read."""
        return s.grid_tokens if self.read != "none" and not self.masked else 0

    def stored_floats(self, s: BackboneSizes) -> int:
        """The stored tokens, once for all blocks that read them."""
        return self.stored(s) * s.width

    def beside_text(self, s: BackboneSizes) -> int:
        """All of them, where they are read with the text."""
        return self.stored(s) if self.read == "text" else 0

    def recurrent(self, s: BackboneSizes) -> tuple[int, ...]:
        """Blocks with a read-out."""
        return s.recurrent_blocks if self.read == "readout" else ()

    def parameters(self, s: BackboneSizes) -> int:
        """The mixing matrix and the read-outs: norm, query, key and value, output, gate."""
        d = s.width
        readout = 2 * d + linear(d, d) + linear(d, 2 * d) + linear(d, d) + 1
        return s.grid * s.grid * s.grid_tokens + len(self.recurrent(s)) * readout

    def flops_store(self, s: BackboneSizes) -> int:
        """One more frame is embedded, pooled and mixed; pooling and mixing are one matrix."""
        d, n, v, m = s.width, s.frame_tokens, s.patch_values, self.stored(s)
        return 2 * n * v * d + 2 * m * s.grid * s.grid * n + 2 * m * n * d if m else 0

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """A read-out: query and output of the target, key and value of the stored tokens, attention."""
        d, m = s.width, self.stored(s)
        return 4 * at.tokens * d * d + 4 * m * d * d + 4 * at.tokens * m * d if m else 0

    def activations_store(self, s: BackboneSizes, wide: int) -> int:
        """The averaged frame, embedded beside the others."""
        return 2 * s.frame_tokens * s.width * FLOAT if self.stored(s) else 0

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Input and its norm; query, what attention gives, what the gate multiplies."""
        d = s.width
        return at.stream * d * FLOAT + at.tokens * d * wide + at.tokens * d * (2 * wide + FLOAT)
