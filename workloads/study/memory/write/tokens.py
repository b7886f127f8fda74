"""Write `tokens`: the latents as they are. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.parts import WriteSpec


@dataclass(frozen=True, kw_only=True)
class TokensSpec(WriteSpec):
    """Every valid slot is kept."""

    name: ClassVar[str] = "tokens"
    computation: ClassVar[str] = "workloads.memory.write.tokens:Tokens"

    frames: int | None = None
    """Most slots that may be there; None: any number."""

    def context_slots(self, slots: int) -> int:
        """All of them."""
        return slots
