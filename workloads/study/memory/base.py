"""What a memory mechanism declares, without torch: parameters, sizes, FLOPs, memory kept, controls read. One file each.

A declaration is a frozen dataclass derived from `MemoryRow`: its fields are the parameters of a row in matrix.yaml,
`__post_init__` refuses what cannot be, and its methods say what the computation takes. Every method has a neutral
default, the mechanism that adds nothing (row `context-k1`), so a declaration states only what it adds.
`tests/model/test_sizes.py` and `test_footprint.py` compare what is declared with the real model.

Letters: `d` width, `n` tokens of one latent frame, `v` values of a patch. A multiply-add is two FLOPs; elementwise
work is not counted. Source: study.md section 5. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, ClassVar

from workloads.contract.fields import LATER, Natural
from workloads.contract.rows import Row, RowError

PATCH = 2
"""Side of a patch in latent pixels; a patch is one latent long in time."""
FLOAT = 4
"""Bytes of a float32 value."""

REGISTERED: dict[str, type["MemoryRow"]] = {}
"""Family -> declaration, of every one that has been imported: ours and the user's."""


@dataclass(frozen=True, kw_only=True)
class BackboneSizes:
    """The numbers of the backbone that a mechanism is sized by."""

    width: int
    """`d`."""
    blocks: int
    heads: int
    feed_forward: int
    frequency_width: int
    recurrent_every: int
    """0 in rows that do not read `backbone.recurrent_every`."""
    grid: int
    grid_tokens: int
    """0, as `grid`, in rows that do not read it."""
    site: str
    channels: int
    rows: int
    """Tokens of one latent frame, top to bottom."""
    columns: int
    frames: int
    """Target latents of a chunk."""
    text_tokens: int
    text_width: int

    @property
    def frame_tokens(self) -> int:
        """`n`."""
        return self.rows * self.columns

    @property
    def patch_values(self) -> int:
        """`v`."""
        return self.channels * PATCH * PATCH

    @property
    def latent_values(self) -> int:
        """Floats of the latent of one frame."""
        return self.frame_tokens * self.patch_values

    @property
    def recurrent_blocks(self) -> tuple[int, ...]:
        """Blocks 0, every, 2 every, ...: where a mechanism may have a part of its own.

        Raises:
            RowError: the row does not read the control that says which.
        """
        if not self.recurrent_every:
            raise RowError("family", "has recurrent blocks, so `reads` must name backbone.recurrent_every")
        return tuple(range(0, self.blocks, self.recurrent_every))


@dataclass(frozen=True, kw_only=True)
class BlockPass:
    """What a mechanism's part of one recurrent block computes over, for one sample."""

    tokens: int
    """Target tokens in denoising, evidence tokens in a write."""
    frames: int
    """Frames that they come from."""
    stream: int
    """All tokens that pass the block, memory tokens included."""
    write: bool = False
    """A write of both segments' evidence; otherwise denoising."""
    last: bool = False
    """The last block of a write: its state is needed, its output is not."""


