"""The scripts that a run would send to a scheduler: what `plan --sbatch` asks of a backend that has such."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.backends.protocol import Submission


@dataclass(frozen=True, kw_only=True)
class PlannedSubmission:
    """An attempt that a run would submit."""

    submission: Submission
    needs: tuple[str, ...]
    """Labels of the jobs that are to be done before it is submitted."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """One script, sent by one call of sbatch."""

    name: str
    """Of the job in the scheduler."""
    kind: Literal["job", "array", "pilot"]
    """`pilot`: sent again while jobs wait for room, up to `at_once` times."""
    stage: str
    """Of its jobs; empty for a pilot job, which takes several."""
    jobs: tuple[str, ...]
    """Labels; of an array, by index."""
    needs: tuple[str, ...]
    """Labels of the jobs that are to be done before it is sent."""
    at_once: int
    """How many of the array, or of the pilot jobs, may run at once."""
    request: Mapping[str, Any]
    """What one element asks for: nodes, cpus, memory_mib and gpus of each node, minutes; partition and the like."""
    text: str
    """The script."""


@dataclass(frozen=True, kw_only=True)
class ScriptPlan:
    """All of a run."""

    scripts: tuple[Script, ...]
    notes: tuple[str, ...] = ()
    """What the user is to know about them: limits that were not checked, what does not fit."""

    @property
    def json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)
