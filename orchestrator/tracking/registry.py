"""Tracker registry: trackers by name, imported when chosen."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.plan.job import Plan, Standing
from orchestrator.tracking.protocol import Tracker

KINDS = ("mlflow", "none")


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


def make_tracker(kind: str, home: Path, plan: Plan, uri: str | None) -> Tracker:
    """The tracker of `kind` (`tracking.kind` in cluster/*.yaml); nothing is started yet.

    Raises:
        TrackingError: no such kind; says which there are.
    """
    if kind == "mlflow":
        from orchestrator.tracking.child import MlflowTracker

        return MlflowTracker(home, plan, uri)
    if kind == "none":
        return NoTracker()
    raise TrackingError(f"tracking.kind is {kind!r}; allowed are {', '.join(map(repr, KINDS))}")
