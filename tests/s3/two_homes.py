"""A home that shares its store: `two_homes.py HOME CLUSTER MATRIX SEED COMMANDS KILLS JOURNAL`.

Runs so many commands, drawn from the seed, one after another; each is a fork of this process, so that it costs no
imports. With KILLS at 1, some of them are killed while they hold the lease. A line of JSON for each goes to JOURNAL,
and so does when this home holds the lease in the store.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orchestrator.backends.fake.backend
import orchestrator.commands.gc.command
import orchestrator.commands.run.command
import orchestrator.store.s3.store  # noqa: F401
from orchestrator import cli
from orchestrator.schedule.shared_lease import SharedLease

LONGER = "controls.training.steps=800"
RUN = ("run", "--rows", "context-k1", "--branches", "loop")
REFRESH = (*RUN, "--refresh", "train/context-k1/s0", "--yes")
GC = ("gc", "--yes", "--keep-days", "0")
DRAWN: tuple[tuple[Sequence[str], int], ...] = (
    (RUN, 4),
    ((*RUN, LONGER), 3),
    (REFRESH, 2),
    (GC, 4),
    ((*GC, "--made-by", "unknown"), 1),
    (("status",), 1),
)
"""Command -> how often, relative to the others."""


@dataclass(frozen=True, kw_only=True)
class Called:
    """One command and its end; times are of the machine's monotonic clock."""

    home: str
    words: list[str]
    began: float
    ended: float
    """Before it was killed, or after it ended."""
    code: int
    """Below zero: the signal that killed it."""
    said: str


class Journal:
    """What several processes write down, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, what: str, **fields: Any) -> None:
        """Append a line, whole."""
        line = json.dumps({"what": what, **fields}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self, what: str) -> list[dict[str, Any]]:
        """The lines of one kind."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        return [line for line in map(json.loads, lines) if line.pop("what") == what]


def call(home: Path, given: Sequence[str], words: Sequence[str], journal: Journal, kill_after_s: float = 0.0) -> Called:
    """Run a command of `home` in a fork, to its end or until it is killed, so long after it has the lease."""
    output = home / "said.txt"
    home.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(home, [*words[:1], *given, *words[1:]], output, journal)
    killed = _kill_in_the_middle(child, journal, kill_after_s) if kill_after_s else 0.0
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = killed if code < 0 else time.monotonic()
    said = output.read_text(encoding="utf-8", errors="replace")
    called = Called(home=str(home), words=list(words), began=began, ended=ended, code=code, said=said)
    journal.write("called", **asdict(called))
    return called


def _kill_in_the_middle(child: int, journal: Journal, after_s: float) -> float:
    """Kill a command so long after it has taken the lease; returns when, before it dies. One that ends stays alone."""
    while not any(line["pid"] == child for line in journal.read("held")):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.01)
    time.sleep(after_s)
    at = time.monotonic()
    os.kill(child, signal.SIGKILL)  # it is not waited for yet, so that its number is still its own
    return at


def _become(home: Path, words: Sequence[str], output: Path, journal: Journal) -> None:
    """Be the command line, and exit."""
    code = 99
    try:
        said = output.open("w", encoding="utf-8")
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.stdout = sys.stderr = said
        os.environ["ECHO_MATRIX_HOME"] = str(home)
        sys.argv = ["echo-matrix", *words]
        _note_leases(home, journal)
        cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _note_leases(home: Path, journal: Journal) -> None:
    """Write down from when to when this process holds the lease: never longer than it does."""
    enter, release = SharedLease.__enter__, SharedLease.release

    def entered(lease: SharedLease) -> SharedLease:
        journal.write("held", home=str(home), pid=os.getpid(), number=lease.claim.number, at=time.monotonic())
        return enter(lease)

    def released(lease: SharedLease) -> None:
        journal.write("released", home=str(home), pid=os.getpid(), number=lease.claim.number, at=time.monotonic())
        release(lease)

    setattr(SharedLease, "__enter__", entered)  # noqa: B010
    setattr(SharedLease, "release", released)  # noqa: B010


def main(home: Path, cluster: str, matrix: str, seed: int, commands: int, kills: bool, journal: Path) -> int:
    """Run so many commands."""
    chance = random.Random(seed)
    given = ("--matrix", matrix, "--cluster", cluster)
    for _ in range(commands):
        (words,) = chance.choices([words for words, _ in DRAWN], [weight for _, weight in DRAWN])
        kill_after_s = chance.uniform(0.001, 0.5) if kills and chance.random() < 0.4 else 0.0
        call(home, given, words, Journal(journal), kill_after_s)
        time.sleep(chance.uniform(0.0, 0.3))
    return 0


if __name__ == "__main__":
    _home, _cluster, _matrix, _seed, _commands, _kills, _journal = sys.argv[1:]
    sys.exit(main(Path(_home), _cluster, _matrix, int(_seed), int(_commands), _kills == "1", Path(_journal)))
