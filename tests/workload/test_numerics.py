"""What decides bits, as it is, and what is dropped because it would defeat the study's precision."""

import json
from pathlib import Path

import pytest
import torch

from workloads.runtime import numerics as module
from workloads.runtime.numerics import (
    OVERRIDES,
    beside,
    drop_overrides,
    environment_now,
    numerics,
    numerics_name,
    over_ranks,
)


def test_variables_that_compute_in_another_precision_are_dropped_and_said() -> None:
    environment = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "NVIDIA_TF32_OVERRIDE": "0", "HOME": "/h"}
    said = drop_overrides(environment)
    assert environment == {"HOME": "/h"}
    assert said[0] == (
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 is dropped: it turns float32 matrix products into TF32, and the study's "
        "precision is that of matrix.yaml"
    )
    assert len(said) == 2 and drop_overrides(environment) == []


def test_what_is_recorded_is_what_torch_does_now_and_not_what_was_asked() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        exact = numerics("cpu")
        torch.set_float32_matmul_precision("high")
        loose = numerics("cpu")
    finally:
        torch.set_float32_matmul_precision(before)
    assert (exact["float32_matmul"], loose["float32_matmul"]) == ("highest", "high")
    assert (exact["float32_matmul_cuda"], loose["float32_matmul_cuda"]) == ("ieee", "tf32")
    assert exact["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert exact["threads_torch"] == torch.get_num_threads()
    assert exact["blas_numpy"] and "threads " in exact["blas_numpy"][0]
    assert json.loads(json.dumps(exact)) == exact


def test_accelerators_are_read_for_their_jobs_and_what_cannot_be_read_ends_none() -> None:
    found = numerics("cuda")
    assert {"cudnn", "cudnn_deterministic", "cuda_device", "blas_cuda", "attention"} <= found.keys() - numerics(
        "cpu"
    ).keys()
    if not torch.cuda.is_available():
        assert found["cuda_device"].startswith("not readable: ")


def test_a_variable_that_changed_after_libraries_were_loaded_is_told_with_both_values() -> None:
    assert environment_now({"MKL_CBWR": "AVX2"}, {"MKL_CBWR": "AVX2"}) == {"MKL_CBWR": "AVX2"}
    found = environment_now({"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "HOME": "/h"}, {"OPENBLAS_CORETYPE": "Haswell"})
    assert found == {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OPENBLAS_CORETYPE": "unset; Haswell at load"}


def test_no_variable_that_could_hold_a_secret_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("API_TOKEN", "s3cr3t")
    found = numerics("cpu")["environment"]
    assert found["NCCL_ALGO"] == "Ring"
    assert found.keys() <= {*module.READ_AT_LOAD, *module.READ_LATER}
    assert set(OVERRIDES) <= set(module.READ_LATER)  # where one is set again later, it is seen


def test_what_a_stage_or_another_rank_has_otherwise_stands_beside() -> None:
    start = {"a": "x", "b": 1, "environment": {"V": "1"}}
    assert beside(start, start, "at the end") == start
    later = {"a": "y", "b": 1, "environment": {"V": "1", "W": "2"}}
    found = beside(start, later, "at the end")
    assert found == {"a": "x; at the end: y", "b": 1, "environment": {"V": "1", "W": "unset; at the end: 2"}}


def test_ranks_on_other_processors_are_told(tmp_path: Path) -> None:
    own = {"cpu_capability": "AVX512"}
    (tmp_path / numerics_name(1)).write_text(json.dumps({"cpu_capability": "AVX2"}))
    (tmp_path / numerics_name(2)).write_text("{")
    assert over_ranks(tmp_path, 4, own) == {"cpu_capability": "AVX512; rank 1: AVX2"}
    assert over_ranks(tmp_path, 1, own) == own
