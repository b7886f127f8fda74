"""Job runner: runs one rank of one job from its request; by hand, `python -m workloads.run request.json`.

Ranks of the warm server call `run_request` too, so a job ends the same way however it was started: with
a `result.json` in its work folder and one of six exit codes. Nothing heavy is imported before the
request has set the number of threads.
"""

import argparse
import importlib
import os
import platform
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workloads.contract.json_files import write_object
from workloads.contract.loading import WorkloadError, load_workload
from workloads.contract.request import Execution, Request, read_request
from workloads.contract.result import EXIT_BAD_INPUT, EXIT_CODES, Ending, Failure, Result
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload
from workloads.runtime.allocator import keep_freed_memory
from workloads.runtime.errors import BadInput, Diverged
from workloads.runtime.fault_points import point
from workloads.runtime.masking import mask, secrets_of
from workloads.runtime.numerics import beside, drop_overrides, numerics, numerics_name, over_ranks
from workloads.runtime.outcome_checks import checked
from workloads.runtime.progress import Progress, StageOutcome
from workloads.runtime.system_metrics import SystemSampler
from workloads.runtime.torch_setup import set_up_when_imported

EXAMPLE = """\
example:
  echo-matrix explain STAGE/ROW/s0 --request > request.json
  python -m workloads.run request.json --out result

exit codes: 0 ok · 1 error · 2 bad input · 3 stopped at a checkpoint because asked · 4 out of memory · 5 diverged
`work` gets result.json, metrics.jsonl, heartbeat.json and checkpoints/; SIGTERM or SIGUSR1 asks to save and end
"""

MIB = 2**20
OUT_OF_MEMORY_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "Cuda failure 2 'out of memory'",
)
"""Texts of a RuntimeError that mean that memory ran out."""


def result_name(rank: int) -> str:
    """Name of a rank's result in the work folder: rank 0's is the job's; another rank writes one only if it fails."""
    return "result.json" if rank == 0 else f"result-r{rank}.json"


def run_request(request: Request) -> int:
    """Run one rank of one attempt and say how it ended.

    Writes `result.json` into `work` (a rank other than 0 only when it fails), and the traceback of a
    failure to stderr. Raises only what ends a process on purpose (SystemExit, KeyboardInterrupt).

    Args:
        request: with this rank's rendezvous filled in.

    Returns:
        The exit code, one of `EXIT_CODES`.
    """
    keep_freed_memory()
    rank = request.rendezvous.rank
    work = Path(request.work)
    work.mkdir(parents=True, exist_ok=True)
    if not request.out:
        request = replace(request, out=str(work / "out"))
    Path(request.out).mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    outcome = StageOutcome(steps=0)
    error: BaseException | None = None
    bits: dict[str, Any] = {}
    sampler = SystemSampler() if request.execution.system_metrics and rank == 0 else None
    progress = Progress(work, writes=rank == 0, sampler=sampler)
    stop_on_signals(progress)
    print(
        f"{request.job}, attempt {request.attempt}" + (f", from {request.resume}" if request.resume else ""), flush=True
    )
    try:
        spec = stage_of(request)
        check_inputs(request, spec)
        prepare(request.execution, request.rendezvous.local_rank, spec.preload)
        stage = importlib.import_module(spec.module)
        bits = numerics(request.execution.device)
        if rank > 0:
            write_object(work / numerics_name(rank), bits)
        returned = stage.run(request, progress)
        at_end = numerics(request.execution.device)
        bits = beside({**at_end, **bits}, at_end, "at the end")  # what was imported late has no value before
        outcome = checked(returned, spec.module, Path(request.out) if rank == 0 else None)
    except Exception as raised:
        error = raised
        traceback.print_exception(raised)
    finally:
        progress.close()
    ending = ending_of(error, stopped=outcome.stopped)
    if rank == 0 or error is not None:
        Result(
            ending=ending,
            error=None if error is None else failure_of(error),
            steps=outcome.steps,
            records={
                **execution_records(request),
                "numerics": over_ranks(work, request.rendezvous.world_size, bits),
                **outcome.records,
            },
            cost={**cost_of(request, time.monotonic() - began), **outcome.cost},
        ).write(work / result_name(rank))
        if rank == 0:
            point("result.written")
    return EXIT_CODES[ending]


def stage_of(request: Request) -> StageSpec:
    """The stage that a request is of, as its workload declares it; its `preload` begins with the workload's.

    Raises:
        BadInput: no such workload, or a stage that it does not have.
    """
    try:
        workload: Workload = load_workload(request.workload)
    except WorkloadError as error:
        raise BadInput(
            f"request.json: {error}; by hand, run it in the folder of matrix.yaml, or with that folder on PYTHONPATH"
        ) from error
    if request.stage not in workload.by_name:
        raise BadInput(f"request.json: stage is {request.stage!r}; allowed: {', '.join(workload.by_name)}")
    stage = workload.by_name[request.stage]
    return replace(stage, preload=(*workload.preload, *stage.preload))


def check_inputs(request: Request, stage: StageSpec) -> None:
    """Check that every input of the stage is an existing folder.

    Raises:
        BadInput: one is missing, which no retry can fix.
    """
    for name in stage.inputs:
        folder = request.inputs.get(name)
        if not folder:
            raise BadInput(
                f"request.json: inputs has no {name!r}, which stage {request.stage} reads; "
                f"`echo-matrix explain {request.job} --request` writes a request with its inputs"
            )
        if not Path(folder).is_dir():
            raise BadInput(
                f"request.json: inputs.{name} is {folder!r}, which is no folder on this machine; "
                f"give the folder of the committed {name} artifact (`echo-matrix path JOB`)"
            )


