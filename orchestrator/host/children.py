"""Child processes of ours that run Python: their command line and import path, decided here for all of them.

`python -m` puts the current folder first on the import path, and the folder of a user may hold an `orchestrator/` or a
`torch.py` of its own. So every child is started with `-P`, and finds our code by PYTHONPATH. The user's own PYTHONPATH
follows: libraries of environment modules come by it.
"""

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path


def python_command(module: str, *arguments: str, python: str = sys.executable, unbuffered: bool = False) -> list[str]:
    """Command line that runs a module; the current folder is not on its import path.

    Args:
        module: as for `python -m`.
        arguments: of the module.
        python: the interpreter.
        unbuffered: what it prints appears at once.
    """
    return [python, "-P", *(("-u",) if unbuffered else ()), "-m", module, *arguments]


def import_path(code: Path, environment: Mapping[str, str], *more: Path) -> str:
    """PYTHONPATH of a child: the folder of our code, what the user has set, and `more`, each entry once.

    An empty entry, as `export PYTHONPATH=$PYTHONPATH:/lib` makes one, would be the child's current folder and is left
    out; a relative one means a folder in ours, and the child may run elsewhere.

    Args:
        code: the code copy, or the folder of `orchestrator/`. Where that is where packages are installed, Python finds
            it by itself; named first, it would hide the user's libraries.
        environment: with the user's PYTHONPATH, if there is one.
        more: folders that come last.
    """
    users = [Path(entry).absolute() for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    by_itself = str(code) in (*site.getsitepackages(), site.getusersitepackages())
    found = [*(() if by_itself else (code.absolute(),)), *users, *more]
    return os.pathsep.join(dict.fromkeys(map(str, found)))


def child_environment(code: Path, environment: Mapping[str, str] = os.environ, *more: Path) -> dict[str, str]:
    """The environment of a child: `environment`, with the import path of `import_path`."""
    return {**environment, "PYTHONPATH": import_path(code, environment, *more)}
