"""What decides the bits of a result besides the request: read as it is when a stage begins to compute.

The same request gives other last digits with another instruction set, another BLAS, TF32 in place of float32, or
without deterministic kernels. None of it is in a fingerprint, so it is in every commit record (`numerics`), and the
report compares it between cells. Variables of the environment set much of it, some against what the study declares:
those are dropped from the process of a job before torch reads them, and the job's log says so.

torch and NumPy are asked only where the job has imported them: a stage may need neither.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from workloads.contract.json_files import read_object
from workloads.runtime.blas import BLAS

OVERRIDES: Mapping[str, str] = {
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "turns float32 matrix products into TF32",
    "NVIDIA_TF32_OVERRIDE": "turns TF32 on or off in every library of NVIDIA's",
    "HIPBLASLT_ALLOW_TF32": "turns float32 matrix products into TF32",
    "ONEDNN_DEFAULT_FPMATH_MODE": "turns float32 into bfloat16 or TF32",
    "DNNL_DEFAULT_FPMATH_MODE": "turns float32 into bfloat16 or TF32",
}
"""Variables that would compute in another precision than `training.precision` says, and what each does."""

READ_AT_LOAD = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)
"""Variables that choose kernels when a library is loaded, in a warm server before the job is known."""
READ_LATER = (
    *OVERRIDES,
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLASLT_WORKSPACE_SIZE",
    "DISABLE_ADDMM_CUDA_LT",
    "KMP_DETERMINISTIC_REDUCTION",
    "NCCL_ALGO",
    "NCCL_PROTO",
    "TORCH_BLAS_PREFER_CUBLASLT",
)
"""Variables that are read when something is first used, in the job itself."""

LOADED_WITH: Mapping[str, str] = {name: os.environ[name] for name in READ_AT_LOAD if name in os.environ}
"""Those of `READ_AT_LOAD` when this process started; a warm server's ranks get another environment later."""


def drop_overrides(environment: MutableMapping[str, str]) -> list[str]:
    """Take `OVERRIDES` out of the environment; a sentence for each that was there."""
    found = {name: environment.pop(name) for name in OVERRIDES if name in environment}
    return [
        f"{name}={value} is dropped: it {OVERRIDES[name]}, and the study's precision is that of matrix.yaml"
        for name, value in found.items()
    ]


def numerics(device: str) -> dict[str, Any]:
    """What decides bits in this process now: plain JSON, one value a setting, `environment` by variable.

    Settings of torch and NumPy are told where these are imported; torch imports NumPy.

    Args:
        device: `cpu` or `cuda`; the accelerator's libraries are read for the latter alone.
    """
    settings: dict[str, Callable[[], Any]] = {}
    if "numpy" in sys.modules:
        settings["blas_numpy"] = BLAS.described
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        settings |= _of_torch(torch)
        if device == "cuda":
            settings |= _of_cuda(torch)
    found = {name: _read(read) for name, read in settings.items()}
    return {**found, "environment": environment_now(os.environ, LOADED_WITH)}


def environment_now(now: Mapping[str, str], loaded_with: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set, and those that were when libraries were loaded: `AVX2`, `unset; AVX2 at load`."""
    found = {name: now[name] for name in (*READ_AT_LOAD, *READ_LATER) if name in now}
    for name in READ_AT_LOAD:
        if now.get(name) != loaded_with.get(name):
            found[name] = f"{now.get(name, 'unset')}; {loaded_with.get(name, 'unset')} at load"
    return dict(sorted(found.items()))


def beside(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`one`, with what `other` has otherwise beside it: `highest; at the end: high`."""
    merged: dict[str, Any] = dict(one)
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            merged[name] = beside(a, b, where)
        elif a != b:
            merged[name] = f"{'unset' if a is None else a}; {where}: {'unset' if b is None else b}"
    return merged


def numerics_name(rank: int) -> str:
    """File in the work folder with what decides bits in a rank other than 0."""
    return f"numerics-r{rank}.json"


def over_ranks(work: Path, ranks: int, bits: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rank 0's `numerics`, with what another rank has otherwise beside it."""
    for rank in range(1, ranks):
        with contextlib.suppress(OSError, ValueError):  # a rank that failed early, or whose file is late
            # Written when its stage began: what it imported later is not in it, which is no difference.
            bits = beside(bits, {**bits, **read_object(work / numerics_name(rank))}, f"rank {rank}")
    return bits


def _read(read: Callable[[], Any]) -> Any:
    """A setting; where torch cannot tell, why: that must not end a job."""
    try:
        return read()
    # AssertionError: torch's, where CUDA is not built.
    except (AssertionError, AttributeError, ImportError, RuntimeError) as error:
        return f"not readable: {str(error).partition(chr(10))[0][:120]}"


def _deterministic(torch: Any) -> str:
    if not torch.are_deterministic_algorithms_enabled():
        return "off"
    return "warn only" if torch.is_deterministic_algorithms_warn_only_enabled() else "on"


def _libraries(torch: Any) -> list[str]:
    """The libraries that torch computes with on a processor, with their versions, as it names them."""
    told = torch.__config__.parallel_info().splitlines()
    words = ("Library", "OpenMP", "MKL-DNN", "oneDNN", "backend")
    return [line.strip() for line in told if any(word in line for word in words) and "get_" not in line]


def _of_torch(torch: Any) -> dict[str, Callable[[], Any]]:
    backends = torch.backends
    return {
        "cpu_capability": backends.cpu.get_cpu_capability,
        "threads_torch": torch.get_num_threads,
        "threads_interop": torch.get_num_interop_threads,
        "libraries": lambda: _libraries(torch),
        "deterministic": lambda: _deterministic(torch),
        "default_dtype": lambda: str(torch.get_default_dtype()),
        "flush_denormal": lambda: float(torch.tensor(1e-39) * 0.5) == 0.0,
        "float32_matmul": torch.get_float32_matmul_precision,
        "float32_matmul_cuda": lambda: backends.cuda.matmul.fp32_precision,
        "float32_conv_cudnn": lambda: backends.cudnn.conv.fp32_precision,
        "float32_rnn_cudnn": lambda: backends.cudnn.rnn.fp32_precision,
        "float32_matmul_onednn": lambda: backends.mkldnn.matmul.fp32_precision,
        "float32_conv_onednn": lambda: backends.mkldnn.conv.fp32_precision,
        "onednn": lambda: bool(backends.mkldnn.enabled),
    }


def _of_cuda(torch: Any) -> dict[str, Callable[[], Any]]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return {
        "cuda": lambda: torch.version.cuda,
        "cuda_device": lambda: f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_capability()}",
        "cudnn": lambda: cudnn.version() if cudnn.enabled else "off",
        "cudnn_deterministic": lambda: bool(cudnn.deterministic),
        "cudnn_benchmark": lambda: bool(cudnn.benchmark),
        "bfloat16_reduced": lambda: str(cuda.matmul.allow_bf16_reduced_precision_reduction),
        "float16_reduced": lambda: str(cuda.matmul.allow_fp16_reduced_precision_reduction),
        "float16_accumulation": lambda: bool(cuda.matmul.allow_fp16_accumulation),
        "blas_cuda": lambda: str(cuda.preferred_blas_library()),
        "attention": lambda: [
            name
            for name, enabled in (
                ("flash", cuda.flash_sdp_enabled()),
                ("memory-efficient", cuda.mem_efficient_sdp_enabled()),
                ("cudnn", cuda.cudnn_sdp_enabled()),
                ("math", cuda.math_sdp_enabled()),
            )
            if enabled
        ],
    }
