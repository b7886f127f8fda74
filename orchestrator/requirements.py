"""Requirements of commands: the platform they run on, and libraries that not every installation has.

The core plans, submits, looks and reports; `pip install 'echo-matrix[local]'` adds what computes. Libraries are looked
up, not imported.
"""

import importlib.util
import sys
from collections.abc import Iterable, Mapping

from orchestrator.errors import RequirementError

EXTRAS: Mapping[str, str] = {
    "boto3": "s3",
    "mlflow": "mlflow",
    "pyarrow": "parquet",
    "ray": "ray",
    **dict.fromkeys(("PIL", "av", "deepspeed", "requests", "safetensors", "threadpoolctl", "torch"), "local"),
}
"""Module -> the extra of this package that brings it (pyproject.toml)."""
PLATFORMS: Mapping[str, str] = {"darwin": "macOS", "win32": "Windows"}


def missing_libraries(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the modules that cannot be found, each once."""
    return tuple(name for name in dict.fromkeys(names) if importlib.util.find_spec(name) is None)


def install_command(names: Iterable[str]) -> str:
    """The command that installs these modules: an extra of this package where one brings them."""
    wanted = tuple(names)
    extras = {EXTRAS[name] for name in wanted if name in EXTRAS}
    if "local" in extras:
        extras -= {"mlflow", "ray"}  # it brings them
    ours = (f"'echo-matrix[{','.join(sorted(extras))}]'",) if extras else ()
    return " ".join(("pip install", *ours, *(name for name in wanted if name not in EXTRAS)))


def require_libraries(names: Iterable[str], what: str, otherwise: str = "") -> None:
    """Make sure that the modules are installed.

    Args:
        names: top-level modules.
        what: needs them: `the page of MLflow`.
        otherwise: what else the user can do.

    Raises:
        RequirementError: some are not; says what to install.
    """
    missing = missing_libraries(names)
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise RequirementError(
            f"{what} needs {', '.join(missing)}, which {are} not installed here; {install_command(missing)}"
            + (f"; or {otherwise}" if otherwise else "")
        )


def platform_problem(platform: str = sys.platform) -> str:
    """Why this platform (`sys.platform`) runs no jobs and changes no study; empty: it does."""
    if platform == "linux":
        return ""
    name = PLATFORMS.get(platform, platform)
    there = "in WSL2, " if platform == "win32" else ""
    return (
        f"jobs run on Linux, and this is {name}: processes are identified and limited by Linux's /proc and cgroups; "
        f"plan, status, results and report work here; use the other commands {there}on a Linux machine or on a "
        "cluster's login node"
    )


def require_platform(platform: str = sys.platform) -> None:
    """Make sure that jobs can run on this platform.

    Raises:
        RequirementError: they cannot; says where.
    """
    if problem := platform_problem(platform):
        raise RequirementError(problem)
