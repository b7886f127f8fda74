"""A toy pool, rendered once, and the requests of its stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pool_layouts import in_folders

from workloads.contract.request import Execution, Rendezvous, Request
from workloads.data import encode, generate, order
from workloads.runtime.progress import Progress, StageOutcome

DATA: dict[str, Any] = {
    "source": "worlds",
    "seed": 0,
    "height": 8,
    "width": 16,
    "chunk_frames": 5,
    "train_scenes": 6,
    "held_out_scenes": 2,
    "open_prompts": 2,
    "open_variants": 2,
    "translation_m": 0.0,
    "returning_overlap": 0.8,
    "returning_share": 0.8,
}
CODEC: dict[str, Any] = {"kind": "space-to-depth", "factor": 2, "text": "hashed", "text_tokens": 4, "text_width": 16}
EVIDENCE: dict[str, Any] = {"rule": "spread", "min_overlap": 0.3, "drop": 0.25}
TRAINING: dict[str, Any] = {"steps": 50, "global_batch": 4}
MODULES = {"data": generate, "latents": encode, "index": order}

Stage = Callable[..., tuple[Path, StageOutcome]]


def run_stage(folder: Path, stage: str, config: dict[str, Any], **asked: Any) -> tuple[Path, StageOutcome]:
    """Run a stage in `folder`; `asked`: inputs, paths, seed, threads."""
    out, work = folder / "out", folder / "work"
    out.mkdir(parents=True)
    work.mkdir()
    request = Request(
        job=stage,
        stage=stage,  # type: ignore[arg-type]
        branch=None,
        fingerprint="0" * 64,
        attempt="a0",
        config=config,
        row=None,
        seed=asked.get("seed", 0),
        inputs=asked.get("inputs", {}),
        out=str(out),
        work=str(work),
        resume=None,
        execution=Execution(
            device="cpu",
            ranks=1,
            threads=asked.get("threads", 1),
            micro_batch=None,
            accumulate=1,
            deepspeed={},
            checkpoint_every_s=30.0,
            keep="weights",
            grace_s=1.0,
            deterministic=True,
            paths=asked.get("paths", {}),
        ),
        rendezvous=Rendezvous(world_size=1, rank=0, local_rank=0, address=None, port=None, listen_fd=None),
    )
    return out, MODULES[stage].run(request, Progress(work, writes=False))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """`stage(name, config, inputs=..., paths=..., seed=...)` runs a stage in a folder of its own."""
    count = 0

    def run(name: str, config: dict[str, Any], **asked: Any) -> tuple[Path, StageOutcome]:
        nonlocal count
        count += 1
        return run_stage(tmp_path / f"{name}-{count}", name, config, **asked)

    return run


@pytest.fixture(scope="session")
def data_section() -> dict[str, Any]:
    return DATA


@pytest.fixture(scope="session")
def sections() -> dict[str, dict[str, Any]]:
    return {"data": DATA, "codec": CODEC, "evidence": EVIDENCE, "training": TRAINING}


@pytest.fixture(scope="session")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy pool; never written to."""
    return run_stage(tmp_path_factory.mktemp("pool"), "data", {"data": DATA})[0]


@pytest.fixture(scope="session")
def pool_in_folders(pool_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pool as earlier versions wrote it, with a file for every frame; never written to."""
    return in_folders(pool_folder, tmp_path_factory.mktemp("folders") / "pool")
