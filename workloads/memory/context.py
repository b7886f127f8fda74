"""Raw context: the anchor and the retrieved frames, as tokens in self-attention.

Write: nothing is transformed, the latents are kept. Read: joint attention. No state crosses
chunks and no parameter is added. With one frame this is the anchor-only row, the study's
baseline. Not a compressed memory: tokens grow with the number of frames.

Source: study.md section 5, rows `context-k1`, `context-k5`, `context-k20`.
"""

from workloads.memory.interface import ContextTokens, Mechanism, Sizes, Slots
from workloads.study.memory.context import Context


class RawContext(Mechanism):
    """All valid slots are context tokens."""

    def __init__(self, row: Context, sizes: Sizes) -> None:
        super().__init__()
        self.frames = row.frames

    def context(self, slots: Slots) -> ContextTokens:
        """Keep the slots.

        Raises:
            ValueError: more slots than the row's frames: the evidence was chosen for another row.
        """
        if slots.latents.shape[1] > self.frames:
            raise ValueError(
                f"evidence has {slots.latents.shape[1]} slots, memory.frames is {self.frames}; "
                "choose the evidence of a context row by its own frames"
            )
        kept = slots.trimmed()
        return ContextTokens(kept.latents, kept.actions, kept.valid)
