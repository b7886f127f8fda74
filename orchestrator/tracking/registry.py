"""Tracker registry: trackers by name, imported when chosen."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.plan.job import Plan
from orchestrator.tracking.protocol import Tracker

KINDS = ("mlflow", "none")


def make_tracker(kind: str, home: Path, plan: Plan, uri: str | None, variables: Sequence[str] = ()) -> Tracker:
    """The tracker of `kind` (`tracking.kind` in cluster/*.yaml), which gets `variables`; nothing is started yet.

    Raises:
        TrackingError: no such kind; says which there are.
    """
    if kind == "mlflow":
        from orchestrator.tracking.mlflow.tracker import MlflowTracker

        return MlflowTracker(home, plan, uri, variables=variables)
    if kind == "none":
        from orchestrator.tracking.none import NoTracker

        return NoTracker()
    raise TrackingError(f"tracking.kind is {kind!r}; allowed are {', '.join(map(repr, KINDS))}")
