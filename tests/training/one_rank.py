"""One rank of trainings, one after the other: `python one_rank.py request.json[:step to stop at] ...`."""

import sys
from pathlib import Path

import torch
from tiny_training import StopAfter

from workloads.contract.request import read_request
from workloads.training import train


def main() -> None:
    """Train; only rank 0 writes metrics, and only one rank, the last, is asked to stop."""
    torch.set_num_threads(1)
    for argument in sys.argv[1:]:
        path, _, stop_at = argument.partition(":")
        request = read_request(Path(path))
        last = request.rendezvous.rank == request.rendezvous.world_size - 1
        progress = StopAfter(
            Path(request.work), int(stop_at) if stop_at and last else None, writes=request.rendezvous.rank == 0
        )
        try:
            print(train.run(request, progress).stopped)
        finally:
            progress.close()


if __name__ == "__main__":
    main()
