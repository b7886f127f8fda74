"""What ranks tell one another besides gradients: texts, votes, and files for a folder that only rank 0 sees.

Ranks on several machines may share no folder. Then each sends its part of a checkpoint to rank 0, whose machine has
the whole; each machine resumes from a copy of that (`workloads.training.resume`).
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from workloads.runtime.step_folders import sync

PIECE = 64 << 20
"""Bytes of a file that are sent at a time."""


def ranks() -> tuple[int, int]:
    """Number of this rank, and how many there are; 0 and 1 where none have met."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def all_agree(answer: bool, device: str) -> bool:
    """Whether the answer is yes on every rank."""
    if ranks()[1] == 1:
        return answer
    votes = torch.tensor([int(answer)], device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MIN)
    return bool(votes.item())


def as_first_rank(text: str, device: str) -> str:
    """Rank 0's text on every rank; as bytes, for torch would send an object as a pickle."""
    if ranks()[1] == 1:
        return text
    content = torch.tensor(list(text.encode("utf-8")), dtype=torch.uint8, device=device)
    length = torch.tensor([len(content)], device=device)
    dist.broadcast(length, 0)
    if dist.get_rank() != 0:
        content = torch.empty(int(length.item()), dtype=torch.uint8, device=device)
    dist.broadcast(content, 0)
    return bytes(content.tolist()).decode("utf-8")


def save_parts(folder: Path, name: Callable[[int], str], tensors: Mapping[str, Tensor], device: str) -> None:
    """Save the tensors of each rank that has any as `folder/name(rank)` on rank 0's machine. All ranks call it.

    A rank that does not see rank 0's folder sends its file; its own folder of that name, if it has one, gets nothing.

    Args:
        folder: there on rank 0's machine.
        name: of a rank's file.
        tensors: of this rank, on the host.
        device: `cpu` or `cuda`: what the ranks' process group sends from.
    """
    rank, world = ranks()
    unseen = _ranks_without(folder, device) if world > 1 else []
    if tensors and rank not in unseen:
        save_file(dict(tensors), folder / name(rank))
        sync(folder / name(rank))  # by each rank: rank 0 may be on another machine
    for sender in unseen:
        if rank == sender:
            own = folder.with_name(f".{name(rank)}.sent")
            own.parent.mkdir(parents=True, exist_ok=True)
            try:
                own.unlink(missing_ok=True)
                if tensors:
                    save_file(dict(tensors), own)
                _send(own, device)
            finally:
                own.unlink(missing_ok=True)
        elif rank == 0:
            _receive(folder / name(sender), sender, device)
    if world > 1:
        dist.barrier()


def _ranks_without(folder: Path, device: str) -> list[int]:
    """The ranks that do not see rank 0's folder, as a file shows that rank 0 makes in it."""
    mark = folder / as_first_rank(f".seen-{secrets.token_hex(8)}", device)
    first = dist.get_rank() == 0
    if first:
        mark.touch()
    dist.barrier()
    votes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(votes, torch.tensor([int(mark.exists())], dtype=torch.int64, device=device))
    unseen = [rank for rank, vote in enumerate(votes) if not vote.item()]
    if first:
        mark.unlink()
    return unseen


def _send(path: Path, device: str) -> None:
    """Send a file to rank 0; one that is not there as no bytes."""
    left = path.stat().st_size if path.exists() else 0
    dist.send(torch.tensor([left], device=device), 0)
    if not left:
        return
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            dist.send(torch.frombuffer(bytearray(piece), dtype=torch.uint8).to(device), 0)


def _receive(path: Path, sender: int, device: str) -> None:
    """Write the file that a rank sends; none where it sends no bytes."""
    size = torch.zeros(1, dtype=torch.int64, device=device)
    dist.recv(size, sender)
    left = int(size.item())
    if not left:
        return
    with path.open("wb") as file:
        while left:
            piece = torch.empty(min(left, PIECE), dtype=torch.uint8, device=device)
            dist.recv(piece, sender)
            file.write(piece.cpu().numpy().tobytes())
            left -= len(piece)
    sync(path)
