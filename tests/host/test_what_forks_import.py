"""A job finds what it imports in the warm server, also in one that was started for its stage alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

from orchestrator.opening import open_study
from orchestrator.schedule.launcher import build_request
from workloads.study.stages import STAGES

MATRIX = Path(__file__).parents[2] / "matrix.yaml"
TINY = (
    *("controls.data.train_scenes=1", "controls.data.held_out_scenes=2", "controls.data.open_prompts=1"),
    *("controls.data.open_variants=2", "controls.training.steps=2", "controls.training.sample_every=1"),
    *("controls.training.warmup_steps=1", "controls.backbone.blocks=2"),
    *(f"branches.{name}.cases=2" for name in ("replay", "loop", "return")),
)
SMALL = ("workloads.", "torch.profiler._cupti_monitor")
"""Begin names of modules that a job may import anew: of the study, chosen by branch or row, and a private one of torch.
"""
ROWS = ("context-k5", "bound-truth", "bound-anchor")


def test_a_fork_imports_nothing_anew(tmp_path: Path) -> None:
    """Of each stage one small job of the shipped matrix."""
    study = open_study(MATRIX, overrides=TINY, rows=ROWS, look=False)
    chosen = {stage.name: "return" if stage.branches else None for stage in STAGES}
    outs: dict[str, str] = {}
    paths = []
    for stage, branch in chosen.items():
        job = next(job for job in study.plan.jobs.values() if (job.stage, job.branch) == (stage, branch))
        raw = build_request(job, attempt="a1", home=tmp_path, settings=study.cluster, accumulate=1, resume=None)
        outs[stage] = str(tmp_path / stage / "out")
        raw |= {"inputs": {name: outs[name] for name in job.inputs}, "out": outs[stage], "work": str(tmp_path / stage)}
        paths.append(tmp_path / f"{stage}.json")
        paths[-1].write_text(json.dumps(raw), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "forks_of_stages.py", *paths],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"stage"')]
    assert [(one["stage"], one["code"]) for one in found] == [(stage, 0) for stage in chosen], done.stderr
    late = {one["stage"]: [name for name in one["imported"] if not name.startswith(SMALL)] for one in found}
    assert not any(late.values()), late
