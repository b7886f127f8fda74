"""Code snapshot: the copy under `code/{digest}/` that a study runs; edits to the checkout change no running job.

Source: design, "Processes".
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from orchestrator.errors import PlanError
from orchestrator.host.code_archive import MADE_BY_PYTHON, digest_of_contents

PACKAGES = ("orchestrator", "workloads")
LOCK = "constraints.txt"
IMPORTED = (".py", ".so", ".pyc")
"""Of files beside the copied ones, those that Python would import."""
CHECKOUT = Path(__file__).resolve().parents[2]


Package: TypeAlias = tuple[str, Path]
"""Name of a top-level package, and its folder or file."""


def code_files(root: Path, extra: Package | None = None, home: Path | None = None) -> dict[Path, Path]:
    """The files of a snapshot: path in the snapshot -> file, sorted.

    Args:
        root: the folder of our packages, and of the lock file where there is one.
        extra: the package, or single module, of a workload outside `root`.
        home: the study's folder; where it lies inside the package, as all outputs do, it is no code.
    """
    found: dict[Path, Path] = {}
    packages = [(name, root / name) for name in PACKAGES]
    for name, place in packages if extra is None or extra[0] in PACKAGES else [*packages, extra]:
        if place.is_file():
            found[Path(place.name)] = place
        place = place.resolve()
        outputs = None if home is None else home.parent if place in home.parent.parents else home
        for folder, folders, names in os.walk(place):
            folders[:] = [inner for inner in folders if not _skipped(inner) and Path(folder, inner) != outputs]
            for path in (Path(folder, file) for file in names if not _skipped(file)):
                if path.is_file() and path.suffix != ".pyc":
                    found[Path(name) / path.relative_to(place)] = path
    if (root / LOCK).is_file():
        found[Path(LOCK)] = root / LOCK
    return dict(sorted(found.items()))


def _skipped(name: str) -> bool:
    """Whether a file or folder is not code: hidden files may be an editor's, or hold credentials."""
    return name == MADE_BY_PYTHON or name.startswith(".")


def digest_of(files: Mapping[Path, Path]) -> str:
    """sha256 over names and contents of the code, as hex."""
    return digest_of_contents((path, _content(source)) for path, source in files.items())


def _content(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except (PermissionError, FileNotFoundError) as error:
        raise PlanError(
            f"{source}: cannot be copied to where jobs run: {error.strerror}; every file of a study's package is: "
            "make it readable, or move it out"
        ) from error


def _check_copy(folder: Path, files: Mapping[Path, Path], digest: str) -> None:
    """Refuse a copy that somebody has changed: jobs would run other code than their commit records say."""
    copied = {path: folder / path for path in files}
    changed = next((path for path in copied.values() if not path.is_file()), None)
    if changed is None and digest_of(copied) != digest:
        changed = next(
            copied[path] for path, source in files.items() if copied[path].read_bytes() != source.read_bytes()
        )
    if changed is None:
        changed = next((path for path in _importable(folder) if path.relative_to(folder) not in files), None)
    if changed is not None:
        raise PlanError(
            f"{changed}: was changed, removed or added after the code was copied, and jobs would run other code than "
            f"is recorded; move the copy away, and `run` makes it again: mv {folder} {folder}.changed"
        )


def _importable(folder: Path) -> Iterator[Path]:
    """The files of a copy that Python would import; `__pycache__` holds what Python itself has made of them."""
    for place, folders, names in os.walk(folder):
        folders[:] = [inner for inner in folders if inner != MADE_BY_PYTHON]
        yield from (Path(place, name) for name in sorted(names) if name.endswith(IMPORTED))


def copy_code(home: Path, root: Path = CHECKOUT, extra: Package | None = None) -> tuple[str, Path]:
    """Copy the code to `home/code/{digest}/` unless it is there, and return digest and folder.

    `root` is the folder of `orchestrator/`: the checkout, or where it is installed; `extra` as in `code_files`.
    The copy appears atomically, also when several controllers make it at once.

    Raises:
        PlanError: the copy that is there was changed, or a file of the code cannot be read.
    """
    files = code_files(root, extra, home)
    digest = digest_of(files)
    folder = home / "code" / digest
    if folder.is_dir():
        _check_copy(folder, files, digest)
        return digest, folder
    temporary = home / "code" / f".{digest[:16]}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    for path, source in files.items():
        target = temporary / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    # A file may have been edited since its digest was made.
    digest = digest_of({path: temporary / path for path in files})
    folder = home / "code" / digest
    try:
        temporary.rename(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():
            raise
    return digest, folder
