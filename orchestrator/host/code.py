"""Code snapshot: the copy under `code/{digest}/` that a study runs; edits to the checkout change no running job.

Source: design, "Processes".
"""

import hashlib
import os
import shutil
from pathlib import Path

PACKAGES = ("orchestrator", "workloads")
LOCK = "constraints.txt"
SKIPPED = "__pycache__"
CHECKOUT = Path(__file__).resolve().parents[2]


def code_files(root: Path) -> list[Path]:
    """The files of a snapshot, relative to `root`, sorted: our packages, and the lock file where there is one."""
    found = [
        path.relative_to(root)
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not _skipped(path.relative_to(root))
    ]
    if (root / LOCK).is_file():
        found.append(Path(LOCK))
    return sorted(found)


def _skipped(path: Path) -> bool:
    """Whether a file is not code: hidden files may be an editor's, or hold credentials."""
    return any(part == SKIPPED or part.startswith(".") for part in path.parts)


def digest_of(root: Path) -> str:
    """sha256 over names and contents of the code under `root`, as hex."""
    total = hashlib.sha256()
    for path in code_files(root):
        content = (root / path).read_bytes()
        total.update(f"{path.as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def copy_code(home: Path, root: Path = CHECKOUT) -> tuple[str, Path]:
    """Copy the code to `home/code/{digest}/` unless it is there, and return digest and folder.

    `root` is the folder of `orchestrator/`: the checkout, or where it is installed. The copy appears
    atomically, also when several drivers make it at once.
    """
    digest = digest_of(root)
    folder = home / "code" / digest
    if folder.is_dir():
        return digest, folder
    temporary = home / "code" / f".{digest[:16]}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    for path in code_files(root):
        target = temporary / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)
    try:
        temporary.rename(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():
            raise
    return digest, folder
