"""`python -m workloads.run` and the warm server end a job alike, with the same bits."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_jobs import ROOT, SERVER, toy_submission, wait_until

from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.store.files import FilesStore
from workloads.contract.request import DEFAULT_WORKLOAD, Request, request_from
from workloads.contract.result import read_result
from workloads.contract.stage import StageSpec
from workloads.runtime.errors import BadInput, Diverged
from workloads.runtime.run import check_inputs, ending_of, run_request, stage_of


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A job sets its process up for itself alone; a test's process goes on."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(False)


def request(home: Path, do: str, **changes: Any) -> Request:
    """The request of a toy job."""
    return replace(request_from(toy_submission(home, do)["request"], "request.json"), **changes)


def by_hand(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "workloads.runtime.run", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )


def test_help_shows_an_example() -> None:
    said = by_hand(["--help"]).stdout
    assert "python -m workloads.run request.json" in said and "4 out of memory" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ('{"version": 99}', "version is 99"),
        ('{"version": 1, "execution": {}, "rendezvous": {}}', "missing"),
    ],
)
def test_a_broken_request_is_bad_input_and_says_what_to_do(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(content)
    done = by_hand([str(path)])
    assert done.returncode == 2 and words in done.stderr and "echo-matrix explain" in done.stderr


def test_a_request_without_its_inputs_is_bad_input_with_a_result(tmp_path: Path) -> None:
    asked = request(tmp_path, "write", stage="latents", workload=DEFAULT_WORKLOAD)
    path = tmp_path / "request.json"
    asked.write(path)
    done = by_hand([str(path)])
    assert done.returncode == 2 and "inputs has no 'data'" in done.stderr
    result = read_result(Path(asked.work) / "result.json")
    assert result.ending == "bad_input" and result.error is not None and result.error.type == "BadInput"


def test_several_ranks_by_hand_need_an_address(tmp_path: Path) -> None:
    asked = request(tmp_path, "write")
    path = tmp_path / "request.json"
    replace(asked, rendezvous=replace(asked.rendezvous, world_size=2)).write(path)
    done = by_hand([str(path)])
    assert done.returncode == 2 and "world_size" in done.stderr


def test_a_folder_that_cannot_be_made_is_bad_input_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    for field in ("work", "out"):
        path = tmp_path / f"{field}.json"
        request(tmp_path, "write", **{field: str(tmp_path / "a file" / "in it")}).write(path)
        done = by_hand([str(path)])
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert f"{field} is " in done.stderr and "--work FOLDER" in done.stderr


def test_a_stage_that_there_is_not_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="allowed: data"):
        stage_of(request(tmp_path, "write", stage="dream"))
    with pytest.raises(BadInput, match="no folder on this machine"):
        gone = request(tmp_path, "write", inputs={"data": str(tmp_path / "gone")})
        check_inputs(gone, StageSpec(name="latents", module="", inputs=("data",)))


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "ok"),
        (BadInput("x"), "bad_input"),
        (MemoryError("x"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
            "out_of_memory",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError("ncclUnhandledCudaError: ...\nLast error:\nCuda failure 2 'out of memory'"), "out_of_memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "error"),
        (RuntimeError("x"), "error"),
        (Diverged("x"), "diverged"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "out_of_memory"),
    ],
)
def test_what_a_stage_raises_decides_the_ending(error: BaseException | None, ending: str) -> None:
    assert ending_of(error, stopped=False) == ending


def test_a_result_names_how_it_was_executed_and_where_it_failed(tmp_path: Path) -> None:
    asked = request(tmp_path, "fail")
    assert run_request(asked) == 1
    result = read_result(Path(asked.work) / "result.json")
    assert result.error is not None and result.error.frames[-1].endswith(" run")
    assert {"versions", "device_kind", "threads", "world_size", "micro_batch", "numerics"} <= set(result.records)
    assert result.cost["device_s"] > 0 and result.cost["peak_mib"] > 10


def test_what_is_published_lands_in_out_of_work_when_nothing_is_said(tmp_path: Path) -> None:
    asked = request(tmp_path, "write")
    assert run_request(asked) == 0
    assert (Path(asked.work) / "out" / "said-0.txt").exists()


def test_a_rank_beside_rank_0_leaves_no_result_where_all_is_well(tmp_path: Path) -> None:
    asked = request(tmp_path, "write")
    second = replace(asked, rendezvous=replace(asked.rendezvous, rank=1, local_rank=1, world_size=2))
    assert run_request(second) == 0
    assert not list(Path(asked.work).glob("result*")) and not (Path(asked.work) / "metrics.jsonl").exists()


def test_the_warm_server_and_the_command_line_give_the_same_bits(tmp_path: Path) -> None:
    submission = toy_submission(tmp_path, "compute")
    node = Node(
        store=FilesStore(tmp_path / "store"),
        code=ROOT,
        provenance=Provenance(code="", git="", host_kind="test"),
        command=SERVER,
    )
    try:
        node.start(submission)
        wait_until(lambda: node.poll()[submission["attempt"]]["ending"] == "ok", "it ends well")
    finally:
        node.close()
    warm = FilesStore(tmp_path / "store").fetch(submission["request"]["fingerprint"]) / "x.bin"
    path = Path(submission["request"]["work"]) / "request.json"
    own = tmp_path / "by-hand"
    assert json.loads(path.read_text())["out"]
    script = (
        "import sys; from dataclasses import replace; from pathlib import Path; "
        "from workloads.contract.request import read_request; from workloads.runtime.run import run_request; "
        f"sys.exit(run_request(replace(read_request(Path({str(path)!r})), out={str(own)!r})))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'host'}", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)
    assert (own / "x.bin").read_bytes() == warm.read_bytes()
