"""Stage train: one row, one seed, to weights that a world model can be evaluated with.

Reads `latents` and `index`; writes into `out`

| file | content |
|---|---|
| `weights.safetensors`, `model.json` | the trained model, float32, and all that is needed to build it again |
| `samples/step-{n}.mp4` | held-out first frames rolled out after n steps |
| `optimizer.safetensors` | with `execution.keep: full` only: AdamW's state; with ZeRO one file a rank |
| `stable/step-{n}/` | with `execution.keep_stable`: the whole state where the stable part ends (`stable.py`) |

Source: study.md section 6; design, "The contract between orchestrator and workloads".
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from workloads.contract.request import Request
from workloads.data.index import Index
from workloads.data.latents import Latents
from workloads.model.cost import flops_step, tokens_forward, tokens_written
from workloads.model.initial import initial_shared_digest, parameters_added, trainable_shared_digest
from workloads.model.shapes import LatentShape
from workloads.model.wan import load_wan
from workloads.model.weights import save_model
from workloads.model.world_model import WorldModel, build_model
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.memory.families import row_from
from workloads.study.schedule import stable_steps
from workloads.study.sizes import scene_frames
from workloads.training.batches import make_batches
from workloads.training.checkpoint import METRICS, TrainingState, moments_name, write_checkpoint
from workloads.training.engine import Engine, join_ranks
from workloads.training.loop import BROKEN, Hooks, Position, train_steps
from workloads.training.optimiser import make_optimiser, optimiser_groups
from workloads.training.ranks import save_parts
from workloads.training.resume import check_layout, newest_intact
from workloads.training.samples import SampleVideos
from workloads.training.settings import batch_shape, zero_stage
from workloads.training.spikes import StepLimits, TrainingDiverged, check_rejected, remedies
from workloads.training.stable import (
    CARRIED,
    continued,
    moments_for,
    put_back,
    stable_folder,
    stable_start,
    to_carry,
    write_without,
)

SMOKE_STEPS = 2
"""Of a smoke attempt; rates and draws are those of the full training."""


def run(request: Request, progress: Progress) -> StageOutcome:
    """Train, from `request.resume` or a shorter training if there is one, until done or asked to stop.

    Raises:
        BadInput: a request without row or seed, factors that do not give the global batch, an index of
            other steps, start weights that are not Wan's or do not fit, a checkpoint of another job or of other
            shards.
        TrainingDiverged: more steps were rejected than `training.rejected_share` allows, or 50 in a row, or the last
            step left weights that are not finite.
    """
    if request.row is None or request.seed is None:
        raise BadInput("request.json: row or seed is null; stage train trains one row with one seed; give both")
    config, execution, device = request.config, request.execution, request.execution.device
    training = config["training"]
    row = row_from(request.row)
    shape = batch_shape(int(training["global_batch"]), request.rendezvous.world_size, execution)
    join_ranks(request.rendezvous, device)

    latents = Latents.open(request.inputs["latents"], request.reads.get("latents"))
    index = Index.open(Path(request.inputs["index"]))
    steps = int(training["steps"])
    steps = min(SMOKE_STEPS, steps) if request.smoke else steps
    _check_index(index, steps, shape.global_batch, request.inputs["index"])
    frames = row.evidence_frames(config["evidence"])
    batches = make_batches(
        latents,
        index,
        config,
        evidence_frames=frames,
        carries_state=row.carries_state,
        write_from=row.written_from,
        seed=request.seed,
    )
    model = build_model(config["backbone"], config["action"], request.row, LatentShape(**latents.shape), request.seed)
    if config["backbone"].get("start") == "wan":  # requests from before this key start from scratch
        load_wan(model, execution.paths.get("wan"))
    records: dict[str, Any] = {
        **index.digest(),
        "scenes": latents.scenes_digest(),
        "evidence": batches.evidence_digest(range(steps)),
        "evidence_frames": frames,
        "initial_shared": initial_shared_digest(model),
        "trainable_shared": trainable_shared_digest(model),
    }
    if row.carries_state:
        records["written"] = batches.written_digest(range(steps))

    start = TrainingState.beginning(request, zero_stage(execution), latents.shape)
    samples = Path(request.out) / "samples"
    resumed = None if request.resume is None else newest_intact(Path(request.resume), start, device)
    if resumed is not None:
        start = resumed.state
    elif (resumed := stable_start(request.finished, start, device)) is not None:
        start = continued(resumed.state, start)
        check_rejected(start.loss, StepLimits.of(training, steps))
    if resumed is not None:
        print(f"going on after step {start.step}, from {resumed.folder}", flush=True)
        model.load_state_dict(resumed.weights())
    kept = None if request.smoke or not execution.keep_stable else stable_steps(training)
    stable = stable_folder(Path(request.out), kept or 0)
    added = parameters_added(model)  # counted now: sharded parameters have no elements
    model.to(device).train()
    engine = Engine(model, make_optimiser(optimiser_groups(model, training)), training, execution, shape)
    if resumed is not None:
        check_layout(resumed, engine.groups() if engine.sharded else None)
        engine.load_moments(moments_for(resumed, engine.rank, shape.ranks, engine.zero_stage))
        progress.carry_over(resumed.metrics, start.metrics_bytes)
        if engine.rank == 0:
            resumed.restore_samples(samples)
            if kept is not None and start.step >= kept and not put_back(resumed, stable):
                print(f"{resumed.folder}: has no state of step {kept}; longer trainings begin anew", flush=True)
        engine.wait_for_all()

    videos = SampleVideos(
        latents,
        config,
        evidence_frames=frames,
        streams=row.streams,
        folder=samples,
        device=device,
        paths=execution.paths,
    )

    def write(at: Position, folder: Path, last: Collection[str] = (), beside: Mapping[str, Path] | None = None) -> None:
        metrics, length = Path(request.work) / METRICS, progress.flush()
        if last and engine.rank == 0:
            metrics, whole_file = Path(request.work) / f"{CARRIED}{METRICS}", metrics
            length = write_without(whole_file, length, metrics, at.step, last)
        state = replace(
            start,
            step=at.step,
            loss=at.loss,
            seconds=at.seconds,
            metrics_bytes=length,
            world_size=shape.ranks,
            parameters=engine.groups(),
        )
        with engine.whole() as whole:
            weights = _on_host(whole.state_dict()) if engine.rank == 0 else {}
        moments = engine.moments() if engine.sharded or engine.rank == 0 else {}
        write_checkpoint(
            folder,
            state,
            rank=engine.rank,
            weights=weights,
            moments=moments,
            metrics=metrics,
            samples=samples,
            wait_for_all=engine.wait_for_all,
            beside=beside,
            without=[f"step-{at.step}.mp4"] if BROKEN in last else (),
            device=device,
        )

    def readings() -> Mapping[str, float]:
        with engine.whole(model.mechanism):
            return model.diagnostics()

    try:
        end, stopped = train_steps(
            engine,
            batches,
            shape,
            training,
            progress,
            Hooks(
                save=lambda at: write(at, Path(request.work) / "checkpoints", beside=to_carry(stable)),
                keep=lambda at, last: write(at, stable.parent, last),
                sample=lambda step: videos.write(step, model, keep=engine.rank == 0, called=engine.called),
                readings=readings,
                tokens=lambda batch: len(batch.target) * tokens_forward(model, batch.slots.valid.shape[1]),
            ),
            start=Position(step=start.step, loss=start.loss, seconds=start.seconds),
            steps=steps,
            stable=kept,
            device=device,
            checkpoint_every_s=execution.checkpoint_every_s,
        )
        if not stopped:
            progress.at(steps, steps, "publishing")
            _publish(request, engine, latents)
    except TrainingDiverged as error:
        raise TrainingDiverged(f"{request.name}: {error}; {remedies(training)}") from None
    return StageOutcome(
        steps=end.step,
        records={
            **records,
            "steps": end.step,
            "skipped": end.loss.rejected,
            "world_size": shape.ranks,
            "micro_batch": shape.micro_batch,
        },
        cost={
            **full_cost(model, frames, shape.global_batch, config["data"]),
            "device_s": end.seconds * shape.ranks,
            "s_per_step": end.seconds / max(1, end.step),
            "parameters_added": float(added),
        },
        stopped=stopped,
    )


def full_cost(model: WorldModel, frames: int, global_batch: int, data: Mapping[str, Any]) -> dict[str, float]:
    """What the row asks for with all `frames` evidence slots of a sample filled, whatever the sampler drew.

    Args:
        data: the section; what a stream writes depends on the lengths of chunks and scenes.

    Returns:
        `tokens` of one sample's forward, `tokens_written` of one sample's write, `flops` of one step over the
        global batch.
    """
    row, chunk = model.row, int(data["chunk_frames"])
    trained = row.frames_trained(frames, chunk, scene_frames(data))
    history = (trained - frames,) if model.mechanism.carries_state else ()
    return {
        "tokens": float(tokens_forward(model, frames)),
        "tokens_written": float(tokens_written(model, row.frames_written(frames, chunk))),
        "flops": float(flops_step(model, global_batch, frames, history)),
    }


def _publish(request: Request, engine: Engine, latents: Latents) -> None:
    out, config = Path(request.out), request.config
    description = {
        **{section: config[section] for section in ("backbone", "action", "training", "evidence", "data")},
        "codec": latents.codec_section,
        "row": request.row,
        "seed": request.seed,
    }
    with engine.whole() as whole:
        check_weights(whole)  # by every rank, so that none waits for one that has ended
        if engine.rank == 0:
            save_model(out, cast(WorldModel, whole), description)
    if request.execution.keep == "full":
        moments = engine.moments() if engine.sharded or engine.rank == 0 else {}
        name = moments_name if engine.sharded else lambda _rank: "optimizer.safetensors"
        save_parts(out, name, moments, request.execution.device)
    engine.wait_for_all()


def check_weights(model: nn.Module) -> None:
    """Refuse weights that are not finite: no loss has been computed with those of the last step.

    Raises:
        TrainingDiverged: a parameter is not finite.
    """
    odd = [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())]
    if odd:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise TrainingDiverged(f"after the last step the weights of {odd[0]}{more} are not finite")


def _check_index(index: Index, steps: int, global_batch: int, folder: str) -> None:
    if index.steps < steps or index.batch != global_batch:
        raise BadInput(
            f"{folder}: the index has {index.steps} steps of {index.batch} samples, this training takes {steps} of "
            f"{global_batch}; allowed: an index made for this training; make it again from the same matrix"
        )


def _on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
