"""The steps of a training: what is computed, decided, told and saved at each, in this order.

1. Forward and backward of each micro-batch; 2. all ranks agree on the global loss, on whether to stop
and on whether to save; 3. spike rejection; 4. the update; 5. metrics; 6. sample video and checkpoint.

Nothing here depends on the memory row: rows differ in the model that the engine holds.

Source: study.md section 6.
"""

import math
import resource
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workloads.model.flow import noised, velocity
from workloads.runtime.progress import Progress
from workloads.training.batches import Batches, TrainingBatch
from workloads.training.engine import Engine
from workloads.training.optimiser import rate_at
from workloads.training.settings import BatchShape
from workloads.training.spikes import LossMean, StepLimits, judged, rejection

METRICS_EVERY = 10
"""Steps between metrics of speed and memory."""
DIAGNOSTICS_EVERY = 50
"""Steps between the model's own readings: gates, decays, shares."""
BROKEN = "samples_broken"
"""Metric: the sample videos of this step were no images."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a training stands: what the loop hands on from step to step, and a checkpoint keeps."""

    step: int
    """Steps done, rejected ones included."""
    loss: LossMean
    seconds: float
    """Spent in the loop by all attempts so far."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What happens beside the steps; each is called by all ranks."""

    save: Callable[[Position], None]
    """Write a checkpoint."""
    keep: Callable[[Position, Collection[str]], None]
    """Write the stable checkpoint; with the names of the metrics that only the last step of a training tells."""
    sample: Callable[[int], bool]
    """Write the sample video of a number of steps done; False: the model made no images, and nothing was written."""
    readings: Callable[[], Mapping[str, float]]
    """The model's own readings of its last forward."""
    tokens: Callable[[TrainingBatch], int]
    """Tokens that the blocks see in the forward of a batch."""


def flow_loss(engine: Engine, batch: TrainingBatch) -> Tensor:
    """Mean squared error of the velocity on target latents, unweighted, float32."""
    noisy = noised(batch.target, batch.noise, batch.sigma)
    predicted = engine.forward(noisy, batch.sigma, batch.actions, batch.text, batch.slots, batch.history)
    return torch.nn.functional.mse_loss(predicted.float(), velocity(batch.target, batch.noise))


def train_steps(
    engine: Engine,
    batches: Batches,
    shape: BatchShape,
    training: Mapping[str, Any],
    progress: Progress,
    hooks: Hooks,
    *,
    start: Position,
    steps: int,
    stable: int | None = None,
    device: str,
    checkpoint_every_s: float,
) -> tuple[Position, bool]:
    """Train from `start` to `steps` steps done, and keep the state after `stable` steps; None: it is not kept.

    Returns:
        Where the training stands, and whether it stopped early, at a checkpoint, because it was asked to.

    Raises:
        TrainingDiverged: more steps were rejected than `training.rejected_share` allows, or 50 in a row.
    """
    limits = StepLimits.of(training, steps)
    sample_every = int(training["sample_every"])
    at = start
    saved_at = lap = time.monotonic()
    lap_samples, lap_tokens = 0, 0.0
    while at.step < steps:
        began = time.monotonic()
        step = at.step
        progress.at(step, steps, "training")
        local, tokens = 0.0, 0
        for part in range(shape.accumulate):
            batch = batches.batch(step, shape.samples(engine.rank, part), device)
            tokens += hooks.tokens(batch)
            loss = flow_loss(engine, batch)
            engine.backward(loss, last=part == shape.accumulate - 1)
            local += float(loss.detach()) / shape.accumulate
        due = engine.rank == 0 and began - saved_at >= checkpoint_every_s
        total, asked, saving, seen_tokens = engine.agreed(local, float(progress.stopping), float(due), float(tokens))
        mean = total / shape.ranks
        take, seen = judged(at.loss, mean, step, limits)
        rate = rate_at(step, training)
        norm = engine.finish(take=take, rate=rate)
        if take and not math.isfinite(norm):
            seen = rejection(at.loss, f"its gradient's norm is {norm:.4g}", step, limits)
        if seen.in_a_row == 1:
            print(f"step {step + 1} is rejected: loss {mean:g}, gradient norm {norm:g}", flush=True)
        done = step + 1
        now = time.monotonic()
        at = Position(step=done, loss=seen, seconds=at.seconds + now - began)
        lap_samples, lap_tokens = lap_samples + shape.global_batch, lap_tokens + seen_tokens
        _tell(progress, done, {"loss": mean, "grad_norm": norm, "rate": rate})
        last: set[str] = set()
        if done % METRICS_EVERY == 0 or done == steps:
            spent = max(now - lap, 1e-9)
            speed = {"samples_per_s": lap_samples / spent, "tokens_per_s": lap_tokens / spent}
            told = {**speed, "skipped": float(seen.rejected), "memory_mib": memory_mib(device)}
            _tell(progress, done, told)
            last |= told.keys() if done % METRICS_EVERY else set()
            lap, lap_samples, lap_tokens = now, 0, 0.0
        if done % DIAGNOSTICS_EVERY == 0 or done == steps:
            readings = hooks.readings()
            _tell(progress, done, readings)
            last |= readings.keys() if done % DIAGNOSTICS_EVERY else set()
        sampling = sample_every and (done % sample_every == 0 or done == steps)
        if sampling and not hooks.sample(done):
            progress.metric(done, BROKEN, 1.0)
        if sampling and done % sample_every:
            last.add(BROKEN)
        if done == stable:
            hooks.keep(at, last)
        if done < steps and (asked or saving):
            hooks.save(at)
            saved_at = time.monotonic()
            if asked:
                return at, True
    return at, False


def memory_mib(device: str) -> float:
    """The most memory that this process has held: of the device, or resident on a CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _tell(progress: Progress, step: int, values: Mapping[str, float]) -> None:
    """Write the finite values, since JSON has no others; the others are in the log, and in `skipped`."""
    for name, value in values.items():
        if math.isfinite(value):
            progress.metric(step, name, value)
        else:
            progress.show(name, value)
