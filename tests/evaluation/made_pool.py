"""A tiny pool, its latents and an untrained model, made once a session."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from workloads.contract.request import Execution, Rendezvous, Request
from workloads.contract.rows import resolved
from workloads.data import encode, generate
from workloads.data.latents import Latents
from workloads.model.shapes import LatentShape
from workloads.model.weights import save_model
from workloads.model.world_model import build_model
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.memory.families import row_from

MATRIX = yaml.safe_load((Path(__file__).parents[2] / "matrix.yaml").read_text(encoding="utf-8"))
CONTROLS: dict[str, Any] = {
    **MATRIX["controls"],
    "data": {
        **MATRIX["controls"]["data"],
        "train_scenes": 1,
        "held_out_scenes": 4,
        "open_prompts": 2,
        "open_variants": 2,
    },
    "backbone": {**MATRIX["controls"]["backbone"], "width": 56, "blocks": 2, "feed_forward": 32, "frequency_width": 16},
    "sampler": {**MATRIX["controls"]["sampler"], "steps": 2},
}
STAND_INS = {"perceptual": "random", "frechet": "random", "frechet_video": "random"}
BRANCHES: dict[str, dict[str, Any]] = {
    "replay": {"cases": 4, "chunks": 3, "batch": 2, **STAND_INS},
    "loop": {"cases": 3, "turns_deg": [45.0, 45.0, -45.0, -45.0], "batch": 2, "perceptual": "random"},
    "return": {"cases": 3, "turns_deg": [-45.0, 45.0], "batch": 2},
    "absence": {
        "cases": 2,
        "away_deg": [45.0, 45.0],
        "between_deg": [-30.0, 30.0],
        "gaps": [0, 2],
        "batch": 2,
    },
    "sensitivity": {
        "cases": 3,
        "turns_deg": [-45.0, 45.0],
        "batch": 2,
        "perturb": ["pose", "foreign", "noise", "missing"],
        "pose_deg": 5.0,
        "noise": 0.5,
    },
}
EXECUTION = Execution(
    device="cpu",
    ranks=1,
    threads=1,
    micro_batch=None,
    accumulate=1,
    deepspeed={},
    checkpoint_every_s=30.0,
    keep="weights",
    grace_s=5.0,
    deterministic=True,
)


def rendezvous(rank: int = 0, world_size: int = 1) -> Rendezvous:
    """Where one rank stands; evaluation never opens a connection."""
    return Rendezvous(world_size=world_size, rank=rank, local_rank=rank, address=None, port=None, listen_fd=None)


def request(folder: Path, stage: Any, config: Mapping[str, Any], inputs: Mapping[str, Path], **changed: Any) -> Request:
    """A request whose attempt lies in `folder`."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    plain = Request(
        job=f"{stage}/{folder.name}",
        stage=stage,
        branch=None,
        fingerprint="f" * 64,
        attempt="a1",
        config=config,
        row=None,
        seed=0,
        inputs={name: str(path) for name, path in inputs.items()},
        out=str(folder / "out"),
        work=str(folder / "work"),
        resume=None,
        execution=EXECUTION,
        rendezvous=rendezvous(),
    )
    return replace(plain, **changed)


def run(stage: Any, asked: Request, stop_after: int | None = None) -> StageOutcome:
    """Run a stage's module; ask it to stop after that many chunks' messages."""
    progress = Stopping(Path(asked.work), stop_after)
    try:
        outcome: StageOutcome = stage.run(asked, progress)
    finally:
        progress.close()
    return outcome


class Stopping(Progress):
    """A progress that is asked to stop after some messages, as a signal would."""

    def __init__(self, work: Path, after: int | None) -> None:
        super().__init__(work)
        self._after = after

    def at(self, step: int, of: int, phase: str) -> None:
        """Count messages."""
        super().at(step, of, phase)
        if self._after is not None:
            self._after -= 1
            if self._after == 0:
                self.request_stop()


def make_inputs(folder: Path) -> dict[str, Path]:
    """Pool, latents and the weights of an untrained `context-k5`, whose head is not zero."""
    data, latents, train = folder / "data", folder / "latents", folder / "train"
    run(generate, request(data, "data", {"data": CONTROLS["data"]}, {}))
    sections = {"data": CONTROLS["data"], "codec": CONTROLS["codec"]}
    run(encode, request(latents, "latents", sections, {"data": data / "out"}))
    shape = Latents.open(latents / "out").shape
    row = resolved(row_from(MATRIX["memory"]["context-k5"]))
    model = build_model(CONTROLS["backbone"], CONTROLS["action"], row, LatentShape(**shape), 0)
    for name, value in model.named_parameters():
        if name.startswith("head"):
            value.data.fill_(0.01)
    sections = {name: CONTROLS[name] for name in ("backbone", "action", "training", "evidence", "data", "codec")}
    train.mkdir()
    save_model(train, model, {**sections, "row": row, "shape": shape, "seed": 0})
    return {"data": data / "out", "latents": latents / "out", "train": train}


def evaluation(folder: Path, inputs: Mapping[str, Path], branch: str, **changed: Any) -> Request:
    """A request of the stage evaluate."""
    config = {"evidence": CONTROLS["evidence"], "sampler": CONTROLS["sampler"], "branch": BRANCHES[branch]}
    row = resolved(row_from(MATRIX["memory"]["context-k5"]).evaluated())
    return request(folder, "evaluate", config, inputs, branch=branch, row=row, **changed)


def judgement(folder: Path, inputs: Mapping[str, Path], branch: str, evaluated: Path, **changed: Any) -> Request:
    """A request of the stage judge."""
    config = {"judge": CONTROLS["judge"], "branch": BRANCHES[branch]}
    return request(folder, "judge", config, {"data": inputs["data"], "evaluate": evaluated}, branch=branch, **changed)


def values(out: Path) -> list[dict[str, Any]]:
    """The lines of `cases.jsonl`."""
    return [json.loads(line) for line in (out / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
