"""Code snapshot: the copy under `code/{digest}/` that a study runs; edits to the checkout change no running job.

Source: design, "Processes".
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

PACKAGES = ("orchestrator", "workloads")
LOCK = "constraints.txt"
SKIPPED = "__pycache__"
CHECKOUT = Path(__file__).resolve().parents[2]


Package: TypeAlias = tuple[str, Path]
"""Name of a top-level package, and its folder or file."""


def code_files(root: Path, extra: Package | None = None) -> dict[Path, Path]:
    """The files of a snapshot: path in the snapshot -> file, sorted.

    Args:
        root: the folder of our packages, and of the lock file where there is one.
        extra: the package, or single module, of a workload outside `root`.
    """
    found: dict[Path, Path] = {}
    packages = [(name, root / name) for name in PACKAGES]
    for name, place in packages if extra is None or extra[0] in PACKAGES else [*packages, extra]:
        if place.is_file():
            found[Path(place.name)] = place
        for path in place.rglob("*"):
            inside = Path(name) / path.relative_to(place)
            if path.is_file() and path.suffix != ".pyc" and not _skipped(inside):
                found[inside] = path
    if (root / LOCK).is_file():
        found[Path(LOCK)] = root / LOCK
    return dict(sorted(found.items()))


def _skipped(path: Path) -> bool:
    """Whether a file is not code: hidden files may be an editor's, or hold credentials."""
    return any(part == SKIPPED or part.startswith(".") for part in path.parts)


def digest_of(files: Mapping[Path, Path]) -> str:
    """sha256 over names and contents of the code, as hex."""
    total = hashlib.sha256()
    for path, source in files.items():
        content = source.read_bytes()
        total.update(f"{path.as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def copy_code(home: Path, root: Path = CHECKOUT, extra: Package | None = None) -> tuple[str, Path]:
    """Copy the code to `home/code/{digest}/` unless it is there, and return digest and folder.

    `root` is the folder of `orchestrator/`: the checkout, or where it is installed; `extra` as in `code_files`.
    The copy appears atomically, also when several controllers make it at once.
    """
    files = code_files(root, extra)
    digest = digest_of(files)
    folder = home / "code" / digest
    if folder.is_dir():
        return digest, folder
    temporary = home / "code" / f".{digest[:16]}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    for path, source in files.items():
        target = temporary / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    try:
        temporary.rename(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():
            raise
    return digest, folder
