"""Compare what a memory row declares with the real model: parameters, tokens, state, FLOPs, activations kept.

Builds the row's model at a small size on the CPU and measures it. For the author of a mechanism, and for the tests.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from workloads.contract.loading import WorkloadError, load_workload
from workloads.contract.rows import RowError, resolved
from workloads.memory.interface import Slots, Stored
from workloads.model.initial import parameters_added
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study import footprint, sizes
from workloads.study.memory.base import PATCH, MemoryRow
from workloads.study.memory.families import row_from
from workloads.study.sizes import ModelSizes

EXAMPLE = """\
example: python -m workloads.model.check mystudy.workload '{"family": "fading", "decay": 0.8}'

run it in the folder of matrix.yaml; exit codes: 0 all agree · 1 something differs · 2 no such workload or row
"""

BATCH, SLOTS = 2, 8
FLOPS_TOLERANCE, ACTIVATIONS_TOLERANCE = 0.02, 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number as declared and as measured."""

    what: str
    declared: object
    real: object
    tolerance: float = 0.0
    """Allowed difference, as a share of `real`; 0: they must be equal."""

    @property
    def agrees(self) -> bool:
        """Whether the difference is allowed."""
        if isinstance(self.declared, int) and isinstance(self.real, int):
            return abs(self.declared - self.real) <= self.tolerance * self.real
        return self.declared == self.real


def small_sizes(row: MemoryRow, site: str = "pre_qkv") -> ModelSizes:
    """Sizes at which a row's model is measured in a second."""
    return ModelSizes(
        row=row, slots=row.evidence_frames({"frames": SLOTS} if "evidence.frames" in row.reads else {}), width=48,
        blocks=5, heads=4, feed_forward=96, frequency_width=16, recurrent_every=2, grid=2, grid_tokens=3, site=site,
        channels=4, rows=6, columns=8, frames=6, text_tokens=8, text_width=16,
    )  # fmt: skip


def compare(row: MemoryRow) -> list[Comparison]:
    """All that `row` declares against its model, both as it is trained."""
    row = row.trained()
    s = small_sizes(row)
    model = model_of(s)
    written, denoised, state, memory_frames = _flops(model, s)
    own = row.recurrent(s)
    found = [
        Comparison(what="parameters added", declared=row.parameters(s), real=parameters_added(model)),
        Comparison(what="frames of context tokens", declared=row.context_slots(s.slots), real=memory_frames),
        Comparison(what="blocks with a part of its own", declared=own, real=tuple(model.mechanism.recurrent)),
        Comparison(what="carries a state", declared=row.carries_state, real=model.mechanism.carries_state),
        Comparison(
            what="shapes of the state",
            declared=[(BATCH, *row.state_shape(s)) for _ in own] if row.carries_state else [],
            real=[tuple(tensor.shape) for tensor in state],
        ),
        Comparison(
            what="FLOPs of a forward",
            declared=sizes.flops_denoise(s, BATCH, s.slots),
            real=denoised,
            tolerance=FLOPS_TOLERANCE,
        ),
        Comparison(
            what="FLOPs of a write",
            declared=sizes.flops_write(s, BATCH, s.slots),
            real=written,
            tolerance=FLOPS_TOLERANCE,
        ),
    ]
    for precision in (torch.float32, torch.bfloat16):
        for recomputed in (False, True):
            found.append(
                Comparison(
                    what=f"bytes kept, {str(precision).removeprefix('torch.')}"
                    + (", activation checkpointing" if recomputed else ""),
                    declared=declared_bytes(s, precision, recomputed=recomputed),
                    real=kept_bytes(s, precision, recomputed=recomputed),
                    tolerance=ACTIVATIONS_TOLERANCE,
                )
            )
    return found


def model_of(s: ModelSizes) -> WorldModel:
    """The real model of a row at the sizes `s`."""
    controls = (
        "width", "blocks", "heads", "feed_forward", "frequency_width", "recurrent_every", "grid", "grid_tokens",
    )  # fmt: skip
    backbone = {key: getattr(s, key) for key in controls}
    return build_model(backbone, {"site": s.site}, resolved(s.row), _shape(s), 0)


