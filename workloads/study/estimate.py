"""Cost estimate of a plan: tokens, parameters, FLOPs and device memory of each row, disk, and whether it fits.

Computed from sizes (`workloads.study.sizes`, `footprint`); docs/explanation/sizes.md compares it with
measurements. Memory is that of training, with every evidence slot in use.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.contract.planned import Estimate, Planned, PlannedCell, PlannedCluster, PlannedJob
from workloads.study.footprint import (
    GIB,
    Disk,
    Footprint,
    checkpoint_bytes,
    footprint,
    latents_and_pool,
    memory_remedies,
    stable_bytes,
    weights_bytes,
)
from workloads.study.memory.families import row_from
from workloads.study.schedule import stable_steps
from workloads.study.sizes import (
    ModelSizes,
    full_step,
    model_sizes,
    parameters_added,
    parameters_shared,
    remembered,
    tokens_forward,
    tokens_written,
)


@dataclass(frozen=True, kw_only=True)
class RowSize:
    """One row, at one combination of axis values, as it is trained."""

    label: str
    """Id of the cell without its seed: `context-k5`, `context-k5/site=pre_norm`."""
    model: ModelSizes
    global_batch: int
    devices: int
    """0: on processors."""
    ranks: int
    """Processes that share the training."""
    deepspeed: Mapping[str, Any]
    memory: Footprint
    limit_gib: float | None
    """Memory of a device, or the part of the host's memory for one rank; None: not known."""

    @property
    def fits(self) -> bool | None:
        """Whether the estimate is within the limit; None: no limit is known."""
        return None if self.limit_gib is None else self.memory.total <= self.limit_gib * GIB


def estimate(plan: Planned, cluster: PlannedCluster, selected: Collection[str] | None = None) -> Estimate:
    """The estimate of the selected jobs (None: all)."""
    sizes = row_sizes(plan, cluster, selected)
    disk = plan_disk(plan, sizes, keep_stable=cluster.keep_stable)
    return Estimate(
        text=sizes_text(sizes, disk) + ("" if cluster.keep_stable else _not_kept(plan)),
        json=sizes_json(sizes, disk),
        disk_bytes=disk.weights + disk.stable + disk.checkpoints + disk.latents + disk.pool,
        refusal=too_large(sizes),
    )


def row_sizes(plan: Planned, cluster: PlannedCluster, selected: Collection[str] | None = None) -> list[RowSize]:
    """Sizes of every distinct training of the plan, once for all seeds, in file order.

    Args:
        plan: as built.
        cluster: its `deepspeed` and `device_gib`.
        selected: ids of jobs; a row none of whose trainings is among them is left out. None: all rows.
    """
    found: dict[str, RowSize] = {}
    for cell in plan.cells:
        if cell.alias_of is not None or cell.reference:
            continue
        job_id = plan.jobs_of[cell.id]["train"]
        label = cell.id.removesuffix(f"/s{cell.seed}")
        if label not in found and (selected is None or job_id in selected):
            found[label] = _row_size(label, cell, plan.jobs[job_id], cluster)
    return list(found.values())


