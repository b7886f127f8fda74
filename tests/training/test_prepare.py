"""What a job's process is set to before its stage begins."""

import os
import subprocess
import sys
from pathlib import Path

ASKS = """
from tiny_training import EXECUTION
from workloads.runtime.run import prepare
prepare(EXECUTION, 0)
import torch
print(torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory)
print(torch.get_num_threads(), torch.get_num_interop_threads())
from workloads.runtime.numerics import numerics
found = [numerics("cpu")]
torch.use_deterministic_algorithms(True, warn_only=True)
found.append(numerics("cpu"))
torch.use_deterministic_algorithms(False)
found.append(numerics("cpu"))
print(", ".join(one["deterministic"] for one in found), found[0]["threads_torch"], found[0]["threads_interop"])
"""


OVERRIDDEN = """
import torch  # before the job, as in a process that something else began
print(torch.backends.cuda.matmul.allow_tf32)
from tiny_training import EXECUTION
from workloads.runtime.run import prepare
prepare(EXECUTION, 0)
print(torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision())
"""


def test_a_variable_that_turns_float32_into_tf32_is_dropped_however_early_torch_was_imported() -> None:
    paths = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]"
    environment = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", paths + OVERRIDDEN], capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()
    assert (shown[0], shown[-1]) == ("True", "False highest")
    assert any(line.startswith("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 is dropped: ") for line in shown)


def test_a_deterministic_job_does_not_fill_memory_that_it_is_about_to_write() -> None:
    """Filling DeepSpeed's buffers, of gigabytes, took most of each step with ZeRO."""
    paths = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]"
    shown = subprocess.run([sys.executable, "-c", paths + ASKS], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-3:] == ["True False", "1 1", "on, warn only, off 1 1"]
