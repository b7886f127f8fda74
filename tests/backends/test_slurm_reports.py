"""What is reported of attempts on SLURM, where SLURM itself says little."""

import json
from pathlib import Path

from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.core.reports import Reports, TrackedJob


def test_an_attempt_whose_job_slurm_has_forgotten_before_its_ticket_was_booked_ended_as_it_says_itself(
    tmp_path: Path,
) -> None:
    """A driver died between sbatch and the ticket, on a site that keeps no history of jobs."""
    reports = Reports(tmp_path, SlurmQueue(10.0), 10.0, lambda tickets: None)
    tracked = TrackedJob(work=tmp_path, ticket="", name="em:toy:train/x:a001-1")
    assert reports.report("a001-1", tracked, 0.0).phase == "missing"
    said = {"attempt": "a001-1", "ending": "out_of_memory", "detail": "exit 77", "started": 1.0, "ended": 2.0}
    (tmp_path / "ended.json").write_text(json.dumps(said), encoding="utf-8")
    report = reports.report("a001-1", tracked, 0.0)
    assert (report.phase, report.ending, report.detail) == ("ended", "out_of_memory", "exit 77")
