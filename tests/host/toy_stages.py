"""Stages that do one thing each, for tests of the host: what to do is `config.data.do`."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import workloads.runtime.progress as progress_module
from workloads.contract.request import Request
from workloads.runtime import checkpoints
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome


def run(request: Request, progress: Progress) -> StageOutcome:
    """Do what the request says."""
    what = request.config["data"]["do"]
    rank = request.rendezvous.rank
    out = Path(request.out)
    if what == "write":
        progress.metric(1, "loss", 0.5)
        (out / f"said-{rank}.txt").write_text(str(request.seed))
        print(f"wrote as {rank}")
    elif what == "compute":
        import torch

        generator = torch.Generator().manual_seed(7)
        x = torch.randn(256, 256, generator=generator)
        for _ in range(20):
            x = torch.nn.functional.layer_norm(x @ x, (256,))
        (out / "x.bin").write_bytes(x.numpy().tobytes())
    elif what == "environment":
        (out / "environment.txt").write_text("\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())))
        (out / "masked.txt").write_text(str(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))))
        (out / "oom.txt").write_text(Path("/proc/self/oom_score_adj").read_text())
        (out / "code.txt").write_text(str(Path(progress_module.__file__).parents[1]))
        (out / "session.txt").write_text(f"{os.getsid(0)} {os.getpid()}")
    elif what == "say secret":
        print("the key is " + os.environ["TOY_API_KEY"])
        print("half a line", end="")
    elif what == "spill":
        everything = "\n".join(f"{name}={value}" for name, value in os.environ.items())
        print(everything)
        print(dict(os.environ), file=sys.stderr)
        (Path(request.work) / "spilt").touch()
        try:
            raise KeyError(everything)
        except KeyError as error:
            raise RuntimeError(f"cannot log in with {everything}") from error
    elif what == "meet":
        meet(request)
        (out / f"met-{rank}.txt").write_text("met")
    elif what == "hold together until asked":
        hold_together(request, progress)
        return StageOutcome(steps=3, stopped=True)
    elif what == "compute together until asked":
        meet(request, computing=True)
        (Path(request.work) / f"here-{rank}").touch()
        while not progress.stopping:
            time.sleep(0.01)
        return StageOutcome(steps=3, stopped=True)
    elif what == "count together until asked":  # rank 0 saves; each rank goes on from where it was
        saved = checkpoints.resume(request, progress)
        count = 0 if saved is None else int((saved.folder / "count.txt").read_text())
        print(f"rank {rank} goes on from {count}")
        if rank == 0:
            with checkpoints.writing(request, count + 1, progress) as folder:
                (folder / "count.txt").write_text(str(count + 1))
        while not progress.stopping:
            time.sleep(0.01)
        return StageOutcome(steps=count + 1, stopped=True)
    elif what == "until asked":
        (Path(request.work) / f"here-{rank}").touch()
        while not progress.stopping:
            time.sleep(0.01)
        return StageOutcome(steps=3, stopped=True)
    elif what == "write when asked":
        (Path(request.work) / f"here-{rank}").touch()
        while not progress.stopping:
            time.sleep(0.01)
        (out / "said.txt").write_text("in time")
    elif what == "count":  # to eight; the last line of the result tells where it began
        saved = checkpoints.resume(request, progress)
        first = 0 if saved is None else int((saved.folder / "count.txt").read_text())
        for step in range(first + 1, 9):
            if progress.stopping:
                return StageOutcome(steps=step - 1, stopped=True)
            progress.metric(step, "count", float(step))
            with checkpoints.writing(request, step, progress) as folder:
                (folder / "count.txt").write_text(str(step))
            time.sleep(0.0 if saved is not None else request.config["data"].get("pause_s", 0.3))
        (out / "count.txt").write_text(f"8 from {first}")
    elif what == "deaf":
        (Path(request.work) / f"here-{rank}").touch()
        while True:
            time.sleep(0.01)
    elif what == "rank 1 fails":
        if rank == 1:
            raise RuntimeError("rank 1 has had enough")
        while not progress.stopping:
            time.sleep(0.01)
        return StageOutcome(steps=0, stopped=True)
    elif what == "no memory on rank 1":
        if rank == 1:
            raise MemoryError("no more")
        while not progress.stopping:
            time.sleep(0.01)
        return StageOutcome(steps=0, stopped=True)
    elif what == "hog":
        hoard = [bytes(range(256)) * 4096 * 300]
        while True:
            time.sleep(0.01 * len(hoard))
    elif what == "fail":
        raise RuntimeError("that went wrong")
    elif what == "refuse":
        raise BadInput("config.data.do is 'refuse'; allowed: anything else")
    elif what == "no memory":
        raise MemoryError("no more")
    elif what == "die":
        os.kill(os.getpid(), int(request.config["data"]["signal"]))
        time.sleep(60)
    elif what == "exit":
        sys.stdout.flush()
        os._exit(0)
    return StageOutcome(steps=1)


def hold_together(request: Request, progress: Progress) -> None:
    """Hold a connection to rank 0 until a rank is asked to stop, which it tells the others, as a training does.

    A connection that breaks is an error, as in a collective operation.
    """
    place, held = request.rendezvous, list[socket.socket]()
    if place.rank == 0:
        listening = socket.socket(fileno=place.listen_fd)
        held = [listening.accept()[0] for _ in range(place.world_size - 1)]
    else:
        held = [socket.create_connection((str(place.address), int(place.port or 0)), timeout=60.0)]
    kept = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "OMP_NUM_THREADS")
    (Path(request.work) / f"here-{place.rank}").write_text("\n".join(f"{name}={os.environ[name]}" for name in kept))
    while not progress.stopping:
        for one in held:
            one.settimeout(0.05)
            try:
                if not one.recv(1):
                    raise ConnectionError("another rank is gone")
                return
            except TimeoutError:
                continue
    for one in held:
        one.sendall(b"s")


def meet(request: Request, *, computing: bool = False) -> None:
    """See the other ranks through the store whose socket the host has bound; `computing`: add up a tensor too."""
    import torch
    import torch.distributed as dist

    place = request.rendezvous
    assert place.address is not None and place.port is not None
    options = {"master_listen_fd": place.listen_fd} if place.rank == 0 else {}
    store = dist.TCPStore(
        place.address, place.port, world_size=place.world_size, is_master=place.rank == 0, use_libuv=True, **options
    )
    store.set(f"here-{place.rank}", "yes")
    store.wait([f"here-{rank}" for rank in range(place.world_size)])
    if computing:
        dist.init_process_group("gloo", store=store, rank=place.rank, world_size=place.world_size)
        dist.all_reduce(torch.ones(4))
        return
    store.set(f"gone-{place.rank}", "yes")
    if place.rank == 0:
        store.wait([f"gone-{rank}" for rank in range(place.world_size)])