@dataclass(frozen=True, kw_only=True)
class MemoryRow(Row):
    """A memory mechanism with its parameters: a row of the matrix."""

    order: ClassVar[int] = 50
    """Place in lists of families; equal ones by name."""
    computation: ClassVar[str] = ""
    """`package.module:Class` of what computes it (a `Mechanism`), imported in the job; empty: nothing is computed."""
    carries_state: ClassVar[bool] = False
    """Whether it writes a state that crosses chunks."""
    needs_deviation: ClassVar[tuple[str, ...]] = ("init_stream",)

    init_stream: Annotated[Natural, LATER] = 0
    """Not 0: parameters start from other draws than in every other row, the backbone's too. For an A/A row: what is
    found between it and the same row without is noise."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "family" not in vars(cls):
            return
        known = REGISTERED.setdefault(cls.family, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"family {cls.family!r} is declared twice, by {known.__module__} and {cls.__module__}")
        REGISTERED[cls.family] = cls

    # What it reads, and which computation it is.

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls of `MEMORY_CONTROLS` that size it. Without `evidence.frames` it is shown the anchor alone."""
        return ("evidence.frames", "backbone.recurrent_every") if self.carries_state else ()

    @property
    def known_frames(self) -> str:
        """Which known frames are shown instead of generated ones (`evaluation/adversaries.py`); empty: it generates."""
        return ""

    def evaluated(self) -> "MemoryRow":
        """What generation computes. Another name of a computation returns the row that it is."""
        return self

    def trained(self) -> "MemoryRow":
        """What training computes."""
        return self.evaluated()

    def declared(self, controls: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """K, where parameters start, and how the state's frames are chosen."""
        return {
            "evidence_frames": self.evidence_frames(controls["evidence"]),
            "init_stream": self.init_stream,
            "write_from": self.written_from if self.carries_state else None,
        }

    # Tokens.

    @property
    def written_from(self) -> str:
        """Which frames a state is written from. Default: the evidence of the preceding segment, then the segment's."""
        return "retrieved"

    @property
    def streams(self) -> bool:
        """Whether a state is written from every frame once, so that none is retrieved."""
        return self.carries_state and self.written_from == "stream"

    def frames_written(self, slots: int, chunk_frames: int) -> int:
        """Frames of a state's write before one chunk, with `slots` evidence frames. Default: these."""
        return slots

    def frames_trained(self, slots: int, chunk_frames: int, scene_frames: int) -> int:
        """The same in one sample of training, at most. Default: the evidence of two segments."""
        return 2 * slots

    def evidence_frames(self, evidence: Mapping[str, Any]) -> int:
        """K, evidence frames of a segment, anchor included; `evidence` is the section, as the row's jobs hold it."""
        return int(evidence.get("frames", 1))

    def context_slots(self, slots: int) -> int:
        """Frames of context tokens in self-attention when `slots` evidence frames are valid. Default: the anchor."""
        return 1

    def beside_text(self, s: BackboneSizes) -> int:
        """Tokens that stand beside the text in every block."""
        return 0

    def recurrent(self, s: BackboneSizes) -> tuple[int, ...]:
        """Blocks in which it has a part of its own. Default: the recurrent blocks if it carries a state."""
        return s.recurrent_blocks if self.carries_state else ()

    def state_shape(self, s: BackboneSizes) -> tuple[int, ...]:
        """Shape of the float32 state in one recurrent block, without the batch."""
        return ()

    # What it takes to remember, in floats of whatever type, per sample. The anchor, which every row has, counts where
    # it is a slot among others or all there is, and not beside a store.

    def stored_floats(self, s: BackboneSizes) -> int:
        """What its store holds, in all blocks together. Default: its states, and the tokens beside the text."""
        states = len(self.recurrent(s)) * prod(self.state_shape(s)) if self.carries_state else 0
        return states + self.beside_text(s) * s.width

    def floats_read(self, s: BackboneSizes, slots: int) -> int:
        """What the read of one chunk uses with `slots` valid evidence frames: the store, latents of context tokens."""
        store, tokens = self.stored_floats(s), self.context_slots(slots)
        return store + (tokens * s.latent_values if tokens > 1 or not store else 0)

    def floats_kept(self, s: BackboneSizes, slots: int, history: int) -> int:
        """What must survive between two chunks.

        Default: a state, and all of `history` frames, as latents, since evidence is retrieved from them; of a row that
        is shown the anchor alone, the anchor.
        """
        states = self.stored_floats(s) if self.carries_state else 0
        return states + (history if slots > 1 else 1) * s.latent_values

    # Parameters and FLOPs, per sample.

    def parameters(self, s: BackboneSizes) -> int:
        """Parameters that it adds."""
        return 0

    def flops_store(self, s: BackboneSizes, slots: int) -> int:
        """Once in every forward over `slots` evidence frames: what `summary` and `store` multiply, with embedding."""
        return 0

    def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
        """Its part of one recurrent block."""
        return 0

    def flops_looks(self, s: BackboneSizes, tokens: int) -> int:
        """Where `tokens` look, once in every forward or write."""
        return 0

    def flops_text(self, s: BackboneSizes, tokens: int) -> int:
        """What it adds to text attention of `tokens` in one block, beyond tokens that stand beside the text."""
        return 0

    # Memory that training keeps between forward and backward, bytes per sample. `wide`: bytes of a value that autocast
    # computes in, 4 or 2.

    def activations_store(self, s: BackboneSizes, slots: int, wide: int) -> int:
        """Of what `summary` and `store` compute."""
        return 0

    def activations_attention(self, s: BackboneSizes, keys: int, queries: int, wide: int) -> int:
        """Of self-attention in one block, of `queries` among `keys` tokens, beyond what every row keeps."""
        return 0

    def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
        """Of its part of one recurrent block."""
        return 0

    def activations_looks(self, s: BackboneSizes, tokens: int, wide: int) -> int:
        """Of where `tokens` look, once in every forward or write."""
        return 0

    def activations_text(self, s: BackboneSizes, tokens: int, wide: int) -> int:
        """Of text attention of `tokens` in one block, beyond tokens that stand beside the text."""
        return 0

    def activations_state(self, s: BackboneSizes, at: BlockPass) -> int:
        """Of one block's written state under activation checkpointing; more than the state where it is a slice."""
        return prod(self.state_shape(s)) * FLOAT if self.carries_state else 0

    def remedies(self) -> tuple[str, ...]:
        """What would make a training of this row smaller, for people: `a larger ratio`."""
        return ()


def linear(inputs: int, outputs: int) -> int:
    """Parameters of a linear map with its bias."""
    return inputs * outputs + outputs
