"""One rank that trains a tiny model at ZeRO stages 1 and 2, and saves it both as DeepSpeed does and as we do.

`python saves_both.py FOLDER meeting.json`: `deepspeed-{s}` and `ours-{s}/step-2`.
"""

import json
import sys
from pathlib import Path

import torch
from mixed import deepspeed_engine, engine_at, live, step

from workloads.contract.request import Rendezvous
from workloads.training.checkpoint import TrainingState, write_checkpoint
from workloads.training.spikes import LossMean


def main() -> None:
    """Save both stages."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    meeting = Rendezvous(**json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    for stage in (1, 2):
        engine = engine_at(stage, meeting)
        step(engine)
        step(engine)
        deepspeed_engine(engine).save_checkpoint(str(folder / f"deepspeed-{stage}"), tag="step-2")
        state = TrainingState(
            step=2, loss=LossMean(), metrics_bytes=0, fingerprint="f" * 64, configuration="c" * 64,
            world_size=meeting.world_size, zero_stage=stage, seconds=0.0, parameters=engine.groups(),
        )  # fmt: skip
        write_checkpoint(
            folder / f"ours-{stage}",
            state,
            rank=meeting.rank,
            weights={name: value for name, value in live(engine).items() if name != "seen"},
            moments=engine.moments(),
            metrics=folder / "none",
            samples=folder / "none",
            wait_for_all=engine.wait_for_all,
        )


if __name__ == "__main__":
    main()
