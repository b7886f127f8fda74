"""The protocol of trackers, which show runs while and after they happen.

Obligations (`orchestrator/testing/trackers.py` tests them): no method blocks or raises; what cannot be
sent is said once and left to `sync`, which can rebuild everything from what is committed. `close` ends
with no run left RUNNING whose job is not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from orchestrator.plan.job import Standing


class Tracker(Protocol):
    """A place where runs are shown."""

    def start(self, standings: Mapping[str, Standing] | None = None) -> None:
        """Get ready; `standings`: where the jobs stand, by id. Nothing is started before the first job has changed."""

    def job_changed(
        self,
        job: str,
        standing: Standing,
        attempt: str | None,
        work: Path | None,
        artifact: Path | None,
        git: str = "",
    ) -> None:
        """A job of the plan stands elsewhere than before.

        Args:
            job: its id.
            standing: where it stands now.
            attempt: the attempt that runs, or ended; None: there has been none.
            work: that attempt's folder, where metrics.jsonl grows; None: it is not on this machine.
            artifact: the committed folder, where the job is done.
            git: commit of the code that made it.
        """

    def report(self, folder: Path) -> None:
        """The report was written: show it with the study."""

    def tick(self) -> None:
        """Called with every turn of the loop; cheap."""

    def leave(self) -> None:
        """End without a further word: another driver shows the study now. Idempotent."""

    def close(self, timeout_s: float) -> bool:
        """Send the rest and let go; True: everything was sent. Idempotent."""
