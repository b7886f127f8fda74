"""FLOPs of the jobs of a plan: trainings and evaluations, from the sizes of their models (`sizes`).

What is not counted has no entry: rendering, encoding, judging and bounds, and evaluations of which only the pool knows
how many cases they have. The networks of an evaluation (distances, features) and sample videos are not counted.
"""

from collections.abc import Mapping
from typing import Any

from workloads.contract.planned import Planned, PlannedJob
from workloads.study.cases import cases_of, chunks_of
from workloads.study.memory.families import row_from
from workloads.study.scenes import WORLDS
from workloads.study.sizes import ModelSizes, flops_denoise, flops_write, full_step, model_sizes


def flops(plan: Planned) -> dict[str, float]:
    """Job id -> FLOPs of the job, where they are known; evidence is taken as full."""
    found: dict[str, float] = {}
    # Equal sections and rows are the same objects in all cells.
    models: dict[tuple[int, int], ModelSizes] = {}
    counted: dict[tuple[int, ...], float | None] = {}
    for cell in plan.cells:
        if cell.alias_of is not None or cell.reference:  # a reference row generates nothing
            continue
        same = (id(cell.controls), id(cell.trained))
        if same not in models:
            models[same] = model_sizes(cell.controls, row_from(cell.trained))
        model, jobs = models[same], plan.jobs_of[cell.id]
        for job_id in jobs.values():
            job = plan.jobs[job_id]
            if job.stage not in ("train", "evaluate"):
                continue
            key = (*same, id(job.config), id(job.row))
            if key not in counted:
                counted[key] = (_training if job.stage == "train" else _evaluation)(model, job, cell.controls)
            known = counted[key]
            if known is not None:
                found[job_id] = known
    return found


def _training(model: ModelSizes, job: PlannedJob, controls: Mapping[str, Mapping[str, Any]]) -> float:
    """FLOPs of a training."""
    section = controls["training"]
    return float(int(section["steps"]) * full_step(model, int(section["global_batch"])))


def _evaluation(model: ModelSizes, job: PlannedJob, controls: Mapping[str, Mapping[str, Any]]) -> float | None:
    """FLOPs of an evaluation; None: not known."""
    section, sampler = job.config["branch"], controls["sampler"]
    rendered = controls["data"]["source"] == WORLDS
    cases = int(section["cases"]) or (cases_of(str(job.branch), section, controls["data"]) if rendered else None)
    chunks = chunks_of(str(job.branch), section)
    if cases is None or chunks is None:
        return None
    passes = int(sampler["steps"]) * (1 if float(sampler["guidance"]) == 1.0 else 2)
    chunk = passes * flops_denoise(model, 1, model.slots) + flops_write(model, 1, model.written)
    return float(cases * sum(chunks) * chunk)
