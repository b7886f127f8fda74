"""A disk that forgets what was not fsynced: every state in which a power cut may leave a folder.

While a `Disk` watches a folder, our code runs on the real file system; each of its operations is noted together with
what is durable by then. POSIX promises little: a file's bytes are there after its own fsync, a name after the fsync of
the folder that holds it, and `rename` is whole or not at all. Everything else may have happened or not, each by itself.
`cuts` gives, for the moment before and after every operation, the worst that is allowed: of the names that are not
synced all, none, the first few, each one missing or alone; of the bytes that are not synced all, none, half, or as many
zeros. Not simulated: what SQLite does in C (it is asked for `synchronous = EXTRA` instead), and broken disks.
"""

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

Names = dict[str, int]
"""Name -> inode."""
Bytes = Literal["all", "synced", "half", "zeros"]
HOOKED = ("link", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "fsync", "truncate")
MOST = 4
"""Names that are not synced, up to which every subset of them is tried."""


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A change of a folder's names that is not on disk for sure."""

    folder: int
    appears: tuple[str, int] | None = None
    goes: str | None = None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What was durable, and what was not, at one moment."""

    after: str
    promised: frozenset[str]
    root: int
    folders: dict[int, Names]
    pending: tuple[Pending, ...]
    now: dict[int, bytes]
    synced: dict[int, bytes]


@dataclass
class Disk:
    """Watches `root` within a `with`; `promise` notes what the code under test has acknowledged."""

    root: Path
    patch: pytest.MonkeyPatch
    moments: list[Moment] = field(default_factory=list)
    _promised: set[str] = field(default_factory=set)
    _folders: dict[int, Names] = field(default_factory=dict)
    _seen: dict[int, Names] = field(default_factory=dict)
    _pending: list[Pending] = field(default_factory=list)
    _synced: dict[int, bytes] = field(default_factory=dict)
    _held: dict[int, int] = field(default_factory=dict)

    def __enter__(self) -> "Disk":
        self._walk(first=True)
        for name in HOOKED:
            self.patch.setattr(os, name, self._hook(name, getattr(os, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self.patch.undo()
        for descriptor in self._held.values():
            os.close(descriptor)

    def promise(self, what: str) -> None:
        """From now on a power cut must not take it away."""
        self._promised.add(what)
        self._note(f"promised {what}")

    def _hook(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **more: Any) -> Any:
            self._note(f"before {name}")
            if name == "fsync":
                about = os.fstat(args[0])
                real(*args, **more)
                if stat.S_ISDIR(about.st_mode):
                    self._folders[about.st_ino] = dict(self._seen.get(about.st_ino, {}))
                    self._pending = [one for one in self._pending if one.folder != about.st_ino]
                else:
                    self._synced[about.st_ino] = Path(f"/proc/self/fd/{args[0]}").read_bytes()
                answer = None
            else:
                answer = real(*args, **more)
                if name in ("rename", "replace"):
                    self._renamed(Path(args[0]), Path(args[1]))
            self._note(f"{name} {Path(args[0]).name if not isinstance(args[0], int) else ''}")
            return answer

        return act

    def _renamed(self, old: Path, new: Path) -> None:
        folder = new.parent.stat().st_ino
        if old.parent != new.parent or folder not in self._seen:
            return  # of two folders each may have it or not
        number = self._seen[folder].pop(old.name)
        self._seen[folder][new.name] = number
        self._pending.append(Pending(folder=folder, appears=(new.name, number), goes=old.name))

    def _walk(self, *, first: bool = False) -> None:
        """Bring what is known of the tree to what is there: names that came and went since the last look."""
        there: dict[int, Names] = {}
        for place, _, _ in os.walk(self.root):
            number = Path(place).stat().st_ino
            there[number] = {entry.name: entry.inode() for entry in os.scandir(place)}
            for path in (Path(place), *(Path(place) / name for name in there[number])):
                self._hold(path)
        for number, names in there.items():
            known = self._seen.setdefault(number, {})
            self._folders.setdefault(number, {})
            for name in known.keys() - names.keys():
                self._pending.append(Pending(folder=number, goes=name))
            for name, inode in names.items():
                if known.get(name) != inode:
                    self._pending.append(Pending(folder=number, appears=(name, inode)))
            self._seen[number] = names
        if first:
            self._folders = {number: dict(names) for number, names in there.items()}
            self._pending = []
            self._synced = self._contents()

    def _hold(self, path: Path) -> None:
        """Keep the inode, so that its number is not given to another file."""
        about = path.lstat()
        if about.st_ino not in self._held:
            self._held[about.st_ino] = os.open(path, os.O_RDONLY)

    def _contents(self) -> dict[int, bytes]:
        files = {number: held for number, held in self._held.items() if stat.S_ISREG(os.fstat(held).st_mode)}
        return {number: Path(f"/proc/self/fd/{held}").read_bytes() for number, held in files.items()}

    def _note(self, after: str) -> None:
        self._walk()
        self.moments.append(
            Moment(
                after=after,
                promised=frozenset(self._promised),
                root=self.root.stat().st_ino,
                folders={number: dict(names) for number, names in self._folders.items()},
                pending=tuple(self._pending),
                now=self._contents(),
                synced=dict(self._synced),
            )
        )


def cuts(disk: Disk, scratch: Path) -> Iterator[tuple[Path, frozenset[str], str]]:
    """Every state that a power cut may leave: a folder that holds it, what had been promised, and where it was."""
    seen: set[tuple[object, ...]] = set()
    number = 0
    for moment in disk.moments:
        for chosen in _subsets(len(moment.pending)):
            names = _names(moment, chosen)
            for how in ("synced", "half", "zeros", "all"):
                tree = _tree(moment, names, moment.root, how)
                key = (tree, moment.promised)
                if key in seen:
                    continue
                seen.add(key)
                number += 1
                folder = scratch / f"cut-{number}"
                _build(folder, tree)
                yield folder, moment.promised, f"{moment.after}; names {chosen} of {moment.pending}; bytes {how}"


def _subsets(number: int) -> list[tuple[int, ...]]:
    everything = tuple(range(number))
    if number <= MOST:
        return [chosen for size in range(number + 1) for chosen in itertools.combinations(everything, size)]
    found = {everything[:size] for size in range(number + 1)}
    found |= {(one,) for one in everything} | {tuple(set(everything) - {one}) for one in everything}
    return sorted(found)


def _names(moment: Moment, chosen: tuple[int, ...]) -> dict[int, Names]:
    names = {number: dict(entries) for number, entries in moment.folders.items()}
    for index in sorted(chosen):
        change = moment.pending[index]
        entries = names.setdefault(change.folder, {})
        if change.goes is not None:
            entries.pop(change.goes, None)
        if change.appears is not None:
            entries[change.appears[0]] = change.appears[1]
    return names


Tree = tuple[tuple[str, Any], ...]
"""(name, bytes or Tree), sorted."""


def _tree(moment: Moment, names: dict[int, Names], folder: int, how: Bytes) -> Tree:
    found: list[tuple[str, Any]] = []
    for name, number in sorted(names.get(folder, {}).items()):
        if number in moment.now:
            found.append((name, _bytes(moment.now[number], moment.synced.get(number, b""), how)))
        else:
            found.append((name, _tree(moment, names, number, how)))
    return tuple(found)


def _bytes(now: bytes, synced: bytes, how: Bytes) -> bytes:
    if how == "all" or now == synced:
        return now
    if how == "synced":
        return synced
    kept = now[: len(now) // 2]
    return kept if how == "half" else kept.ljust(len(now), b"\0")


def _build(folder: Path, tree: Tree) -> None:
    folder.mkdir(parents=True)
    for name, what in tree:
        if isinstance(what, bytes):
            (folder / name).write_bytes(what)
        else:
            _build(folder / name, what)
