"""Resuming: choose the checkpoint from which a training resumes, the given one or, if it is damaged, another.

Every rank checks its own files. If one finds damage, all of them skip the checkpoint, so that no two ranks resume from
different steps. Rank 0 determines the order of candidates, since two machines may list a shared folder differently, or
have different copies of the job's folder.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch.distributed as dist

from workloads.runtime.errors import BadInput
from workloads.runtime.step_folders import Damaged, candidates, log_fresh_start, log_skipped
from workloads.training.checkpoint import Checkpoint, TrainingState, check_resumable
from workloads.training.ranks import all_agree, as_first_rank

END = "\0"
"""In place of a folder: rank 0 has no other checkpoint to offer."""


def newest_intact(resume: Path, expected: TrainingState, device: str) -> Checkpoint | None:
    """The checkpoint `resume`, or the newest other intact one of its job; logs those that it skips.

    All ranks call it and get the same one.

    Returns:
        None where none is intact: the training starts from scratch.

    Raises:
        BadInput: it is of another job or has other shards, or there is none at all.
    """
    offered = candidates(resume) if dist.get_rank() == 0 else iter(())
    job = resume.parent.parent.parent  # on this machine
    for number in itertools.count():
        found_there = next(offered, None)
        chosen = as_first_rank(END if found_there is None else str(found_there.relative_to(job)), device)
        if chosen == END:
            break
        folder = job / chosen
        found: Checkpoint | None = None
        try:
            found = Checkpoint.open(folder, dist.get_rank())
            found.parts()  # a rank whose part is missing would resume without its moments
            if number and found.state.fingerprint != expected.fingerprint:
                raise Damaged(f"{folder}: is of another job")
        except Damaged as error:
            found = None
            log_skipped(error)
        if all_agree(found is not None, device):
            assert found is not None
            check_resumable(folder, found.state, expected)
            return found
        if found is not None:
            log_skipped(Damaged(f"{folder}: another rank found damage"))
    if dist.get_rank() == 0:
        log_fresh_start(resume)
    return None


def check_layout(checkpoint: Checkpoint, groups: Sequence[Sequence[str]] | None) -> None:
    """Check that shards hold the optimiser's state in this engine's order.

    DeepSpeed's settings may change between attempts, and some reorder parameters; equal sizes would hide that.

    Args:
        groups: the engine's own; None where nothing is known of them, or nothing is sharded.

    Raises:
        BadInput: another order.
    """
    noted = checkpoint.state.parameters
    if noted is None or groups is None or [list(names) for names in noted] == [list(names) for names in groups]:
        return
    raise BadInput(
        f"{checkpoint.folder}: its shards hold the parameters in another order than this engine; allowed: the "
        "deepspeed.zero_optimization that it was written with (round_robin_gradients reorders them); restore it in "
        "cluster/*.yaml"
    )
