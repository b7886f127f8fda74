"""Set-up of torch in the process of a job: threads, precision, determinism, device. Imports no torch itself.

A stage that declares torch (`Workload.preload`, `StageSpec.preload`) gets it before its module is imported. Any other
job gets it set up as the last part of its `import torch`, wherever and however late that happens: no stage computes
with a torch that was not set up, and a stage without torch does not wait for it.
"""

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from workloads.contract.request import Execution
from workloads.runtime.errors import BadInput


class TorchFinder(MetaPathFinder):
    """Finds torch as the other finders do, and sets it up once it is imported."""

    def __init__(self, execution: Execution, local_rank: int) -> None:
        self._execution = execution
        self._local_rank = local_rank

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module spec of torch, whose loader also sets it up; None for every other module."""
        if fullname != "torch":
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        found = next((spec for finder in others if (spec := finder.find_spec(fullname, path, target))), None)
        if found is not None and found.loader is not None:
            execute = found.loader.exec_module

            def execute_and_set_up(module: ModuleType) -> None:
                execute(module)
                set_up(module, self._execution, self._local_rank)

            vars(found.loader)["exec_module"] = execute_and_set_up  # of this one loader, which keeps its type
        return found


def set_up_when_imported(execution: Execution, local_rank: int, declared: Iterable[str]) -> None:
    """Set torch up: at once if it is imported or among the `declared` modules, otherwise when it is imported.

    Raises:
        BadInput: a device that this machine does not have.
    """
    if "torch" in sys.modules or any(name.partition(".")[0] == "torch" for name in declared):
        set_up(importlib.import_module("torch"), execution, local_rank)
    else:
        sys.meta_path.insert(0, TorchFinder(execution, local_rank))


def set_up(torch: Any, execution: Execution, local_rank: int) -> None:
    """Set threads, precision, determinism and device from the request alone.

    Raises:
        BadInput: a device that this machine does not have.
    """
    if torch.get_float32_matmul_precision() != "highest":  # it was imported with one of the variables that are dropped
        torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(execution.threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    if execution.deterministic:
        # As `use_deterministic_algorithms(True)`, which also imports the compiler, to set a switch of it: a second of a
        # processor in each job. Nothing here is compiled.
        torch.set_deterministic_debug_mode("error")
        # Filling uninitialised memory costs time and changes no bit of a result.
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = False
    if execution.device == "cuda":
        if not torch.cuda.is_available() or local_rank >= torch.cuda.device_count():
            raise BadInput(
                f"request.json: execution.device is 'cuda' and local rank {local_rank} needs a device of its own, "
                f"but this process sees {torch.cuda.device_count()}; use a host with devices, or device 'cpu'"
            )
        torch.cuda.set_device(local_rank)
