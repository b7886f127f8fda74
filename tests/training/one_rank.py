"""One rank of a training in a process of its own: `python one_rank.py request.json [step to stop at]`."""

import sys
from pathlib import Path

import torch
from tiny_training import StopAfter

from workloads.contract.request import read_request
from workloads.training import train


def main() -> None:
    """Train; only rank 0 writes metrics, and only one rank, the last, is asked to stop."""
    torch.set_num_threads(1)
    request = read_request(Path(sys.argv[1]))
    last = request.rendezvous.rank == request.rendezvous.world_size - 1
    stop_at = int(sys.argv[2]) if len(sys.argv) > 2 and last else None
    progress = StopAfter(Path(request.work), stop_at, writes=request.rendezvous.rank == 0)
    try:
        print(train.run(request, progress).stopped)
    finally:
        progress.close()


if __name__ == "__main__":
    main()
