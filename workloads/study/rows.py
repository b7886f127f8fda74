"""The memory rows: one frozen dataclass a family, with its ranges and exclusions.

A row of matrix.yaml is `{family: NAME, parameters}`. A parameter that is None is a part of the
mechanism that the row does not have. `resolve` gives the form that is hashed: what training
reads, and what generation reads, which differ only in a row that masks its memory at generation.

Source: study.md section 5. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal


class RowError(ValueError):
    """A row that cannot be: `key` is the parameter to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Context:
    """Raw context: the anchor and `frames - 1` retrieved frames, as tokens in self-attention."""

    family: ClassVar[str] = "context"
    carries_state: ClassVar[bool] = False

    frames: int
    """K, the anchor included; stands in place of `controls.evidence.frames`."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise RowError("frames", f"frames is {self.frames}; the anchor is one frame, so at least 1")

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls of `MEMORY_CONTROLS` that this row's computation is sized by."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Compression of the retrieved frames: weighting, pooling in time, or, declared, both."""

    family: ClassVar[str] = "compress"
    carries_state: ClassVar[bool] = False

    decay: float | None = None
    """Weight of a slot is decay ** age, age in slots, newest 0; None: not weighted."""
    ratio: int | None = None
    """Neighbours in time pooled into one slot; None: not pooled."""
    hybrid: bool = False
    """Declares that weighting and pooling together is meant."""
    scale: Literal["logits", "latents"] = "logits"
    """Where a weight acts: added to attention logits as its log, or multiplied into the tokens."""

    def __post_init__(self) -> None:
        if self.decay is None and self.ratio is None:
            raise RowError(
                "family", "a compress row needs decay (weighting), ratio (pooling), or both with hybrid: true"
            )
        if self.decay is not None and not 0 < self.decay < 1:
            raise RowError("decay", f"decay is {self.decay}; allowed: above 0 and below 1")
        if self.ratio is not None and self.ratio < 2:
            raise RowError("ratio", f"ratio is {self.ratio}; allowed: 2 and more (leave it out for no pooling)")
        both = self.decay is not None and self.ratio is not None
        if both and not self.hybrid:
            raise RowError(
                "ratio",
                "weighting (decay) with pooling (ratio) changes two things at once; allowed only with hybrid: true",
            )
        if self.hybrid and not both:
            raise RowError("hybrid", "a hybrid needs both decay (weighting) and ratio (pooling)")
        if self.scale not in ("logits", "latents"):
            raise RowError("scale", f"scale is {self.scale!r}; allowed: logits, latents")
        if self.scale == "latents" and self.decay is None:
            raise RowError("scale", "scale: latents needs decay; there is no weight to apply")

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls of `MEMORY_CONTROLS` that this row's computation is sized by."""
        return ("evidence.frames",)


@dataclass(frozen=True, kw_only=True)
class Spatial:
    """A grid of tokens written from all evidence, and the way it is read."""

    family: ClassVar[str] = "spatial"
    carries_state: ClassVar[bool] = False

    write: Literal["grid", "none"]
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
        """Controls of `MEMORY_CONTROLS` that this row's computation is sized by."""
        grid = ("evidence.frames", "backbone.grid", "backbone.grid_tokens")
        return (*grid, "backbone.recurrent_every") if self.read == "readout" else grid


