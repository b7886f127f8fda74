"""Write `tokens`: the latents as they are.

No state crosses chunks and no parameter is added. With one frame this is the anchor-only row, the study's baseline.
Not a compressed memory: tokens grow with the number of frames. Source: study.md section 5, rows `context-*`.
"""

from workloads.memory.interface import ContextTokens, FrameWrite, Sizes, Slots
from workloads.study.memory.write.tokens import TokensSpec


class Tokens(FrameWrite):
    """All valid slots are context tokens."""

    def __init__(self, spec: TokensSpec, sizes: Sizes) -> None:
        super().__init__()
        self.frames = spec.frames

    def context(self, slots: Slots) -> ContextTokens:
        """Keep the slots.

        Raises:
            ValueError: more slots than the row's frames: the evidence was chosen for another row.
        """
        if self.frames is not None and slots.latents.shape[1] > self.frames:
            raise ValueError(
                f"evidence has {slots.latents.shape[1]} slots, memory.frames is {self.frames}; "
                "choose the evidence of a context row by its own frames"
            )
        kept = slots.trimmed()
        return ContextTokens(kept.latents, kept.actions, kept.valid)
