"""Library lookup in the environment of a job: `python -m orchestrator.host.libraries NAME...` prints JSON.

Libraries are looked up, not imported: that takes seconds.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence

from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.environment import passed
from orchestrator.requirements import missing_libraries

ANSWER_S = 60.0


def find_libraries(names: Sequence[str]) -> dict[str, str | None]:
    """Name -> version; empty where it has none; None: Python does not find it."""
    missing = missing_libraries(names)
    return {name: None if name in missing else version_of(name) for name in names}


def version_of(name: str) -> str:
    """The version in a library's metadata; empty: it has none, or is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on; absent: not installed."""
    found = {"python": platform.python_version(), **{name: version_of(name) for name in ("ray", "torch", "deepspeed")}}
    return {name: version for name, version in found.items() if version}


def libraries_of_jobs(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, str | None]:
    """As `find_libraries`, in a process that is started like those of jobs on this machine.

    Raises:
        OSError: it does not start, or says nothing useful.
    """
    command = python_command("orchestrator.host.libraries", *names)
    variables = child_environment(CHECKOUT, passed(environment))
    try:
        done = subprocess.run(command, cwd=os.sep, env=variables, capture_output=True, timeout=ANSWER_S)
        found: dict[str, str | None] = json.loads(done.stdout)
    except (ValueError, subprocess.TimeoutExpired) as error:
        raise OSError(f"{' '.join(command)} gives no answer: {error}") from error
    return found


if __name__ == "__main__":
    print(json.dumps(find_libraries(sys.argv[1:])))
