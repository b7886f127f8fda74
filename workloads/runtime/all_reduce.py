"""Tries the network between nodes: `python -m workloads.runtime.all_reduce RANK WORLD ADDRESS PORT SECONDS BACKEND`.

One rank a node. They meet at ADDRESS:PORT, where rank 0 listens, sum a tensor for SECONDS, and each prints a line of
JSON: `gib_per_s`, the data that each rank sends and receives (bus bandwidth, as nccl-tests count it), and `wrong`,
whether the sum was wrong. BACKEND is gloo or nccl; with nccl the tensor is on the first visible device.
"""

import json
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

MEET_S = 30.0
"""For all ranks to import torch and to meet."""
NUMBERS = 4 << 20
"""Of float32: 16 MiB, a bucket of gradients."""
MOST = 10_000


def main(rank: int, world: int, address: str, port: int, seconds: float, backend: str) -> None:
    """Meet the other ranks, measure, and print."""
    store = TCPStore(address, port, world, is_master=rank == 0, timeout=timedelta(seconds=MEET_S))
    limit = timedelta(seconds=MEET_S + seconds)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
    ones = torch.ones(NUMBERS, device="cuda" if backend == "nccl" else "cpu")
    dist.all_reduce(ones)  # connections are made at the first
    wrong = not bool((ones == world).all())
    times = torch.tensor([max(_seconds_of(ones, 3), 1e-6)], device=ones.device)
    dist.all_reduce(times, dist.ReduceOp.MAX)
    repeats = int(min(MOST, max(1.0, seconds / times.item())))  # the same on each rank
    each = _seconds_of(ones, repeats)
    moved = 2 * (world - 1) / world * ones.numel() * ones.element_size()
    print(json.dumps({"gib_per_s": moved / each / 2**30, "wrong": wrong}), flush=True)
    dist.destroy_process_group()


def _seconds_of(tensor: torch.Tensor, repeats: int) -> float:
    """Seconds of one sum; the values are of no interest and would overflow, so they are set back to zero."""
    tensor.zero_()
    began = time.perf_counter()
    for _ in range(repeats):
        dist.all_reduce(tensor)
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


if __name__ == "__main__":
    _, rank, world, address, port, seconds, backend = sys.argv
    main(int(rank), int(world), address, int(port), float(seconds), backend)
