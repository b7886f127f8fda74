"""A stage that has imported torch and computes nothing: what a job costs by itself."""

from pathlib import Path

import torch

from workloads.contract.request import Request
from workloads.runtime.progress import Progress, StageOutcome


def run(request: Request, progress: Progress) -> StageOutcome:
    """Write the version of torch."""
    (Path(request.out) / "version.txt").write_text(torch.__version__, encoding="utf-8")
    return StageOutcome(steps=1)
