"""Tracker `none`: tracks nothing."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.plan.job import Standing
from orchestrator.tracking.protocol import JobChange


class NoTracker:
    """A tracker that tracks nothing."""

    def start(self, standings: Mapping[str, Standing] | None = None) -> None:
        """Does nothing."""

    def job_changed(self, change: JobChange) -> None:
        """Does nothing."""

    def wants_all(self) -> bool:
        """Nothing is wanted."""
        return False

    def report(self, folder: Path) -> None:
        """Does nothing."""

    def tick(self) -> None:
        """Does nothing."""

    def leave(self) -> None:
        """Does nothing."""

    def close(self, timeout_s: float) -> bool:
        """There is nothing to send."""
        return True
