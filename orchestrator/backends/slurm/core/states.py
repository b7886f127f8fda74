"""What SLURM says of jobs, as text in and plain values out: no process is started here.

Sources: squeue(1) "JOB STATE CODES", sacct(1) "JOB STATE CODES", of SLURM 22.05.
"""

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.backends.protocol import Ending
from orchestrator.wording import local_time

SQUEUE_COLUMNS = (
    ("JobArrayID", 64),
    ("State", 24),
    ("RestartCnt", 12),
    ("Reason", 64),
    ("NodeList", 64),
    ("StartTime", 24),
    ("Name", 256),
)
SQUEUE_FORMAT = ",".join(f"{name}:{width}" for name, width in SQUEUE_COLUMNS)
SACCT_FORMAT = "JobID,State,ExitCode,JobName"

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
ENDINGS: Mapping[str, Ending] = {
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_lost",
    "BOOT_FAIL": "node_lost",
    "TIMEOUT": "timed_out",
    "DEADLINE": "timed_out",
    "OUT_OF_MEMORY": "out_of_memory",
    "CANCELLED": "interrupted",
    "REVOKED": "interrupted",
    "REQUEUED": "interrupted",
    "FAILED": "error",
    "COMPLETED": "vanished",
}
"""Final state -> ending of an attempt that has not recorded how it ended. A job that completed without such a
record has vanished: what our host writes last was not written."""


REASONS: Mapping[str, str] = {
    "Priority": "jobs of higher priority come first",
    "Resources": "no node has what it asks for free",
    "JobArrayTaskLimit": "at_once elements of its array run",
    "BeginTime": "SLURM lets it begin a little later",
    "JobHeldUser": "it is held; `scontrol release` releases it",
    "JobHeldAdmin": "an administrator holds it",
    "launch failed requeued held": "its node could not start it; `scontrol release` lets it try again",
    "ReqNodeNotAvail": "a node that it asks for is down, drained or reserved",
    "PartitionDown": "its partition takes jobs and starts none",
    "PartitionTimeLimit": "it asks for more time than its partition gives",
    "AssociationJobLimit": "the account has as many jobs as it may",
    "QOSMaxJobsPerUserLimit": "its QOS lets this user run no more jobs",
    "QOSMaxCpuPerUserLimit": "its QOS gives this user no more cpus",
    "AssocGrpCpuLimit": "the account has as many cpus as it may",
    "Licenses": "a licence that it asks for is taken",
}
"""Why a job waits -> what that means. Source: squeue(1) "JOB REASON CODES"."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What SLURM says of one job or array element."""

    job: str
    """`123` or `123_4`."""
    state: str
    restarts: int = 0
    """How often it was put back into the queue."""
    reason: str = ""
    """Why it waits."""
    exit_code: str = ""
    name: str = ""
    starts: float | None = None
    """When it begins, as SLURM predicts or knows, seconds since 1970; None: SLURM does not say."""
    began: bool = True
    """Whether it was ever given a node; one that was not has recorded nothing."""

    @property
    def phase(self) -> Literal["waiting", "running", "ended"]:
        """Where it stands; a state that this code does not know counts as running: nothing follows from it."""
        if self.state in WAITING:
            return "waiting"
        return "ended" if self.state in ENDINGS else "running"

    @property
    def ending(self) -> Ending:
        """What its final state says."""
        return ENDINGS.get(self.state, "vanished")

    @property
    def waits_for_array(self) -> bool:
        """Whether it waits for other elements of its array, and not for SLURM."""
        return self.reason.strip("()") == "JobArrayTaskLimit"

    def waiting_reason(self) -> str:
        """Why it waits, for people: SLURM's reason, and what it means where we know."""
        reason = self.reason.strip("()")
        meaning = REASONS.get(reason.partition(",")[0], "")
        words = f"{reason}: {meaning}" if meaning else reason or "queued"
        return f"{words} (SLURM job {self.job}, {self.start_words()})"

    def start_words(self) -> str:
        """When it may begin, for people; SLURM predicts that again and again, so no seconds are shown."""
        if self.starts is None:
            return "start not known"
        return f"may start at {local_time(math.ceil(self.starts / 60) * 60, seconds=False)}"

    def summary(self) -> str:
        """For people."""
        code = f", exit {self.exit_code}" if self.exit_code not in ("", "0:0") else ""
        return f"SLURM says {self.state} of job {self.job}{code}"


def parse_squeue(text: str) -> dict[str, JobState]:
    """Job -> state, from `squeue --noheader --array --states=all --Format=SQUEUE_FORMAT`."""
    found: dict[str, JobState] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        fields, place = [], 0
        for _, width in SQUEUE_COLUMNS:
            fields.append(line[place : place + width].strip())
            place += width
        job, state, restarts, reason, nodes, start, name = fields
        found[job] = JobState(
            job=job,
            state=state,
            restarts=int(restarts) if restarts.isdigit() else 0,
            reason="" if reason == "None" else reason,
            name=name,
            starts=parse_time(start),
            began=bool(nodes),
        )
    return found


def parse_time(text: str) -> float | None:
    """`2026-11-30T14:05:09` in seconds since 1970; None for `N/A` and the like."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def parse_sacct(text: str) -> dict[str, list[JobState]]:
    """Job -> its runs, oldest first, from `sacct --duplicates -XnP --format=SACCT_FORMAT`.

    A job that was requeued has a line for every time it ran; `CANCELLED by 0` is CANCELLED.
    """
    found: dict[str, list[JobState]] = {}
    for line in text.splitlines():
        fields = line.split("|", 3)
        if len(fields) != 4 or not fields[1]:
            continue
        job, state, exit_code, name = fields
        runs = found.setdefault(job, [])
        runs.append(JobState(job=job, state=state.split()[0], restarts=len(runs), exit_code=exit_code, name=name))
    return found


def chunks(number: int, largest: int) -> Sequence[range]:
    """`number` jobs as arrays of at most `largest` elements, as even as can be."""
    if number == 0:
        return []
    pieces = -(-number // max(1, largest))
    bounds = [number * piece // pieces for piece in range(pieces + 1)]
    return [range(begin, end) for begin, end in itertools.pairwise(bounds)]
