"""What a job's process is set to before its stage begins."""

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
"""


def test_a_deterministic_job_does_not_fill_memory_that_it_is_about_to_write() -> None:
    """Filling DeepSpeed's buffers, of gigabytes, took most of each step with ZeRO."""
    paths = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]"
    shown = subprocess.run([sys.executable, "-c", paths + ASKS], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-2:] == ["True False", "1 1"]
