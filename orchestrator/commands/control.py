"""Sending a control command to the run in progress; without one it is recorded in the ledger."""

from orchestrator.plan.job import Job
from orchestrator.schedule.control.commands import JobVerb, request
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json

SHOWN = 12
"""Labels that are printed; the others are counted."""


def send_command(name: JobVerb, study: Study, jobs: tuple[Job, ...], *, now: bool = False, as_json: bool) -> None:
    """Send or record a command for these jobs, and print which of the two was done."""
    answer = request(name, jobs, home=study.home, now=now)
    if as_json:
        print_json({"version": 2, "verb": name, "answer": answer, "jobs": [job.label for job in jobs]})
        return
    done = {"cancel": "cancelled", "retry": "to be run again"}[name] if answer == "done" else f"{name} requested"
    for job in jobs[:SHOWN]:
        print(f"{job.label}: {done}")
    if len(jobs) > SHOWN:
        print(f"... and {len(jobs) - SHOWN} more")
    if name == "retry" and answer == "done":
        print(f"`echo-matrix run` starts {'it' if len(jobs) == 1 else 'them'}")