@dataclass(frozen=True, kw_only=True)
class Ssm:
    """A recurrence in the recurrent blocks: short convolution (hybrid) or decaying state (block-wise)."""

    family: ClassVar[str] = "ssm"
    carries_state: ClassVar[bool] = True

    kernel: int | None = None
    """hybrid: taps of the depthwise causal convolution over time."""
    expand: int | None = None
    """hybrid: inner width over d."""
    tau: tuple[float, float] | None = None
    """block-wise: shortest and longest time constant at the start, in frames, log-spaced over channels."""
    rho: tuple[float, float] | None = None
    """block-wise: bounds of the residual's weight."""

    def __post_init__(self) -> None:
        convolution = self.kernel is not None or self.expand is not None
        decay = self.tau is not None or self.rho is not None
        if convolution and decay:
            raise RowError(
                "tau", "two recurrences in one row; allowed: kernel and expand (hybrid), or tau and rho (block-wise)"
            )
        if not convolution and not decay:
            raise RowError("family", "an ssm row needs kernel and expand (hybrid), or tau and rho (block-wise)")
        if convolution and (self.kernel is None or self.expand is None):
            raise RowError("kernel", "a hybrid recurrence needs both kernel and expand")
        if decay and (self.tau is None or self.rho is None):
            raise RowError("tau", "a block-wise recurrence needs both tau and rho")
        if self.kernel is not None and self.kernel < 2:
            raise RowError("kernel", f"kernel is {self.kernel}; one tap has no memory, so at least 2")
        if self.expand is not None and self.expand < 1:
            raise RowError("expand", f"expand is {self.expand}; allowed: 1 and more")
        for key, pair in (("tau", self.tau), ("rho", self.rho)):
            if pair is not None and not (len(pair) == 2 and 0 < pair[0] < pair[1]):
                raise RowError(key, f"{key} is {list(pair)}; allowed: two numbers above 0, the smaller first")

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls of `MEMORY_CONTROLS` that this row's computation is sized by."""
        return ("evidence.frames", "backbone.recurrent_every")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """No mechanism: known frames, scored by the same code as what the rows generate, as ceiling and floor."""

    family: ClassVar[str] = "bound"
    carries_state: ClassVar[bool] = False

    shows: Literal["truth", "anchor"]
    """truth: the true frames of every case, none where nobody knows them; anchor: the first frame, standing still."""

    def __post_init__(self) -> None:
        if self.shows not in ("truth", "anchor"):
            raise RowError("shows", f"shows is {self.shows!r}; allowed: truth, anchor")

    @property
    def reads(self) -> tuple[str, ...]:
        """Controls of `MEMORY_CONTROLS` that this row's computation is sized by."""
        return ()


Row = Context | Compress | Spatial | Ssm | Bound

FAMILIES: Mapping[str, type[Row]] = {kind.family: kind for kind in (Context, Compress, Spatial, Ssm, Bound)}

MEMORY_CONTROLS = ("evidence.frames", "backbone.recurrent_every", "backbone.grid", "backbone.grid_tokens")
"""Controls that size a mechanism. A row's configuration holds one only if the row `reads` it."""


def resolved(row: Row) -> dict[str, Any]:
    """`row` as the plain object that is hashed and sent in a request: its family and all parameters."""
    values = {field.name: _plain(getattr(row, field.name)) for field in fields(row)}
    return {"family": row.family, **values}


def generated(row: Row) -> Row:
    """What generation computes: a row that reads nothing is the anchor-only row."""
    if isinstance(row, Spatial) and row.read == "none":
        return Context(frames=1)
    return row


def trained(row: Row) -> Row:
    """What training computes: masking happens at generation only, and a bound trains nothing."""
    row = generated(row)
    if isinstance(row, Bound):
        # Nothing of its own: evaluation needs a training only to know what it was trained on.
        return Context(frames=1)
    if isinstance(row, Spatial) and row.masked:
        return replace(row, masked=False)
    return row


def row_from(raw: Mapping[str, Any]) -> Row:
    """The row of a resolved object, e.g. `request.row`.

    Raises:
        RowError: an unknown family or a combination that cannot be.
        TypeError: an unknown or missing parameter (the loader checks these before, with their lines).
    """
    parameters = dict(raw)
    family = parameters.pop("family", None)
    if family not in FAMILIES:
        raise RowError("family", f"family is {family!r}; allowed: {', '.join(FAMILIES)}")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
    return FAMILIES[family](**values)


def _plain(value: Any) -> Any:
    return [float(v) for v in value] if isinstance(value, tuple) else value
