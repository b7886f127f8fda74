"""The files of a scene: in folders of their kinds, as Context-as-Memory has them, or in one archive for each scene.

```
{root}/frames/{scene}/{0000}.png   jsons/{scene}.json   overlap_labels/{scene}/{i}.json   worlds/{scene}.json
{root}/scenes/{scene}.zip          members with these same paths, uncompressed
```
A pool that we make has archives, because a few hundred files are copied, hashed and listed in a fraction of the time of
tens of thousands. Any ZIP program reads them; all of them extracted into one folder are the first layout. A member is
found by the directory at the archive's end, so one frame is read without the others.

An archive is opened for each reading and closed after it, so that processes and threads never share a file position.
"""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workloads.runtime.errors import BadInput

ARCHIVES = "scenes"
"""Folder of the archives."""
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that equal scenes are equal archives; ZIP knows none before it."""
UNIX, PLAIN_FILE = 3, 0o100644
"""A member's system and mode; without them they would depend on where the archive is written."""
LARGEST = 256 << 20
"""Bytes of a member; a compressed one of an archive from elsewhere may be a thousand times as large as it is there."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What the standard library raises on damaged bytes: checksums, lengths, methods, passwords, positions, names."""


@dataclass(frozen=True, slots=True)
class Member:
    """A path in an open archive: what of a `pathlib.Path` is used of a pool's files.

    Not `zipfile.Path`, which lists all folders of an archive at its first use: that takes as long as opening it.
    """

    archive: zipfile.ZipFile
    path: str = ""

    def __truediv__(self, below: str) -> "Member":
        return Member(self.archive, f"{self.path}/{below}" if self.path else below)

    def __str__(self) -> str:
        return f"{self.archive.filename}/{self.path}"

    def is_file(self) -> bool:
        """Whether the archive has this member."""
        try:
            self.archive.getinfo(self.path)
        except KeyError:
            return False
        return True

    def names(self) -> list[str]:
        """Names of the members directly below, each once, in no order."""
        below = {name[len(self.path) + 1 :] for name in self.archive.namelist() if name.startswith(f"{self.path}/")}
        return [name for name in below if name and "/" not in name]

    def read_bytes(self) -> bytes:
        """The member's bytes, compared with its checksum.

        Raises:
            FileNotFoundError: there is none.
            BadInput: it is damaged, or larger than any file of a pool.
        """
        if not self.is_file():
            raise FileNotFoundError(str(self))
        size = self.archive.getinfo(self.path).file_size
        if size > LARGEST:
            raise BadInput(f"{self}: has {size} bytes; allowed: {LARGEST}; no frame or label is so large")
        try:
            return self.archive.read(self.path)
        except BROKEN as error:
            found = str(error) or "it ends too early"
            raise BadInput(f"{self}: damaged: {found}; copy or make the pool again") from error


Files = Path | Member
"""Where the paths of the layout begin: a pool's root, or the inside of a scene's archive; or a path from there."""


def frame_name(scene: str, frame: int) -> str:
    """Path of a frame."""
    return f"frames/{scene}/{frame:04d}.png"


def pose_name(scene: str) -> str:
    """Path of a scene's poses."""
    return f"jsons/{scene}.json"


def label_name(scene: str, frame: int) -> str:
    """Path of a frame's overlap label."""
    return f"overlap_labels/{scene}/{frame}.json"


def world_name(scene: str) -> str:
    """Path of a rendered scene's parameters."""
    return f"worlds/{scene}.json"


def archive_path(root: Path, scene: str) -> Path:
    """Where the archive of a scene lies."""
    return root / ARCHIVES / f"{scene}.zip"


def scenes_in(root: Path) -> tuple[list[str], bool]:
    """Sorted names of the scenes under `root`, and whether they are archives.

    Raises:
        BadInput: there are archives and folders of frames, and nobody says which of them is the pool.
    """
    archives = sorted(path.stem for path in (root / ARCHIVES).glob("*.zip"))
    folders = sorted(path.name for path in (root / "frames").glob("*") if path.is_dir())
    if archives and folders:
        raise BadInput(f"{root}: scenes in {ARCHIVES}/ and in frames/; move one of the two folders out of the pool")
    return (archives, True) if archives else (folders, False)


def names_in(folder: Files) -> list[str]:
    """Sorted names of what lies in a folder; none if it is not there."""
    if isinstance(folder, Member):
        return sorted(folder.names())
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@contextmanager
def opened(root: Path, scene: str, *, archived: bool) -> Iterator[Files]:
    """Where the files of a scene are read from; an archive is closed at the end.

    Raises:
        BadInput: the archive is missing, cut short or otherwise no ZIP archive.
    """
    if not archived:
        yield root
        return
    path = archive_path(root, scene)
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: missing; the pool is not whole: copy or make it again") from error
    except BROKEN as error:
        raise BadInput(f"{path}: not a whole ZIP archive: {error}; copy or make the pool again") from error
    with archive:
        yield Member(archive)


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a scene's files as an archive: in the given order, and equal bytes for equal members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name, EARLIEST)
            member.create_system, member.external_attr = UNIX, PLAIN_FILE << 16
            archive.writestr(member, content)