def stop_on_signals(progress: Progress) -> None:
    """Let SIGTERM and SIGUSR1 (SLURM's warning) ask the stage to save and stop. Python allows it in the main thread."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda _number, _frame: progress.request_stop())


def prepare(execution: Execution, local_rank: int, declared: Sequence[str] = ()) -> None:
    """Set threads, precision, determinism and device of this process from the request alone.

    The bits of a result depend on the number of threads, so it never depends on what is free. Variables of the
    environment that would compute in another precision than the study says are dropped, before torch reads them.
    torch is imported only if it is `declared`.

    Args:
        execution: the request's.
        local_rank: the rank on this host, which is the number of its device.
        declared: modules that the stage imports (`preload`).

    Raises:
        BadInput: a device that this machine does not have.
    """
    for line in drop_overrides(os.environ):
        print(line, flush=True)
    choose_accelerator(execution.device)
    if execution.deterministic:
        # cuBLAS reads this when its first handle is created, which is later.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_up_when_imported(execution, local_rank, declared)


def choose_accelerator(device: str) -> None:
    """Set DeepSpeed's device; if it is imported already, as in a warm server, it has to choose again."""
    os.environ["DS_ACCELERATOR"] = device
    module = sys.modules.get("deepspeed.accelerator.real_accelerator")
    if module is not None:
        vars(module)["ds_accelerator"] = None


def ending_of(error: BaseException | None, *, stopped: bool) -> Ending:
    """How an attempt ended, from what its stage raised or returned."""
    if error is None:
        return "stopped" if stopped else "ok"
    if isinstance(error, BadInput):
        return "bad_input"
    if isinstance(error, Diverged):
        return "diverged"
    return "out_of_memory" if is_out_of_memory(error) else "error"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's and NumPy's, the device's, or torch's allocator on the processor.

    The device's libraries (cuBLAS, cuDNN, NCCL) raise errors of their own instead of `OutOfMemoryError`, because
    they allocate memory outside torch's allocator.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return (
        isinstance(error, MemoryError)
        or "OutOfMemoryError" in names
        or (isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY_TEXTS))
    )


def failure_of(error: BaseException) -> Failure:
    """An exception as it is stored: type, message without secrets, and `file:line function`, innermost last."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return Failure(type=type(error).__name__, message=mask(str(error), secrets_of(os.environ)), frames=frames)


def execution_records(request: Request) -> dict[str, Any]:
    """How a job was executed: records that the controls check compares between cells."""
    execution = request.execution
    return {
        "versions": versions(),
        "device_kind": device_kind(execution.device),
        "threads": execution.threads,
        "world_size": request.rendezvous.world_size,
        "micro_batch": execution.micro_batch,
    }


def versions() -> dict[str, str]:
    """Versions of Python, and of torch, NumPy and DeepSpeed where they are imported."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "deepspeed"):
        module = sys.modules.get(name)
        if module is not None:
            found[name] = str(module.__version__)
    return found


def device_kind(device: str) -> str:
    """The kind of device a job computes on: the model of the accelerator, or the processor's."""
    if device == "cuda":
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            return str(torch.cuda.get_device_name())
        return "cuda"
    return f"cpu {processor()}"


def processor() -> str:
    """The processor's model as the kernel names it, or its architecture."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def cost_of(request: Request, elapsed_s: float) -> dict[str, float]:
    """What this attempt cost: `device_s` over all ranks, and `peak_mib` of this rank."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if request.execution.device == "cuda":
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            peak = torch.cuda.max_memory_allocated() / MIB
    return {"device_s": elapsed_s * request.rendezvous.world_size, "peak_mib": peak}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.run",
        description="Run one job from its request.json, without an orchestrator.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("request", type=Path, help="the request, as written by `echo-matrix explain JOB --request`")
    parser.add_argument("--out", type=Path, help="folder for what would be published (default: the request's, or out/)")
    options = parser.parse_args(arguments)
    try:
        request = read_request(options.request)
    except (OSError, ValueError) as error:
        print(f"{error}; write one with `echo-matrix explain JOB --request`", file=sys.stderr)
        return EXIT_BAD_INPUT
    if options.out is not None:
        request = replace(request, out=str(options.out.resolve()))
    if request.rendezvous.world_size > 1 and request.rendezvous.port is None:
        print(
            f"{options.request}: rendezvous.world_size is {request.rendezvous.world_size} without address and port; "
            "start every rank with a request that has them, or set world_size to 1",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    for name, folder in (("work", request.work), ("out", request.out)):
        try:
            Path(folder or request.work).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(
                f"{options.request}: {name} is {folder!r}, which cannot be made here: {error.strerror}; give another: "
                "`echo-matrix explain JOB --request --work FOLDER`, and --out here",
                file=sys.stderr,
            )
            return EXIT_BAD_INPUT
    # As for ranks of the warm server: NumPy's own threads would make results differ between hosts.
    os.environ.update(OMP_NUM_THREADS=str(request.execution.threads), OPENBLAS_NUM_THREADS="1")
    return run_request(request)


if __name__ == "__main__":
    sys.exit(main())
