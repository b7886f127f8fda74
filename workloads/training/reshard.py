"""Turn a complete checkpoint of a training into one for another number of ranks or ZeRO stage.

    python -m workloads.training.reshard attempts/1f…/a001-…/checkpoints/step-400 --ranks 1 --zero-stage 2 --out there

A training resumes only with the ranks and the stage it was stopped with: each rank holds a shard of the optimiser's
state. This is the explicit way to go on with others. It goes through the state parameter by parameter (`universal.py`),
reads no pickle, starts no ranks, changes nothing of what it reads, and writes `there/step-400`. The weights, the
metrics and the sample videos are copied as they are. Another number of ranks sums gradients in another order, so what
follows agrees with the undisturbed training to rounding, not to the bit; converting there and back is exact.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from workloads.runtime.errors import BadInput
from workloads.runtime.step_folders import Damaged, other_checkpoints
from workloads.training.checkpoint import METRICS, MODEL, STATE, Checkpoint, copy_beginning, finish, moments_name
from workloads.training.universal import Universal

GOOD, REFUSED = 0, 2

STAGES = (0, 1, 2)
"""Of ZeRO; 3 cuts each parameter, and weights with them."""


def reshard(source: Path, ranks: int, stage: int, checkpoints: Path) -> dict[str, Any]:
    """Write `checkpoints/step-{n}` for `ranks` ranks at ZeRO stage `stage` from the checkpoint `source`, or nothing.

    Returns:
        What was done, as the command line prints it.

    Raises:
        Damaged: `source` is not what was written.
        BadInput: it cannot be cut so, or the target is there already.
    """
    found = Checkpoint.open(source)
    state = found.state
    if state.zero_stage > 0:
        for rank in range(1, state.world_size):
            Checkpoint.open(source, rank)  # each looks at its own part
    batch = int((state.asked or {}).get("training", {}).get("global_batch", ranks))
    if batch % ranks:
        raise BadInput(
            f"--ranks is {ranks}, but controls.training.global_batch is {batch}; allowed: a number that divides {batch}"
        )
    final, temporary = checkpoints / f"step-{state.step}", checkpoints / f".step-{state.step}.tmp"
    if final.exists():
        raise BadInput(f"{final}: exists, and nothing is written over; allowed: a new folder; give another --out")
    universal = Universal(found)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for rank in range(ranks if stage > 0 else 1):
            moments = universal.moments(rank, ranks, stage)
            if moments:
                save_file(dict(moments), temporary / moments_name(rank))
        for name in (MODEL, *found.videos):
            shutil.copyfile(source / name, temporary / name)
        copy_beginning(found.metrics, temporary / METRICS, state.metrics_bytes)
        changed = replace(state, world_size=ranks, zero_stage=stage)
        (temporary / STATE).write_text(json.dumps(asdict(changed), indent=1, sort_keys=True), encoding="utf-8")
        finish(temporary, final, state.step, prune=False)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {
        "checkpoint": str(final),
        "step": state.step,
        "ranks": ranks,
        "zero_stage": stage,
        "source": {"checkpoint": str(source), "ranks": state.world_size, "zero_stage": state.zero_stage},
        "parameters": len(universal.places),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 written, 2 refused."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.training.reshard",
        description="Turn a complete checkpoint of a training into one for another number of ranks or ZeRO stage. "
        "A line of JSON on standard output says what was written.",
        epilog="example: python -m workloads.training.reshard attempts/1f/a001/checkpoints/step-400 --ranks 1 "
        "--zero-stage 2 --out attempts/1f/a002/checkpoints\n"
        "exit codes: 0 written · 2 refused or bad usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="a folder step-N, which stays as it is")
    parser.add_argument("--ranks", type=int, required=True, help="execution.ranks of the attempt that is to go on")
    parser.add_argument(
        "--zero-stage", type=int, required=True, choices=STAGES, help="its deepspeed.zero_optimization.stage; 0: none"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write step-N into; made if need be")
    options = parser.parse_args(arguments)
    if options.ranks < 1:
        parser.error(f"--ranks is {options.ranks}; allowed: 1 and more")
    try:
        done = reshard(options.checkpoint, options.ranks, options.zero_stage, options.out)
    except Damaged as error:
        instead = [str(path) for path in other_checkpoints(options.checkpoint)]
        advice = f"give another one: {', '.join(instead)}" if instead else "no other checkpoint of its job is there"
        print(f"{error}; allowed: a complete checkpoint; {advice}", file=sys.stderr)
        return REFUSED
    except BadInput as error:
        print(error, file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(f"{options.out}: cannot be written: {error.strerror}; allowed: a folder with room", file=sys.stderr)
        return REFUSED
    print(json.dumps(done))
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
