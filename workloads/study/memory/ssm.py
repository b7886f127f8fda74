"""State-space recurrence: hybrid, block-wise, or a matrix a head. Source: study.md section 5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from workloads.contract.fields import LATER
from workloads.contract.rows import RowError
from workloads.study.memory.address.place import PlaceSpec
from workloads.study.memory.composed import ComposedRow, Parts, check_cells
from workloads.study.memory.parts import CELLS, WriteSpec
from workloads.study.memory.read.recurrence import RecurrenceSpec
from workloads.study.memory.write.convolution import ConvolutionSpec
from workloads.study.memory.write.convolution_place import ConvolutionPlaceSpec
from workloads.study.memory.write.delta import DeltaSpec
from workloads.study.memory.write.diagonal import DiagonalSpec
from workloads.study.memory.write.diagonal_place import DiagonalPlaceSpec
from workloads.study.memory.write.matrix import MatrixSpec
from workloads.study.memory.write.tokens import TokensSpec


@dataclass(frozen=True, kw_only=True)
class Ssm(ComposedRow):
    """A recurrence in the recurrent blocks: short convolution (hybrid), decaying state (block-wise), or a matrix."""

    family: ClassVar[str] = "ssm"
    order: ClassVar[int] = 4
    carries_state: ClassVar[bool] = True

    kernel: int | None = None
    """hybrid: taps of the depthwise causal convolution over time."""
    expand: int | None = None
    """hybrid: inner width over d."""
    tau: tuple[float, float] | None = None
    """Shortest and longest time constant at the start, in frames, log-spaced: block-wise over channels, of a matrix
    over heads."""
    rho: tuple[float, float] | None = None
    """block-wise: bounds of the residual's weight."""
    state: Annotated[Literal["vector", "matrix", "delta"], LATER] = "vector"
    """vector: by the other parameters; matrix: of keys and values, added up, with tau; delta: the same, corrected."""
    context: Annotated[int, LATER] = 1
    """K of frames that are context tokens too, in place of `controls.evidence.frames`; 1: only the anchor is one."""

    write_from: Annotated[Literal["retrieved", "stream"], LATER] = "retrieved"
    """retrieved: evidence of each segment, chosen from the history; stream: every frame once, so no history is kept."""

    cells: Annotated[tuple[int, int], LATER] = CELLS
    """Of address: place: rows at most, and cells around the circle."""

    def __post_init__(self) -> None:
        if self.context < 1:
            raise RowError("context", f"context is {self.context}; allowed: 1 (the anchor alone) and more")
        if self.cells != CELLS and self.address != "place":
            raise RowError(
                "cells", f"cells is {list(self.cells)}, but address is {self.address}; allowed: with address: place"
            )
        check_cells(self.cells)
        if self.write_from not in ("retrieved", "stream"):
            raise RowError("write_from", f"write_from is {self.write_from!r}; allowed: retrieved, stream")
        if self.write_from == "stream" and self.context > 1:
            raise RowError("context", f"context is {self.context}, but write_from: stream retrieves none; allowed: 1")
        if self.state != "vector":
            self._check_matrix()
            super().__post_init__()
            return
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
        super().__post_init__()

    @property
    def parts(self) -> Parts:
        """The state that the parameters are of."""
        context = None if self.context == 1 else TokensSpec(frames=self.context)
        return Parts(self._write(), self._address(), RecurrenceSpec(context=context))

    @property
    def factors(self) -> Mapping[str, str]:
        """Frames that are tokens too are a second store, with a second read."""
        found = dict(super().factors)
        if self.context > 1:
            found["write"], found["read"] = f"tokens and {found['write']}", f"self-attention and {found['read']}"
        return found

    def _check_matrix(self) -> None:
        if self.state not in ("matrix", "delta"):
            raise RowError("state", f"state is {self.state!r}; allowed: vector, matrix, delta")
        if self.kernel is not None or self.expand is not None or self.rho is not None:
            raise RowError("state", f"state: {self.state} takes tau alone; leave out kernel, expand and rho")
        if self.tau is None or len(self.tau) != 2 or not 0 < self.tau[0] < self.tau[1]:
            raise RowError("tau", f"state: {self.state} needs tau: two numbers above 0, the smaller first")

    def evidence_frames(self, evidence: Mapping[str, Any]) -> int:
        """Its own K where frames are context tokens too; the anchor alone where none is retrieved."""
        if self.write_from == "stream":
            return 1
        return self.context if self.context > 1 else super().evidence_frames(evidence)

    @property
    def reads(self) -> tuple[str, ...]:
        """Not the number of evidence frames where it has its own."""
        own = self.context > 1 or self.write_from == "stream"
        return tuple(key for key in super().reads if not own or key != "evidence.frames")

    @property
    def written_from(self) -> str:
        """Retrieved evidence or every frame."""
        return self.write_from

    def frames_written(self, slots: int, chunk_frames: int) -> int:
        """A stream's: the frames since the anchor before, and the anchor."""
        return chunk_frames - 1 if self.write_from == "stream" else super().frames_written(slots, chunk_frames)

    def frames_trained(self, slots: int, chunk_frames: int, scene_frames: int) -> int:
        """A stream's: all frames before the last segment of a scene, and its anchor."""
        if self.write_from == "stream":
            return max(1, scene_frames - chunk_frames + 1)
        return super().frames_trained(slots, chunk_frames, scene_frames)

    def _write(self) -> WriteSpec:
        if self.state != "vector" and self.tau is not None:
            return DeltaSpec(tau=self.tau) if self.state == "delta" else MatrixSpec(tau=self.tau)
        places = self.address == PlaceSpec.name
        if self.kernel is not None and self.expand is not None:
            if places:
                return ConvolutionPlaceSpec(kernel=self.kernel, expand=self.expand, cells=self.cells)
            return ConvolutionSpec(kernel=self.kernel, expand=self.expand)
        assert self.tau is not None and self.rho is not None  # the row's own check
        if places:
            return DiagonalPlaceSpec(tau=self.tau, rho=self.rho, cells=self.cells)
        return DiagonalSpec(tau=self.tau, rho=self.rho)
