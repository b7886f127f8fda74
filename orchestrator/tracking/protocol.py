"""Tracker protocol: shows runs while and after they happen.

Obligations (`orchestrator/testing/trackers.py` tests them): no method blocks or raises; what cannot be
sent is reported once and left to `sync`, which can rebuild everything from what is committed. After `close`
no run is RUNNING whose job is not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from orchestrator.plan.job import Standing


class Tracker(Protocol):
    """Shows runs."""

    def start(self, standings: Mapping[str, Standing] | None = None) -> None:
        """Prepare; `standings`: the jobs' states by id. Nothing is started before the first job changes."""

    def job_changed(
        self,
        job: str,
        standing: Standing,
        attempt: str | None,
        work: Path | None,
        artifact: Path | None,
        git: str = "",
    ) -> None:
        """A job of the plan has changed its state.

        Args:
            job: its id.
            standing: its new state.
            attempt: the one that runs or has ended; None: there was none.
            work: that attempt's folder, where metrics.jsonl grows; None: not on this machine.
            artifact: the committed folder, if the job is completed.
            git: commit of the code that made it.
        """

    def report(self, folder: Path) -> None:
        """The report was written: show it with the study."""

    def tick(self) -> None:
        """Called with every turn of the loop; cheap."""

    def leave(self) -> None:
        """End without sending anything: another controller tracks the study now. Idempotent."""

    def close(self, timeout_s: float) -> bool:
        """Send the rest and end; True: everything was sent. Idempotent."""
