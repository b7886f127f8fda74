"""State-space recurrence: hybrid or block-wise. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.contract.rows import RowError
from workloads.study.memory.base import MemoryRow


@dataclass(frozen=True, kw_only=True)
class Ssm(MemoryRow):
    """A recurrence in the recurrent blocks: short convolution (hybrid) or decaying state (block-wise)."""

    family: ClassVar[str] = "ssm"
    computation: ClassVar[str] = "workloads.memory.ssm:StateSpace"
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
        """Controls that this row's computation is sized by."""
        return ("evidence.frames", "backbone.recurrent_every")
