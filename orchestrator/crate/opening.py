"""Opening a crate that comes from a stranger: a zip file is extracted within bounds, and links are never followed."""

import contextlib
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from orchestrator.crate.layout import METADATA
from orchestrator.errors import CrateError
from orchestrator.store.manifest import PLAIN_PATH

MOST_FILES = 200_000
MOST_BYTES = 4 << 30
"""Of all files of a crate together; the shipped study has 8 MiB."""
BLOCK = 1 << 20
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises for a file that is cut, encrypted or damaged."""


@contextlib.contextmanager
def opened_crate(path: Path, most_bytes: int = MOST_BYTES) -> Iterator[Path]:
    """The folder of a crate; that of a zip file is a copy, which is deleted at the end.

    Args:
        path: a folder or a zip file.
        most_bytes: largest total size of the files.

    Raises:
        CrateError: neither; a link, a path outside the crate, a name twice, too much content, or no metadata.
    """
    if path.is_dir():
        _check_folder(path, most_bytes)
        yield _with_metadata(path, path)
        return
    if not path.is_file():
        raise CrateError(
            f"{path}: no such crate; name the folder or the zip file that `echo-matrix export` has written"
        )
    with tempfile.TemporaryDirectory(prefix="echo-matrix-crate-") as folder:
        _extract(path, Path(folder), most_bytes)
        yield _with_metadata(Path(folder), path)


def _with_metadata(folder: Path, path: Path) -> Path:
    """`folder`, or the only folder in it, where archives put a folder around what they hold."""
    if (folder / METADATA).is_file():
        return folder
    inside = list(folder.iterdir())
    if len(inside) == 1 and (inside[0] / METADATA).is_file():
        return inside[0]
    raise CrateError(f"{path}: has no {METADATA}, so it is no crate; `echo-matrix export` writes one")


def _refuse(path: Path, name: str, problem: str) -> NoReturn:
    raise CrateError(f"{path}: {name[:200]!r} {problem}; nothing of it was read")


def _check_folder(root: Path, most_bytes: int) -> None:
    number = size = 0
    for place, folders, names in os.walk(root):
        for name in (*folders, *names):
            file = Path(place, name)
            mode = file.lstat()
            if stat.S_ISDIR(mode.st_mode):
                continue
            if not stat.S_ISREG(mode.st_mode):
                _refuse(root, str(file.relative_to(root)), "is a link or no plain file; a crate holds plain files only")
            number, size = number + 1, size + mode.st_size
    _check_amount(root, number, size, most_bytes)


def _check_amount(path: Path, number: int, size: int, most_bytes: int) -> None:
    if number > MOST_FILES:
        raise CrateError(f"{path}: has {number} files; allowed: {MOST_FILES}")
    if size > most_bytes:
        raise CrateError(f"{path}: its files have more than {most_bytes} bytes; allowed: {most_bytes}")


def _extract(path: Path, folder: Path, most_bytes: int) -> None:
    """Write the files of a zip file into `folder`; what its headers say about sizes is not believed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_amount(path, len(entries), 0, most_bytes)
            left = most_bytes
            for entry in entries:
                name = entry.filename.removesuffix("/")
                _check_entry(path, entry, name)
                target = folder / name
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("xb") as file:
                    while block := source.read(BLOCK):
                        left -= len(block)
                        if left < 0:
                            _check_amount(path, 0, most_bytes + 1, most_bytes)
                        file.write(block)
    except FileExistsError as error:
        raise CrateError(
            f"{path}: {str(error.filename)[len(str(folder)) + 1 :]!r} is in it twice; nothing was read"
        ) from error
    except NotADirectoryError as error:
        raise CrateError(f"{path}: has a file where it has a folder too; nothing was read") from error
    except DAMAGED as error:
        raise CrateError(
            f"{path}: is no zip file that can be read: {error}; name the folder or the zip file that "
            "`echo-matrix export` has written"
        ) from error


def _check_entry(path: Path, entry: zipfile.ZipInfo, name: str) -> None:
    if not PLAIN_PATH.fullmatch(name):
        _refuse(path, name, "is no plain relative path, and may lie outside the crate")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
        _refuse(path, name, "is a link or no plain file; a crate holds plain files only")
