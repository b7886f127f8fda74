"""What a test leaves behind on this machine: nothing, or `nothing_left` says what.

A test runs what it starts under a mark, a value in the environment that every descendant inherits,
whatever session it leads and whoever became its parent: driver, Ray child, raylet, hosts, servers,
ranks, guards. So processes of other tests and studies that run beside are never looked at.

    with nothing_left() as marked:
        ...                       # subprocesses started here inherit os.environ
        marked.processes()        # the victims to choose from

`ray::Host` is the title of a host actor: Ray renames its workers and keeps their environment readable.

Folders of Ray sessions and locks are compared before and after. A Ray session's folder names its
owner: a folder whose owner lives is another test's.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.ray.session import NAME, session_folders
from orchestrator.host.processes import is_alive, start_time

VARIABLE = "ECHO_MATRIX_TEST_MARK"
GONE_WITHIN_S = 20.0
SHARED_MEMORY = Path("/dev/shm")
RAY_NAMES = ("plasma", "ray", "em-")
LOCKS = Path("~").expanduser() / ".cache" / "torch_extensions"


@dataclass(frozen=True)
class Process:
    """One living process."""

    pid: int
    started: int
    """Clock ticks since boot."""
    command: str

    @property
    def alive(self) -> bool:
        """Whether it still lives; a zombie does not."""
        return is_alive(self.pid, self.started)

    def signal(self, number: int) -> None:
        """Send a signal. It may have ended since it was listed, by the death of another: that is fine."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True)
class Marked:
    """All that was started under one mark."""

    mark: str

    def processes(self, *words: str) -> list[Process]:
        """The living ones whose command line holds all `words`, oldest first; never this process itself."""
        wanted = f"{VARIABLE}={self.mark}".encode()
        sessions: dict[Path, int] = {}
        carrying: set[Path] = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                sessions[entry] = os.getsid(int(entry.name))
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    carrying.add(entry)
        # A process that has written its title over its environment is known by its kernel session.
        ours = {sessions[entry] for entry in carrying} - {os.getsid(0)}
        found = []
        for entry, session in sessions.items():
            if entry not in carrying and session not in ours:
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                started = start_time(int(entry.name))
                if started is not None and all(word in command for word in words):
                    found.append(Process(int(entry.name), started, command))
        return sorted(found, key=lambda process: (process.started, process.pid))


@contextlib.contextmanager
def marked() -> Iterator[Marked]:
    """Put a fresh mark into the environment; what is started meanwhile carries it."""
    before = os.environ.get(VARIABLE)
    mark = Marked(secrets.token_hex(8))
    os.environ[VARIABLE] = mark.mark
    try:
        yield mark
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@contextlib.contextmanager
def nothing_left(within_s: float = GONE_WITHIN_S, *, homes: Sequence[Path] = ()) -> Iterator[Marked]:
    """Run a block under a mark and fail if, `within_s` after its end, anything of it is left.

    Args:
        within_s: how long processes and files may take to go.
        homes: study folders in whose stores no temporary file may be left.
    """
    before = set(files_outside())
    with marked() as mark:
        yield mark
    expect_nothing(lambda: _left(mark, before, homes), within_s)


def expect_nothing(left: Callable[[], Sequence[str]], within_s: float) -> None:
    """Wait until `left()` is empty; fails with what it holds."""
    deadline = time.monotonic() + within_s
    while what := left():
        assert time.monotonic() < deadline, f"{within_s:g} s after the end there still is:\n" + "\n".join(what)
        time.sleep(0.1)


def store_temporaries(home: Path) -> list[Path]:
    """Files under a temporary name in the store of `home`: COMMITs and manifests that nobody will rename any more."""
    return sorted(path for path in (home / "store").rglob(".*.tmp*"))


def _left(mark: Marked, before: set[Path], homes: Sequence[Path]) -> list[str]:
    processes = [f"process {one.pid}: {one.command[:200]}" for one in mark.processes()]
    files = [f"file {path}" for path in files_outside() if path not in before]
    return processes + files + [f"file {path}" for home in homes for path in store_temporaries(home)]


def files_outside() -> list[Path]:
    """Files that a session of ours may leave outside its study: folders of dead Rays, object stores, compile locks."""
    found = [path for path in session_folders() if not _owned(path)]
    if SHARED_MEMORY.is_dir():
        opened = None
        for path in SHARED_MEMORY.iterdir():
            if path.name.startswith(RAY_NAMES):
                opened = _opened() if opened is None else opened
                if path not in opened:
                    found.append(path)
    return found + list(LOCKS.rglob("lock"))


def _owned(folder: Path) -> bool:
    """Whether the process that a Ray session's folder names lives."""
    name = NAME.fullmatch(folder.name)
    return name is not None and is_alive(int(name[1]), int(name[2]))


def _opened() -> set[Path]:
    """Files of shared memory that some process has mapped: they are in use, whoever's they are."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
                if str(SHARED_MEMORY) in line:
                    found.add(Path(line[line.index(str(SHARED_MEMORY)) :].removesuffix(" (deleted)")))
    return found
