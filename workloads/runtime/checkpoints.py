"""Checkpoints of a stage in two calls: write one, and go on from the newest that is intact.

    saved = checkpoints.resume(request, progress)          # None: from the beginning
    if saved is not None:
        model.load_state_dict(load_file(saved.folder / "model.safetensors"))
    ...
    with checkpoints.writing(request, step, progress) as folder:
        save_file(model.state_dict(), folder / "model.safetensors")

A checkpoint holds the metrics up to its step, so that after a kill, on another machine, no step is doubled or missing.
`metrics.jsonl` and `manifest.json` in its folder are not for the stage to write. Never unpickle what lies in one: use
safetensors, `numpy.savez` or JSON. For what a folder is and how damage is met, see `step_folders`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workloads.contract.metrics import METRICS
from workloads.contract.request import Request
from workloads.runtime import step_folders
from workloads.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Saved:
    """An intact checkpoint of this job."""

    step: int
    folder: Path
    metrics: int
    """Length of its attempt's metrics.jsonl, bytes."""


@contextmanager
def writing(request: Request, step: int, progress: Progress) -> Iterator[Path]:
    """A folder to write the state after `step` into; it becomes a checkpoint at the end of the block.

    Raises:
        OSError: the disk takes no more; the older checkpoints are still there.
    """
    final = Path(request.work) / "checkpoints" / f"step-{step}"
    temporary = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    length = progress.flush()
    progress.copy_metrics(temporary / METRICS, length)
    files = [step_folders.entry(path) for path in sorted(temporary.iterdir())]
    step_folders.complete(temporary, final, {"step": step, "metrics": length, "files": files})


def resume(request: Request, progress: Progress) -> Saved | None:
    """The newest intact checkpoint of the job, its metrics carried over into this attempt; None: there is none.

    Raises:
        BadInput: `request.resume` names no checkpoint.
    """
    if request.resume is None:
        return None
    saved = step_folders.first_intact(Path(request.resume), _intact)
    if saved is not None:
        own = saved.folder / METRICS  # older code left them with the attempt alone
        progress.carry_over(own if own.is_file() else saved.folder.parent.parent / METRICS, saved.metrics)
    return saved


def _intact(folder: Path) -> Saved:
    manifest, files = step_folders.read_manifest(folder)
    step_folders.check(folder, files, list(files))
    metrics = manifest.get("metrics")
    if not isinstance(metrics, int):
        raise step_folders.Damaged(f"{folder}: {step_folders.MANIFEST} does not say how long the metrics were")
    return Saved(step=int(manifest["step"]), folder=folder, metrics=metrics)
