"""Workload import: loads the module that matrix.yaml names, and refuses one that imports a deep learning library."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from orchestrator.errors import MatrixError
from orchestrator.spec.lines import Place, refuse
from workloads.contract.loading import WorkloadError, load_workload
from workloads.contract.workload import Workload

HEAVY = ("torch", "deepspeed", "tensorflow", "jax")
"""Packages that a workload's module must not import: every command imports it, and these take seconds."""

KEY = "workload"

OURS = "workloads"
"""Package of this project, whose stages any workload may use."""


def workload_of(name: str, matrix: Path, place: Place) -> Workload:
    """The workload `name` of a matrix; the folder of the matrix is on the import path too.

    Raises:
        MatrixError: it is not found, is not valid, or imports one of `HEAVY`; then with the line that does.
    """
    folder = str(matrix.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that a folder beside the matrix hides no installed package
    try:
        with _nothing_heavy():
            workload = load_workload(name)
            problem = _misplaced(name, workload)
    except WorkloadError as error:
        refuse(place, KEY, f"cannot be used: {error}")
    except _HeavyImport as error:
        refuse(
            place,
            KEY,
            f"is {name}, which imports {error.module} at {error.where}; every command imports this module: import "
            f"{error.module} in the modules of the stages",
        )
    except Exception as error:  # user code may raise anything
        refuse(place, KEY, f"is {name}, which cannot be imported: {type(error).__name__}: {error}")
    if problem:
        refuse(place, KEY, problem)
    return workload


def _misplaced(name: str, workload: Workload) -> str:
    """Why a job, which has a copy of the workload's package, could not import the module of its stage; or empty."""
    package, place = package_of(name)
    for stage in workload.stages:
        top = stage.module.partition(".")[0]
        try:
            spec = importlib.util.find_spec(stage.module)
        except ModuleNotFoundError:
            spec = None
        if spec is None or spec.origin is None:
            return f"is {name}, whose stage {stage.name!r} names module {stage.module!r}, which does not exist"
        if top not in (package, OURS) and package_of(top)[1].parent == place.parent:
            return (
                f"is {name}, whose stage {stage.name!r} names module {stage.module!r}, which lies beside package "
                f"{package!r} and not in it; jobs run a copy of the package: move the module into it"
            )
    return ""


def package_of(name: str) -> tuple[str, Path]:
    """Name and path of the top-level package, or single file, that a workload's module belongs to.

    Raises:
        MatrixError: it is not a folder or file that can be copied.
    """
    top = name.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is not None and spec.submodule_search_locations:
        return top, Path(next(iter(spec.submodule_search_locations)))
    if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
        return top, Path(spec.origin)
    raise MatrixError(f"workload {name!r}: package {top!r} is no folder or .py file that can be copied to the hosts")


class _HeavyImport(Exception):
    """A workload's module imports one of `HEAVY`."""

    def __init__(self, module: str, where: str) -> None:
        super().__init__(module)
        self.module, self.where = module, where


class _Guard:
    """Import finder that refuses `HEAVY` and finds nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] in HEAVY:
            raise _HeavyImport(name, _importing_line())
        return None


@contextmanager
def _nothing_heavy() -> Iterator[None]:
    guard = _Guard()
    sys.meta_path.insert(0, guard)
    try:
        yield
    finally:
        sys.meta_path.remove(guard)


def _importing_line() -> str:
    """`file:line` of the import statement: the innermost frame outside this file and importlib."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename == __file__
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
