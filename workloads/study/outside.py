"""What jobs of the study read besides their inputs: files and services that no crate holds."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from workloads.contract.planned import PlannedJob
from workloads.study.services import JUDGE_URL

WEIGHTS_OF = {"inception": "inception", "i3d": "i3d", "alex": "lpips", "vgg": "lpips"}
"""Network that a branch measures with -> name under `paths` of its weights."""


def cannot_rerun(job: PlannedJob, paths: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> str:
    """Why the job's result cannot be made here, with the names under `paths` that are not set; empty: it can.

    Args:
        job: of the plan.
        paths: of the cluster file.
        environment: may name the judge's endpoint.
    """
    known = {**paths, **({"judge_url": environment[JUDGE_URL]} if environment.get(JUDGE_URL) else {})}
    missing = sorted({name for name in _read(job.config) if name not in known})
    if not missing:
        return ""
    return f"it reads {' and '.join(f'paths.{name}' for name in missing)} of the cluster file, which is not set here"


def _read(config: Mapping[str, Any]) -> Iterator[str]:
    """Names under `paths` that a job with these sections reads."""
    if config.get("data", {}).get("source") == "context-as-memory":
        yield "pool"
    if config.get("codec", {}).get("kind") == "wan":
        yield "wan_vae"
    if config.get("codec", {}).get("text") == "umt5":
        yield "umt5"
    if config.get("backbone", {}).get("start") == "wan":
        yield "wan"
    if config.get("judge", {}).get("name") == "vlm":
        yield "judge_url"
    for key in ("perceptual", "frechet", "frechet_video"):
        network = str(config.get("branch", {}).get(key, ""))
        if network in WEIGHTS_OF:
            yield WEIGHTS_OF[network]