def declared_bytes(s: ModelSizes, precision: torch.dtype, *, recomputed: bool) -> int:
    """Predicted bytes between forward and backward of a batch."""
    total = BATCH * footprint.activations(s, precision.itemsize, recomputed=recomputed)
    if precision == torch.bfloat16 and not recomputed:  # weights as autocast has cast them
        total += 2 * (sizes.parameters_shared(s) + sizes.parameters_added(s))
    return total


def kept_bytes(s: ModelSizes, precision: torch.dtype, *, recomputed: bool) -> int:
    """Bytes that autograd keeps after a forward of a batch, parameters apart; a storage counts once."""
    model = model_of(s)
    model.checkpointed = recomputed
    held: dict[int, Tensor] = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in parameters:
            held[storage] = tensor
        return tensor

    noisy, sigma, actions, text = _inputs(s)
    inner = model.mechanism.store

    def stored(tokens: Tensor, slots: Slots) -> Stored:
        """What a block is given beside its tensors, and keeps where it is computed again."""
        made = inner(tokens, slots)
        if recomputed:
            keep(made.tokens)
        return made

    model.mechanism.__dict__["store"] = stored
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        out = model(noisy, sigma, actions, text, _evidence(s), [_evidence(s)])
        loss = torch.nn.functional.mse_loss(out.float(), torch.randn_like(out))
    total = sum(tensor.untyped_storage().nbytes() for tensor in held.values())
    assert bool(loss.isfinite()), f"the loss of {s.row} is {float(loss)}"
    return total


def _flops(model: WorldModel, s: ModelSizes) -> tuple[int, int, Sequence[Tensor], int]:
    """FLOPs of a write and of a forward, the state in between, and frames of context tokens."""
    noisy, sigma, actions, text = _inputs(s)
    slots = _evidence(s)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as written:
            state = model.write(None, slots, text)
        with FlopCounterMode(display=False) as denoised:
            model.denoise(noisy, sigma, actions, text, slots, state)
        frames = model.mechanism.context(slots).latents.shape[1]
    return written.get_total_flops(), denoised.get_total_flops(), state or (), frames


def _shape(s: ModelSizes) -> LatentShape:
    return LatentShape(
        channels=s.channels, height=s.rows * PATCH, width=s.columns * PATCH, frames=s.frames,
        text_tokens=s.text_tokens, text_width=s.text_width,
    )  # fmt: skip


def _inputs(s: ModelSizes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape = _shape(s)
    noisy = torch.randn(BATCH, shape.frames, shape.channels, shape.height, shape.width)
    text = torch.randn(BATCH, shape.text_tokens, shape.text_width)
    return noisy, torch.rand(BATCH), torch.randn(BATCH, shape.frames, 12), text


def _evidence(s: ModelSizes) -> Slots:
    k, shape = s.slots, _shape(s)
    latents = torch.randn(BATCH, k, shape.channels, shape.height, shape.width)
    return Slots(latents, torch.randn(BATCH, k, 12), torch.ones(BATCH, k, dtype=torch.bool))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.model.check",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workload", help="package.module, as in matrix.yaml")
    parser.add_argument("row", help="a row as JSON")
    given = parser.parse_args(arguments)
    try:
        load_workload(given.workload)
        parameters = json.loads(given.row)
        if not isinstance(parameters, dict):
            raise ValueError(f'{given.row} is no row; give an object, such as {{"family": "context", "frames": 5}}')
        row = row_from(parameters)
        if row.known_frames:
            raise ValueError(f"family {row.family} generates nothing, so there is no model to compare with")
        found = compare(row)
    except (WorkloadError, RowError, TypeError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for line in found:
        verdict = "agrees" if line.agrees else "DIFFERS"
        allowed = f", allowed difference {line.tolerance:.0%}" if line.tolerance else ""
        print(f"{verdict:8} {line.what}: declared {line.declared}, real {line.real}{allowed}")
    return 0 if all(line.agrees for line in found) else 1


if __name__ == "__main__":
    sys.exit(main())
