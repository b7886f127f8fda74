"""Disk space that jobs add to what is there, from sizes: weights, latents, scenes, videos of evaluations."""

from collections.abc import Mapping
from typing import Any

from workloads.contract.planned import Planned, PlannedJob
from workloads.study.cases import cases_of, chunks_of
from workloads.study.footprint import checkpoint_bytes, latents_and_pool, stable_bytes, weights_bytes
from workloads.study.memory.families import row_from
from workloads.study.scenes import OPEN, WORLDS
from workloads.study.schedule import stable_steps
from workloads.study.sizes import ModelSizes, model_sizes

POOL, LATENTS, WEIGHTS, VIDEOS = "scenes", "latents", "weights", "videos"
STABLE = "states with which longer trainings begin"
CHECKPOINTS = "checkpoints of one training while it runs"

# Of `workloads/evaluation/lossless.py`: moving photographs, without and with noise, take 0.29 to 0.51 of their bytes.
PACKED = 0.5
OF_A_FILE, OF_A_FRAME = 700, 180  # bytes, whatever is in them


def added_disk(plan: Planned, made: Mapping[str, float], *, keep_stable: bool = True) -> dict[str, int]:
    """See `Workload.added_disk`; scenes uncompressed, evaluations of a real pool only where their cases are counted."""
    added: dict[str, int] = dict.fromkeys((POOL, LATENTS, WEIGHTS, STABLE, VIDEOS), 0)
    running = 0
    # Equal sections and rows are the same objects in all cells.
    models: dict[tuple[int, int], ModelSizes] = {}
    counted: set[str] = set()
    for cell in plan.cells:
        for job_id in plan.jobs_of[cell.id].values():
            if job_id not in made or job_id in counted:
                continue
            counted.add(job_id)
            job, data = plan.jobs[job_id], cell.controls["data"]
            if job.stage == "data":
                added[POOL] += round(latents_and_pool(data, cell.controls["codec"])[1] * made[job_id])
            elif job.stage == "latents":  # written anew as a whole
                added[LATENTS] += latents_and_pool(data, cell.controls["codec"])[0]
            elif job.stage == "evaluate":
                added[VIDEOS] += round(_video_bytes(job, data) * made[job_id])
            elif job.stage == "train":
                same = (id(cell.controls), id(cell.trained))
                if same not in models:
                    models[same] = model_sizes(cell.controls, row_from(cell.trained))
                added[WEIGHTS] += weights_bytes(models[same])
                if keep_stable and stable_steps(job.config["training"]) is not None:
                    added[STABLE] += stable_bytes(models[same])
                running = max(running, checkpoint_bytes(models[same]))
    return {name: size for name, size in {**added, CHECKPOINTS: running}.items() if size}


def _video_bytes(job: PlannedJob, data: Mapping[str, Any]) -> int:
    """Videos of an evaluation, packed; 0: only the pool knows how many."""
    branch, section = str(job.branch), job.config["branch"]
    rendered = cases_of(branch, section, data) if data["source"] == WORLDS or branch in OPEN else None
    cases, chunks = int(section["cases"]) or rendered or 0, chunks_of(branch, section) or ()
    lengths = [1 + number * (int(data["chunk_frames"]) - 1) for number in chunks]
    frame = OF_A_FRAME + PACKED * int(data["height"]) * int(data["width"]) * 3
    return round(cases * sum(OF_A_FILE + length * frame for length in lengths))
