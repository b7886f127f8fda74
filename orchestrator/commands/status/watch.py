"""Watching a run from another terminal (`status --watch`), from plan, ledger and attempt folders.

It ends with the run, with exit code 0 if every selected job is done, else 1.
"""

import os
import time
from collections.abc import Collection
from pathlib import Path

from orchestrator.host.processes import boot_id
from orchestrator.plan.job import Job, Standing
from orchestrator.plan.show import counts
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease_holder import LeaseHolder, LeaseWatcher
from orchestrator.schedule.ledger.database import Attempt
from orchestrator.schedule.pace import Pace
from orchestrator.schedule.progress import shown_metric
from orchestrator.study import Study
from orchestrator.ui.watch import RunningAttempt, RunProcess, Snapshot, WatchView
from workloads.contract.metrics import read_beat

EVERY_S = 2.0


def watch(study: Study, selected: Collection[str], view: WatchView, clock: Clock | None = None) -> int:
    """Show the study until no run is in progress; returns the exit code.

    Args:
        study: as planned.
        selected: ids of the jobs that the run selected.
        view: shows snapshots.
        clock: the machine's by default.
    """
    clock = clock or SystemClock()
    watcher, paces = LeaseWatcher(study.home, clock), dict[str, Pace]()
    try:
        while True:
            # Before the snapshot, so that the last snapshot has what the run recorded at its end.
            process = _process(watcher.holder())
            snapshot = take_snapshot(study, selected, process, paces)
            view.show(snapshot)
            if process is None:
                return 0 if snapshot.all_done else 1
            clock.sleep(EVERY_S)
    finally:
        view.close()


def take_snapshot(
    study: Study, selected: Collection[str], process: RunProcess | None, paces: dict[str, Pace] | None = None
) -> Snapshot:
    """The state of the study now; `paces`: attempt -> what earlier snapshots have seen of it, which is updated."""
    paces = {} if paces is None else paces
    standings, attempts = study.standings(), study.attempts()
    chosen = {job_id: standings[job_id] for job_id in study.plan.jobs if job_id in selected}
    jobs = study.plan.jobs
    return Snapshot(
        study=study.plan.study,
        profile=study.plan.profile,
        driver=process,
        counts=counts(chosen),
        running=[
            _running(study, jobs[job_id], now, attempts[jobs[job_id].fingerprint][-1], paces)
            for job_id, now in chosen.items()
            if now.state in ("running", "waiting", "unknown") and jobs[job_id].fingerprint in attempts
        ],
        failed={jobs[job_id].label: now.reason for job_id, now in chosen.items() if now.state == "failed"},
        done=[jobs[job_id].label for job_id, now in chosen.items() if now.state == "done"],
        all_done=all(now.state == "done" for now in chosen.values()),
    )


def _process(holder: LeaseHolder | None) -> RunProcess | None:
    return None if holder is None else RunProcess(pid=holder.pid, host=holder.host, since=_since(holder))


def _since(holder: LeaseHolder) -> float | None:
    """When the process was started, seconds since 1970; None on another boot."""
    if holder.boot_id != boot_id():
        return None
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    booted = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return booted + holder.start_time / os.sysconf("SC_CLK_TCK")


def _running(study: Study, job: Job, now: Standing, attempt: Attempt, paces: dict[str, Pace]) -> RunningAttempt:
    step, of, phase = 0, 0, str(now.state)
    elapsed = max(0.0, time.time() - (attempt.started or attempt.intended))
    eta, rate, metric = None, None, None
    beat = read_beat(study.folder_of(attempt))
    if beat is not None:  # else there is no heartbeat yet
        step, of = beat["step"], beat["of"]
        phase = beat["phase"] if now.state == "running" else phase
        pace = paces.setdefault(attempt.id, Pace())
        pace.note(step, of, elapsed)
        eta = pace.left_s(elapsed, 0.0 if attempt.started else None, attempt.begun)
        rate, metric = pace.rate, shown_metric(job, beat["values"])
    return RunningAttempt(
        label=job.label,
        attempt=attempt.id,
        host=attempt.placement.where,
        phase=phase,
        step=step,
        of=of,
        elapsed_s=round(elapsed, 1),
        eta_s=None if eta is None else round(eta, 1),
        rate=None if rate is None else round(rate, 3),
        metric=metric,
    )
