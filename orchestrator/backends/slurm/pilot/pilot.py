"""One allocation as its driver sees it: its files read, its standing judged."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.backends.slurm.core.queue import Queue
from orchestrator.backends.slurm.pilot.mailbox import (
    CLOSED,
    HERE,
    JOB,
    OVER,
    PACK,
    STATE,
    packs_of,
    read_whole,
)
from orchestrator.backends.slurm.pilot.pilot_state import SILENT_S, Said, Standing, said_of, standing
from workloads.contract.json_files import write_object

UNHEARD_S = 30.0
"""After SLURM has said that it knows no job of a name: until one that it was asked for without an answer is there."""
MISSING_S = 120.0
"""And after it has said that it does not know a job that it once took."""


@dataclass
class Pack:
    """An allocation that this driver answers for."""

    folder: Path
    name: str
    """Of the job."""
    current: bool
    """It runs the driver's code."""
    made: float
    """Seconds since 1970."""
    ticket: str = ""
    """SLURM's number of the job; empty while only the name is known."""
    restart: int = 0
    """How often SLURM has restarted it, as far as anybody has said."""
    said: Said | None = None
    """By the agent of that start."""
    served: bool = False
    """A driver has seen a host of it."""
    unwanted: bool = False
    """This driver has cancelled it, or has asked it to leave."""
    standing: Standing = field(default_factory=lambda: Standing(phase="unknown", words="nobody was asked yet"))
    waits: str = ""
    """Why it is in the queue, as SLURM said first."""
    gone_since: float | None = None
    """Monotonic clock, s, since when it is missing."""
    ended_at: float | None = None
    """Monotonic clock, s, since when its Ray has ended, as far as this driver has seen."""
    settled: bool = False
    """SLURM has said since that the job has ended: it does not come back as another start."""
    _moved: tuple[int, int] = (-1, -1)
    _moved_at: float = float("-inf")

    @property
    def id(self) -> str:
        """Its name among the packs of the study."""
        return self.folder.name

    @property
    def living(self) -> bool:
        """Whether it is there, or comes, or may come back."""
        return not self.settled

    @property
    def takes(self) -> bool:
        """Whether attempts may be placed in it now."""
        serves = self.standing.phase == "serving" and self.current and not self.unwanted
        return serves and self.said is not None and not self.said.retiring

    def read(self, now: float) -> None:
        """See what the agent has written since."""
        said = said_of(read_whole(self.folder / STATE))
        if said is None or said.restart < self.restart:
            return
        if said.restart > self.restart:
            self.restart = said.restart
        self.said = said
        self.ticket = self.ticket or said.job
        self.served = self.served or bool(said.hosts)
        if (said.restart, said.counter) != self._moved:
            self._moved, self._moved_at = (said.restart, said.counter), now

    def judge(self, queue: Queue, now: float) -> None:
        """Say where it stands."""
        self.ticket = self.ticket or queue.job_of(self.name)
        job = queue.state(self.ticket) if self.ticket else None
        if job is not None and job.restarts > self.restart:
            self.restart = job.restarts
        if self.said is not None and self.said.restart < self.restart:
            self.said = None
        over = read_whole(self.folder / OVER)
        told = str(over.get("why")) if over.get("restart") == self.restart else None
        found = standing(
            self.said,
            fresh=now - self._moved_at < SILENT_S,
            over=told,
            job=job,
            runs=queue.runs(self.ticket) if self.ticket else [],
            silent=queue.silent,
            no_history=queue.no_history,
        )
        if found.phase != "missing":
            self.gone_since = None
        else:
            self.gone_since = now if self.gone_since is None else self.gone_since
            if now - self.gone_since < (MISSING_S if self.ticket else UNHEARD_S):
                found = Standing(phase="unknown", words=found.words)
        self.standing = found
        if found.phase == "queued":
            self.waits = self.waits or found.words
        if found.phase not in ("ended", "missing"):
            self.ended_at = None
            return
        self.ended_at = now if self.ended_at is None else self.ended_at
        # A job that was put back into the queue is another start, and says so by its count of restarts.
        over_too = job is None or job.phase == "ended"
        self.settled = over_too and not queue.silent and (found.phase == "missing" or queue.asked > self.ended_at)

    def booked(self, ticket: str) -> None:
        """SLURM has taken it."""
        self.ticket = ticket
        write_object(self.folder / JOB, {"job": ticket})

    def here(self, counter: str, looks: str) -> None:
        """Tell the agent that a driver lives; one beat that the disk does not take is no reason to end."""
        with contextlib.suppress(OSError):
            write_object(self.folder / HERE, {"counter": counter, "looks": looks})

    def close(self) -> None:
        """Nothing of it is left to be asked for."""
        (self.folder / CLOSED).touch()


def find_packs(home: Path, digest: str) -> dict[str, Pack]:
    """The allocations of earlier drivers that may live, by name; `digest`: of the driver's code."""
    found: dict[str, Pack] = {}
    for path in sorted(packs_of(home).glob(f"*/{PACK}")):
        folder = path.parent
        content = read_whole(path)
        if not content or (folder / CLOSED).exists():
            continue
        found[folder.name] = Pack(
            folder=folder,
            name=str(content["name"]),
            current=content["host"]["digest"] == digest,
            made=path.stat().st_mtime,
            ticket=str(read_whole(folder / JOB).get("job", "")),
            served=True,
        )
    return found


def new_pack(folder: Path, name: str) -> Pack:
    """One that is about to be asked for."""
    return Pack(folder=folder, name=name, current=True, made=time.time())
