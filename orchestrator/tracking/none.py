"""Tracker `none`: tracks nothing."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.plan.job import Standing


class NoTracker:
    """A tracker that tracks nothing."""

    def start(self, standings: Mapping[str, Standing] | None = None) -> None:
        """Nothing to do."""

    def job_changed(
        self,
        job: str,
        standing: Standing,
        attempt: str | None,
        work: Path | None,
        artifact: Path | None,
        git: str = "",
    ) -> None:
        """Nothing to do."""

    def report(self, folder: Path) -> None:
        """Nothing to do."""

    def tick(self) -> None:
        """Nothing to do."""

    def leave(self) -> None:
        """Nothing to do."""

    def close(self, timeout_s: float) -> bool:
        """There is nothing to send."""
        return True
