"""Tracker protocol: shows runs while and after they happen.

Obligations (`orchestrator/testing/trackers.py` tests them): no method blocks or raises; what cannot be
sent is reported once, tried again, and left to the next run and to `sync`, which can rebuild everything from what is
committed. After a `close` that has sent everything, no run is RUNNING whose job is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.plan.job import Standing


@dataclass(frozen=True)
class JobChange:
    """A job of the plan has changed its state."""

    job: str
    """Its id."""
    standing: Standing
    """Its new state."""
    attempt: str | None = None
    """The one that runs or has ended; None: there was none."""
    work: Path | None = None
    """That attempt's folder, where metrics.jsonl grows; None: not on this machine."""
    artifact: Path | None = None
    """The committed folder, if the job is completed."""
    git: str = ""
    """Commit of the code that made it."""
    version: str = ""
    """And its version."""
    manifest: str = ""
    """sha256 of the artifact's manifest; empty: there is none, or it is not known."""
    started: float | None = None
    """When that attempt started, seconds since 1970; None: it has not, or nobody knows."""
    ended: float | None = None
    """And when it ended."""
    record: str = ""
    """Where its commit record is, for people."""
    place: str = ""
    """Where the artifact is, for people: its folder or URL; empty: `artifact`."""


class Tracker(Protocol):
    """Shows runs."""

    def start(self, standings: Mapping[str, Standing] | None = None) -> None:
        """Prepare; `standings`: the jobs' states by id. Nothing is started before the first job changes."""

    def job_changed(self, change: JobChange) -> None:
        """Show a job's new state."""

    def wants_all(self) -> bool:
        """Whether what was completed before this run is to be passed on too, at its end."""

    def report(self, folder: Path) -> None:
        """The report was written: show it with the study."""

    def tick(self) -> None:
        """Called with every turn of the loop; cheap."""

    def leave(self) -> None:
        """End without sending anything: another controller tracks the study now. Idempotent."""

    def close(self, timeout_s: float) -> bool:
        """Send the rest and end; True: everything was sent. Idempotent."""