def _row_size(label: str, cell: PlannedCell, job: PlannedJob, cluster: PlannedCluster) -> RowSize:
    training, devices, ranks = cell.controls["training"], job.resources.devices, job.resources.world_size
    model, batch = model_sizes(cell.controls, row_from(cell.trained)), int(training["global_batch"])
    return RowSize(
        label=label,
        model=model,
        global_batch=batch,
        devices=devices,
        ranks=ranks,
        deepspeed=cluster.deepspeed,
        memory=footprint(
            model,
            micro_batch=max(1, batch // ranks),
            ranks=ranks,
            precision=str(training["precision"]),
            deepspeed=cluster.deepspeed,
        ),
        limit_gib=cluster.device_gib if devices else job.resources.memory_gib / ranks,
    )


def too_large(sizes: Sequence[RowSize]) -> str:
    """Why a row does not fit, and what would help; empty: all rows fit, or no limit is known."""
    unfit = [size for size in sizes if size.fits is False]
    if not unfit:
        return ""
    worst = max(unfit, key=lambda size: size.memory.total)
    ranks = worst.ranks
    micro = max(1, worst.global_batch // ranks)
    helps = memory_remedies(worst.model, micro_batch=micro, ranks=ranks, deepspeed=worst.deepspeed)
    limit = "device_gib in cluster/*.yaml" if worst.devices else "resources.train.memory_gib"
    others = "" if len(unfit) == 1 else f" (and {len(unfit) - 1} more rows, which need less)"
    return (
        f"{worst.label}: training needs {worst.memory.total / GIB:.1f} GiB on each of {ranks} "
        f"{_unit(worst, ranks)}: states {worst.memory.states / GIB:.1f}, activations "
        f"{worst.memory.activations / GIB:.1f}, working {worst.memory.working / GIB:.1f}, allowance "
        f"{worst.memory.allowance / GIB:.1f}; {limit} is {worst.limit_gib:g}{others}; "
        f"possible remedies: {'; '.join(helps)}"
    )


def plan_disk(plan: Planned, sizes: Sequence[RowSize], *, keep_stable: bool = True) -> Disk:
    """Estimated disk space of the plan; each distinct training, pool and set of latents counts once."""
    by_label = {size.label: size.model for size in sizes}
    trainings: dict[str, ModelSizes] = {}
    shared: dict[str, tuple[int, int, str]] = {}
    for cell in plan.cells:
        model = by_label.get(cell.id.removesuffix(f"/s{cell.seed}"))
        if model is not None and cell.alias_of is None:
            jobs = plan.jobs_of[cell.id]
            trainings.setdefault(jobs["train"], model)
            if jobs["latents"] not in shared:
                shared[jobs["latents"]] = latents_and_pool(cell.controls["data"], cell.controls["codec"])
    # Seeds of a row share its sizes: counted once a seed, they took a tenth of the time of a study of 10,000 jobs.
    counted = _numbered([*trainings.values()])
    shared_on = [(model, stable_steps(plan.jobs[job].config["training"])) for job, model in trainings.items()]
    kept = [model for model, stable in shared_on if stable is not None and keep_stable]
    pools = {plan.jobs[latents].inputs["data"]: shared[latents][1] for latents in shared}
    return Disk(
        weights=sum(number * weights_bytes(model) for model, number in counted),
        checkpoints=max((checkpoint_bytes(model) for model, _ in counted), default=0),
        latents=sum(latents for latents, _, _ in shared.values()),
        pool=sum(pools.values()),
        assumption="; ".join(dict.fromkeys(said for _, _, said in shared.values())),
        stable=sum(number * stable_bytes(model) for model, number in _numbered(kept)),
    )


def _numbered(models: Sequence[ModelSizes]) -> list[tuple[ModelSizes, int]]:
    """Each of the models once, and how often it is there; equal ones are the same objects."""
    numbers = Counter(map(id, models))
    return [(model, numbers[key]) for key, model in {id(model): model for model in models}.items()]


def _not_kept(plan: Planned) -> str:
    """That no training can be continued, because the cluster file says so; empty: none could be."""
    trainings = (job for job in plan.jobs.values() if job.stage == "train")
    if all(stable_steps(job.config["training"]) is None for job in trainings):
        return ""
    return "not kept (keep_stable: false in cluster/*.yaml): states with which longer trainings could begin\n"


def sizes_json(sizes: Sequence[RowSize], disk: Disk) -> dict[str, Any]:
    """The keys `sizes` and `disk` of `plan --json`; bytes and counts."""
    return {
        "sizes": [
            {
                "row": size.label,
                "tokens": tokens_forward(size.model, size.model.slots),
                "tokens_written": tokens_written(size.model, size.model.written),
                "parameters": parameters_shared(size.model),
                "parameters_added": parameters_added(size.model),
                "flops_step": full_step(size.model, size.global_batch),
                **remembered(size.model.row, size.model.slots),
                "devices": size.devices,
                "memory_bytes": size.memory.total,
                "memory_parts": {
                    "states": size.memory.states,
                    "activations": size.memory.activations,
                    "working": size.memory.working,
                    "allowance": size.memory.allowance,
                    "offloaded_to_host": size.memory.host,
                },
                "memory_limit_gib": size.limit_gib,
                "fits": size.fits,
            }
            for size in sizes
        ],
        "disk": {
            "weights": disk.weights,
            "stable": disk.stable,
            "checkpoints": disk.checkpoints,
            "latents": disk.latents,
            "pool": disk.pool,
            "assumption": disk.assumption,
        },
    }


def sizes_text(sizes: Sequence[RowSize], disk: Disk) -> str:
    """A table of the sizes, with memory per device in GiB, and the disk space."""
    if not sizes:
        return ""
    limit = sizes[0].limit_gib
    of = f" of {limit:g}" if limit is not None else ""
    memory = f"GiB/{_unit(sizes[0], 1)}{of}"
    lines = [
        ["row", "tokens", "tokens written", "parameters", "of them added", "TFLOP/step", "floats read", "kept", memory]
    ]
    for size in sizes:
        model, total = size.model, size.memory.total / GIB
        floats = remembered(model.row, model.slots)
        lines.append(
            [
                size.label,
                f"{tokens_forward(model, model.slots):,}",
                f"{tokens_written(model, model.written):,}",
                f"{parameters_shared(model) + parameters_added(model):,}",
                f"{parameters_added(model):,}",
                _teraflop(full_step(model, size.global_batch)),
                f"{floats['floats_read'] / 1e6:.3g} M",
                f"{floats['floats_kept'] / 1e6:.3g} M",
                f"{total:.1f}{' too much' if size.fits is False else ''}",
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = [
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    parts = ", ".join(
        f"{name} {value / GIB:,.1f}"
        for name, value in (
            ("weights", disk.weights),
            *([("states with which longer trainings begin", disk.stable)] if disk.stable else []),
            ("checkpoints of one training while it runs", disk.checkpoints),
            ("latents", disk.latents),
            ("pool", disk.pool),
        )
    )
    title = "sizes, predicted (floats of the memory: of one sample at the paper's size)"
    return "\n".join([title, *table, f"disk, GiB: {parts} ({disk.assumption})"]) + "\n"


def _unit(size: RowSize, count: int) -> str:
    return ("device" if size.devices else "process") + ("" if count == 1 else "s" if size.devices else "es")


def _teraflop(flops: int) -> str:
    value = flops / 1e12
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
