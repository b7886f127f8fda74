"""What jobs of the study read besides their inputs: files and services that no crate holds."""

import os
from collections.abc import Iterator, Mapping

from workloads.contract.planned import PlannedJob
from workloads.study.services import JUDGE_URL

_NETWORKS = {
    ("branch", "perceptual", "alex"): "lpips",
    ("branch", "perceptual", "vgg"): "lpips",
    ("branch", "frechet", "inception"): "inception",
    ("branch", "frechet_video", "i3d"): "i3d",
}
_JUDGE = {("judge", "name", "vlm"): "judge_url"}

READ: Mapping[str, Mapping[tuple[str, str, str], str]] = {
    "data": {("data", "source", "context-as-memory"): "pool"},
    "latents": {("codec", "kind", "wan"): "wan_vae", ("codec", "text", "umt5"): "umt5"},
    "train": {("backbone", "start", "wan"): "wan"},
    "evaluate": _NETWORKS,
    "judge": _JUDGE,
    "bound": {**_NETWORKS, **_JUDGE},
}
"""Stage -> (section, key, value) -> name under `paths` of what a job with this value reads."""


def cannot_rerun(job: PlannedJob, paths: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> str:
    """Why the job's result cannot be made here, with the names under `paths` that are not set; empty: it can.

    Args:
        job: of the plan.
        paths: of the cluster file.
        environment: may name the judge's endpoint.
    """
    known = {**paths, **({"judge_url": environment[JUDGE_URL]} if environment.get(JUDGE_URL) else {})}
    missing = sorted({name for name in _read(job) if name not in known})
    if not missing:
        return ""
    return f"it reads {' and '.join(f'paths.{name}' for name in missing)} of the cluster file, which is not set here"


def _read(job: PlannedJob) -> Iterator[str]:
    """Names under `paths` that a job reads."""
    for (section, key, value), name in READ.get(job.stage, {}).items():
        if job.config.get(section, {}).get(key) == value:
            yield name
