"""What a forward of a built model costs: the arithmetic of `workloads.study.sizes`, at the model's own sizes."""

from collections.abc import Sequence

from workloads.model.world_model import WorldModel
from workloads.study import sizes
from workloads.study.sizes import ModelSizes


def sizes_of(model: WorldModel) -> ModelSizes:
    """The sizes of `model`; `slots` is 1, for a model does not know how much evidence it will be shown."""
    shape, controls = model.shape, model.controls
    return ModelSizes(
        row=model.row,
        slots=1,
        width=model.width,
        blocks=len(model.blocks),
        heads=model.heads,
        feed_forward=model.feed_forward,
        frequency_width=model.frequency_width,
        recurrent_every=int(controls.get("recurrent_every", 0)),
        grid=int(controls.get("grid", 0)),
        grid_tokens=int(controls.get("grid_tokens", 0)),
        site=model.site,
        channels=shape.channels,
        rows=model.rows,
        columns=model.columns,
        frames=shape.frames,
        text_tokens=shape.text_tokens,
        text_width=shape.text_width,
    )


def tokens_forward(model: WorldModel, slots: int) -> int:
    """Tokens of one sample in self-attention, target and memory, with `slots` valid evidence slots."""
    return sizes.tokens_forward(sizes_of(model), slots)


def tokens_written(model: WorldModel, slots: int) -> int:
    """Tokens of one sample that pass the blocks in a write of `slots` valid slots; 0 in rows without a state."""
    return sizes.tokens_written(sizes_of(model), slots)


def flops_denoise(model: WorldModel, batch: int, slots: int) -> int:
    """FLOPs of one `denoise` with `slots` valid evidence slots a sample."""
    return sizes.flops_denoise(sizes_of(model), batch, slots)


def flops_write(model: WorldModel, batch: int, slots: int) -> int:
    """FLOPs of one `write` of `slots` valid slots a sample; 0 in rows without a state."""
    return sizes.flops_write(sizes_of(model), batch, slots)


def flops_step(model: WorldModel, batch: int, slots: int, history: Sequence[int] = ()) -> int:
    """FLOPs of one training step: forward and backward over the evidence of `history` and the segment's own."""
    return sizes.flops_step(sizes_of(model), batch, slots, history)
