"""The code snapshot as one message, for a machine that does not see the study's folder; standard library only.

A node unpacks it before it can import anything of ours, so this module travels by value (`backends.ray.entry`).
"""

import contextlib
import gzip
import hashlib
import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePath

MADE_BY_PYTHON = "__pycache__"


def digest_of_contents(files: Iterable[tuple[PurePath, bytes]]) -> str:
    """sha256 over names and contents of files, as hex; in the order given."""
    total = hashlib.sha256()
    for path, content in files:
        total.update(os.fsencode(path) + f"\0{len(content)}\0".encode())  # a name may be no UTF-8
        total.update(content)
    return total.hexdigest()


def pack_code(folder: Path) -> bytes:
    """All files of a snapshot but what Python has made of them, as a compressed archive.

    Raises:
        OSError: one cannot be read.
    """
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _files(folder):
            about = tarfile.TarInfo(str(path))
            about.size = (folder / path).stat().st_size
            with (folder / path).open("rb") as content:
                archive.addfile(about, content)
    return gzip.compress(whole.getvalue(), compresslevel=1, mtime=0)


def unpack_code(archive: bytes, digest: str, folder: Path) -> None:
    """Write the files of an archive into `folder`, which appears whole or not at all, also when several make it.

    Args:
        archive: as `pack_code` made it.
        digest: of names and contents, which is compared before anything is written.
        folder: replaced where it is there.

    Raises:
        ValueError: the archive is another.
        OSError: the disk refuses.
    """
    files = []
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive)), mode="r") as read:
        for member in read:
            packed = read.extractfile(member)
            files.append((PurePath(member.name), b"" if packed is None else packed.read()))
    if digest_of_contents(files) != digest:
        raise ValueError(
            f"the code that has arrived is not {digest[:12]}: it was changed in the study's folder; `run` again"
        )
    temporary = folder.with_name(f".{folder.name[:16]}.{secrets.token_hex(4)}.tmp")
    try:
        for path, content in files:
            target = temporary / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if holds_code(folder, digest):  # another host was first
            return
        shutil.rmtree(folder, ignore_errors=True)  # changed by somebody: it is not what its name says
        with contextlib.suppress(OSError):
            temporary.rename(folder)
        if not holds_code(folder, digest):
            raise OSError(f"{folder}: the code cannot be put there")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def holds_code(folder: Path, digest: str) -> bool:
    """Whether a folder holds exactly the code of this digest, beside what Python has made of it."""
    try:
        return digest_of_contents((path, (folder / path).read_bytes()) for path in _files(folder)) == digest
    except OSError:
        return False


def _files(folder: Path) -> list[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if MADE_BY_PYTHON not in path.parts)
