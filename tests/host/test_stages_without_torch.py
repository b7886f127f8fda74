"""torch in a job: where the stage imports it, set up before anything is computed with it, and nowhere else."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_jobs import ROOT, toy_submission

from workloads.contract.request import request_from
from workloads.contract.result import Result, read_result

WORKLOAD = """
from toy_workload import WORKLOAD as TOY
from dataclasses import replace
from workloads.contract.stage import StageSpec
STAGES = tuple(StageSpec(name=name, module=f"stages_of.{name}") for name in ("plain", "above", "late", "asks"))
WORKLOAD = replace(TOY, stages=(*STAGES, StageSpec(name="declared", module="stages_of.plain", preload=("torch",))))
"""
PLAIN = """
import sys
from workloads.runtime.progress import StageOutcome
def run(request, progress):
    return StageOutcome(steps=1, records={"torch": "torch" in sys.modules})
"""
IMPORTS = """
    found = [torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_num_interop_threads()]
"""
ABOVE = f"""
from workloads.runtime.progress import StageOutcome
import torch.nn
if True:{IMPORTS}
def run(request, progress):
    return StageOutcome(steps=1, records={{"found": found}})
"""
LATE = f"""
from workloads.runtime.progress import StageOutcome
def run(request, progress):
    from torch import nn
    import torch{IMPORTS}
    return StageOutcome(steps=1, records={{"found": found}})
"""
ASKS = """
import importlib.util, sys
from workloads.runtime.progress import StageOutcome
found = importlib.util.find_spec("torch") is not None  # as libraries do that can use torch
def run(request, progress):
    return StageOutcome(steps=1, records={"found": found, "torch": "torch" in sys.modules})
"""


def ended(tmp_path: Path, stage: str, *, torch: bool = True, device: str = "cpu") -> Result:
    """The result of a job of one stage, run by hand; without `torch`, as where it is not installed."""
    package = tmp_path / "stages_of"
    package.mkdir()
    for name, text in {"plain": PLAIN, "above": ABOVE, "late": LATE, "asks": ASKS, "tables": WORKLOAD}.items():
        (package / f"{name}.py").write_text(text)
    if not torch:
        (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    raw: dict[str, Any] = toy_submission(tmp_path, "write")["request"]
    request = request_from({**raw, "stage": stage, "workload": "stages_of.tables"}, "here")
    request = replace(request, execution=replace(request.execution, threads=2, device=device))  # type: ignore[arg-type]
    request.write(tmp_path / "request.json")
    subprocess.run(
        [sys.executable, "-m", "workloads.runtime.run", str(tmp_path / "request.json")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "tests" / "host")))},
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    return read_result(Path(request.work) / "result.json")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_stage_without_torch_runs_where_torch_is_not_installed_and_never_imports_it(
    tmp_path: Path, device: str
) -> None:
    result = ended(tmp_path, "plain", torch=False, device=device)
    assert (result.ending, result.records["torch"]) == ("ok", False)
    assert result.records["versions"].keys() == {"python"}
    assert result.records["numerics"].keys() == {"environment"}
    assert result.records["numerics"]["environment"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_stage_that_asks_whether_there_is_torch_does_not_import_it(tmp_path: Path) -> None:
    records = ended(tmp_path, "asks").records
    assert (records["found"], records["torch"]) == (True, False)


@pytest.mark.parametrize("stage", ["above", "late"])
def test_torch_that_a_stage_did_not_declare_is_deterministic_from_its_import_on(tmp_path: Path, stage: str) -> None:
    result = ended(tmp_path, stage)
    assert (result.ending, result.records["found"]) == ("ok", [True, 2, 1])
    numerics = result.records["numerics"]
    assert (numerics["deterministic"], numerics["threads_torch"], numerics["float32_matmul"]) == ("on", 2, "highest")
    assert numerics["blas_numpy"] and not any("at the end" in str(value) for value in numerics.values())
    assert {"torch", "numpy"} < result.records["versions"].keys()


def test_a_declared_torch_is_set_up_before_the_stage_and_refuses_a_device_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = ended(tmp_path, "declared", device="cuda")
    assert result.ending == "bad_input" and result.error is not None
    assert "execution.device is 'cuda' and local rank 0 needs a device of its own" in result.error.message
