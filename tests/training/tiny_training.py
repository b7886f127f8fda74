"""A tiny training: sections, rows, requests, and a progress that is asked to stop at a chosen step."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from workloads.contract.request import Execution, Rendezvous, Request, Stage
from workloads.contract.rows import resolved
from workloads.data import encode, generate, order
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.memory.families import row_from
from workloads.training import train

DATA: dict[str, Any] = {
    "source": "worlds", "seed": 0, "height": 8, "width": 16, "chunk_frames": 5, "train_scenes": 4, "held_out_scenes": 2,
    "open_prompts": 1, "open_variants": 1, "translation_m": 0.0, "returning_overlap": 0.8, "returning_share": 0.5,
}  # fmt: skip
INDEX_STEPS = 60
"""Of the index; most tests train for fewer."""
CODEC = {"kind": "space-to-depth", "factor": 2, "text": "hashed", "text_tokens": 2, "text_width": 8}
EVIDENCE = {"frames": 4, "rule": "spread", "min_overlap": 0.3, "drop": 0.25}
TRAINING = {
    "steps": 8, "global_batch": 4, "rate": 2e-3, "warmup_steps": 2, "schedule": "cosine", "floor": 0.05, "clip": 1.0,
    "weight_decay": 0.01, "shift": 3.0, "precision": "float32", "spike_ratio": 15.0, "sample_every": 4,
}  # fmt: skip
BACKBONE = {
    "width": 52, "blocks": 2, "heads": 2, "feed_forward": 64, "frequency_width": 16, "recurrent_every": 1, "grid": 2,
    "grid_tokens": 2,
}  # fmt: skip
ROWS: dict[str, dict[str, Any]] = {
    "context-k1": {"family": "context", "frames": 1},
    "context-k4": {"family": "context", "frames": 4},
    "compress-hybrid": {"family": "compress", "decay": 0.9, "ratio": 2, "hybrid": True},
    "spatial-readout": {"family": "spatial", "write": "grid", "read": "readout"},
    "ssm-hybrid": {"family": "ssm", "kernel": 3, "expand": 2},
    "ssm-blockwise": {"family": "ssm", "tau": [1.0, 128.0], "rho": [0.1, 0.2]},
}
ADDRESSED: dict[str, dict[str, Any]] = {
    "spatial-place": {"family": "spatial", "write": "cells", "read": "readout", "address": "bearing"},
    "ssm-place": {"family": "ssm", "tau": [1.0, 128.0], "rho": [0.1, 0.2], "address": "place"},
}
EXECUTION = Execution(
    device="cpu", ranks=1, threads=1, micro_batch=None, accumulate=1, deepspeed={}, checkpoint_every_s=1e9,
    keep="weights", grace_s=1.0, deterministic=True,
)  # fmt: skip
ALONE = Rendezvous(world_size=1, rank=0, local_rank=0, address=None, port=None, listen_fd=None)


def zero(stage: int) -> dict[str, Any]:
    """DeepSpeed's settings of a ZeRO stage; at 3 every parameter is cut, where small ones are usually kept whole."""
    whole = {"stage3_param_persistence_threshold": 0, "stage3_model_persistence_threshold": 0} if stage == 3 else {}
    return {"zero_optimization": {"stage": stage, **whole}}


def _stage(
    folder: Path, stage: Stage, config: Mapping[str, Any], inputs: Mapping[str, str], seed: int | None
) -> Request:
    out, work = folder / stage, folder / f"{stage}-work"
    out.mkdir()
    work.mkdir()
    return Request(
        job=stage, stage=stage, branch=None, fingerprint="0" * 64, attempt="a1", config=config, row=None, seed=seed,
        inputs=inputs, out=str(out), work=str(work), resume=None, execution=EXECUTION, rendezvous=ALONE,
    )  # fmt: skip


def make_pool(folder: Path) -> dict[str, str]:
    """Render, encode and index the tiny pool; the folders of the artifacts that training reads."""
    data = {"data": str(folder / "data")}
    evidence = {key: EVIDENCE[key] for key in ("rule", "min_overlap", "drop")}
    steps = {"steps": INDEX_STEPS, "global_batch": TRAINING["global_batch"]}
    codec = {"kind": CODEC["kind"]}
    for module, request in (
        (generate, _stage(folder, "data", {"data": DATA}, {}, None)),
        (encode, _stage(folder, "latents", {"data": DATA, "codec": CODEC}, data, None)),
        (
            order,
            _stage(folder, "index", {"data": DATA, "codec": codec, "evidence": evidence, "training": steps}, data, 0),
        ),
    ):
        progress = Progress(Path(request.work), writes=False)
        module.run(request, progress)
        progress.close()
    return {"latents": str(folder / "latents"), "index": str(folder / "index")}


def train_request(
    folder: Path,
    inputs: Mapping[str, str],
    row: str = "context-k4",
    *,
    training: Mapping[str, Any] | None = None,
    how: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Request:
    """A request to train `row` in a new attempt under `folder`; `training` and `how` replace parts of sections."""
    attempt = f"a{len(list(folder.glob('a*')))}"
    work = folder / attempt
    out = work / "out"
    out.mkdir(parents=True)
    config = {
        "data": DATA, "evidence": EVIDENCE, "action": {"site": "pre_qkv"}, "backbone": BACKBONE,
        "training": {**TRAINING, **(training or {})},
    }  # fmt: skip
    request = Request(
        job="train/0", stage="train", branch=None, fingerprint="1" * 64, attempt=attempt, config=config,
        row=resolved(row_from((ROWS | ADDRESSED)[row])), seed=0, inputs=dict(inputs), out=str(out), work=str(work),
        resume=None, execution=replace(EXECUTION, **(how or {})), rendezvous=ALONE,
    )  # fmt: skip
    return replace(request, **changes)


class StopAfter(Progress):
    """A progress that is asked to stop during step `step` (from 0), as by a signal."""

    def __init__(self, work: Path, step: int | None, *, writes: bool = True) -> None:
        super().__init__(work, writes=writes)
        self._stop_at = step

    def at(self, step: int, of: int, phase: str) -> None:
        """Ask at the chosen step."""
        if self._stop_at is not None and step >= self._stop_at:
            self.request_stop()
        super().at(step, of, phase)


def train_once(request: Request, stop_at: int | None = None) -> StageOutcome:
    """Train to the end, or to a stop that is asked for during step `stop_at`, from 0."""
    progress = StopAfter(Path(request.work), stop_at)
    try:
        return train.run(request, progress)
    finally:
        progress.close()


def weights(request: Request) -> dict[str, Tensor]:
    """The published weights."""
    loaded: dict[str, Tensor] = load_file(Path(request.out) / "weights.safetensors")
    return loaded


def metrics(request: Request, name: str) -> list[tuple[int, float]]:
    """Steps and values of one metric."""
    lines = (Path(request.work) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(m["step"], m["value"]) for m in map(json.loads, lines) if m["name"] == name]
