"""Workload import: loads the module that matrix.yaml names, and refuses one that imports a deep learning library."""

import importlib.util
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from orchestrator.errors import MatrixError
from orchestrator.spec.lines import Place, refuse
from orchestrator.spec.typed import unreadable
from workloads.contract.fields import section_kinds
from workloads.contract.loading import WorkloadError, load_workload
from workloads.contract.workload import Workload

HEAVY = ("torch", "deepspeed", "tensorflow", "jax")
"""Packages that a workload's module must not import: every command imports it, and these take seconds."""

KEY = "workload"

INSTALLED = ("site-packages", "dist-packages")
"""Folders whose packages every job can import."""

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
    before = set(sys.modules)
    try:
        with _nothing_heavy():
            workload = load_workload(name)
            problem = _misplaced(name, workload) or _beside(name, Path(folder), before) or _unread(name, workload)
    except WorkloadError as error:
        refuse(place, KEY, f"cannot be used: {error}{_shadowed(name, folder)}")
    except _HeavyImport as error:
        refuse(
            place,
            KEY,
            f"is {name}, which imports {error.module} at {error.where}; every command imports this module: import "
            f"{error.module} in the modules of the stages",
        )
    except (Exception, SystemExit) as error:  # user code may raise anything
        refuse(place, KEY, f"is {name}, which cannot be imported: {type(error).__name__}: {error}")
    if problem:
        refuse(place, KEY, problem)
    return workload


def _shadowed(name: str, folder: str) -> str:
    """That a package beside the matrix has the name of one that Python finds first; or empty."""
    top = name.partition(".")[0]
    beside = next((path for path in (Path(folder, top), Path(folder, f"{top}.py")) if path.exists()), None)
    spec = importlib.util.find_spec(top) if beside is not None and top.isidentifier() else None
    origin = None if spec is None else spec.origin
    if origin is None or Path(origin).is_relative_to(folder):
        return ""
    return f"; {beside} is hidden by the module {top!r} at {origin}: give it another name"


def _misplaced(name: str, workload: Workload) -> str:
    """Which module is not there, or not in the workload's package, of which jobs run a copy; or empty."""
    package, place = package_of(name)
    if workload.report and not _is_there(workload.report):
        return f"is {name}, whose `report` names module {workload.report!r}, which does not exist"
    for stage in workload.stages:
        top = stage.module.partition(".")[0]
        if not _is_there(stage.module):
            return f"is {name}, whose stage {stage.name!r} names module {stage.module!r}, which does not exist"
        if top in (package, OURS) or place.parent.name in INSTALLED:
            continue
        if package_of(top)[1].parent == place.parent:
            return (
                f"is {name}, whose stage {stage.name!r} names module {stage.module!r}, which lies beside package "
                f"{package!r} and not in it; jobs run a copy of the package: move the module into it"
            )
    return ""


def _is_there(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _beside(name: str, folder: Path, before: Collection[str]) -> str:
    """Which import of the workload's lies beside its package, not in the copy that jobs run; or empty."""
    package, place = package_of(name)
    if place.parent != folder:
        return ""
    for top in {module.partition(".")[0] for module in sys.modules.keys() - before} - {package, OURS}:
        found = importlib.util.find_spec(top)
        if found is not None and found.origin in (str(folder / f"{top}.py"), str(folder / top / "__init__.py")):
            return (
                f"is {name}, which imports {top!r} at {found.origin}, beside its package {package!r}; jobs run a copy "
                "of that package: move the module into it"
            )
    return ""


def _unread(name: str, workload: Workload) -> str:
    """Which key of a section or of a row has a type that no YAML is read as; or empty."""
    trees = (workload.controls, workload.branches)
    sections = [section for tree in trees for section in section_kinds(tree).values()]
    problem = next(filter(None, map(unreadable, (*sections, *workload.families))), "")
    return problem and f"is {name}, whose {problem}"


def package_of(name: str) -> tuple[str, Path]:
    """Name and path of the top-level package, or single file, that a workload's module belongs to.

    Raises:
        MatrixError: it is not a folder or file that can be copied.
    """
    top = name.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is not None and spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        if len(folders) > 1:  # a package without __init__.py may lie in several folders: the one of the module
            module = importlib.util.find_spec(name)
            origin = Path((module.origin if module is not None else None) or "")
            folders = [folder for folder in folders if origin.is_relative_to(folder)] or folders
        return top, folders[0]
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
