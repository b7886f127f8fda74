"""The jobs of all reference rows of the laptop profile, in processor time: 20 s in all are allowed."""

import time
from pathlib import Path

import adversary_table
import pytest
from timing import say

from orchestrator.opening import open_study

pytestmark = pytest.mark.bench


def test_all_bounds_of_the_laptop_profile(tmp_path: Path) -> None:
    study = open_study(adversary_table.MATRIX)
    cell = next(cell for cell in study.plan.cells if cell.reference)
    made: dict[str, str] = {}
    total = 0.0
    for name, job_id in study.plan.jobs_of[cell.id].items():
        job = study.plan.jobs[job_id]
        began = time.process_time()
        inputs = {stage: made[need] for stage, need in job.inputs.items()}
        made[job_id] = str(adversary_table.run_here(job, tmp_path / name.replace("/", "-"), inputs))
        if job.branch is not None:
            total += time.process_time() - began
            say(f"{name}, {len(job.parts)} rows", time.process_time() - began)
    say("all bounds", total)
