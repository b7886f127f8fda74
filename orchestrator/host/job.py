"""Batch job: runs one attempt inside a job of a batch scheduler (`python -m orchestrator.host BATCH`).

`jobs.json` of the batch lists the attempts' folders by array index; `submission.json` in the attempt's folder
is what a host actor gets as a message. At the end `ended.json` beside it has the fields of a `Report`; where it is
missing, only the scheduler's own state is known.

A scheduler that requeues a job keeps its number and starts the same command again: that is another attempt,
`{attempt}.r{restart count}`, which resumes from the job's newest checkpoint.

A job of several nodes runs this command on each of them: see `multi_node`.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.host.checkpoints import attempt_folder, newest_checkpoint
from orchestrator.host.description import node_of, store_of
from orchestrator.host.endings import ENDED, read_ended, write_ended
from orchestrator.host.exchange import node_file
from orchestrator.host.job_time import ENDING_S, JobTime, is_limit, job_end, job_time, minutes_left
from orchestrator.host.machine import VISIBLE, visible_devices
from orchestrator.host.node import Node
from workloads.contract.json_files import read_object

JOBS = "jobs.json"
SUBMISSION = "submission.json"
STOP = "stop"
"""File that the controller writes into the attempt's folder to ask it to save and end: a signal that is sent while
Python starts would be lost."""
POLL_S = 0.2


def restart_of(attempt: str, restarts: int) -> str:
    """The attempt id of a job that was requeued `restarts` times."""
    return f"{attempt}.r{restarts}" if restarts else attempt


def run_job(batch: Path, environment: Mapping[str, str] = os.environ) -> int:
    """Run this job's attempt to its end; returns the exit code, 0 only if it ended well.

    Raises:
        OSError, ValueError, KeyError: `jobs.json` or `submission.json` cannot be read; the scheduler shows it.
    """
    description = read_object(batch / JOBS)
    index = int(environment.get("SLURM_ARRAY_TASK_ID") or 0)
    restarts = int(environment.get("SLURM_RESTART_COUNT") or 0)
    work = Path(description["works"][index])
    submission = read_object(work / SUBMISSION)
    if restarts:
        submission = restarted(submission, restarts)
        work = Path(submission["request"]["work"])
    rank, nodes = int(environment.get("SLURM_PROCID") or 0), int(environment.get("SLURM_NTASKS") or 1)
    leads = rank == 0
    if leads and _is_done(description, submission["request"]["fingerprint"]):
        write_ended(work, {"attempt": submission["attempt"], "phase": "ended", "ending": "ok", "ended": time.time()})
        return 0
    visible = visible_devices(environment.get(VISIBLE, ""))
    devices = range(int(submission["resources"]["devices"]) // nodes)
    submission["placement"] = {**submission["placement"], "devices": list(devices)}
    end = job_end(environment)
    submission["resources"] = {
        **submission["resources"],
        "minutes": minutes_left(submission, end),
        "memory_gib": submission["resources"]["memory_gib"] / nodes,
    }
    submission["node"] = {"node": rank, "nodes": nodes}
    server = [*description["command"], submission["request"]["stage"]]  # imports what this one stage needs
    node = node_of({**description, "command": server}, visible=visible or [str(device) for device in devices])
    try:
        report = _run_to_end(node, submission, end, lambda: job_time(environment))
    finally:
        node.close()
    if report["ending"] == "timed_out" and description.get("short_limit"):
        report = {**report, "short_limit": True}
    write_ended(work, report, node_file(ENDED, rank))
    if not leads and report["ending"] != "ok":
        _await_leading_node(work, submission)
    return 0 if report["ending"] == "ok" else 1


def _is_done(description: Mapping[str, Any], fingerprint: str) -> bool:
    """Whether the job has a commit record; where the store fails now, the node retries."""
    try:
        return fingerprint in store_of(description).commits()
    except (StoreError, OSError):
        return False


def _await_leading_node(work: Path, submission: Mapping[str, Any]) -> None:
    """Wait for the leading node to write its ending, since srun kills that node when this one exits with an error."""
    deadline = time.monotonic() + float(submission["request"]["execution"]["grace_s"]) + ENDING_S
    while read_ended(work, submission["attempt"]) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)


def restarted(submission: Mapping[str, Any], restarts: int) -> dict[str, Any]:
    """The submission of a requeued job: another attempt, from the newest checkpoint."""
    request = submission["request"]
    attempt = restart_of(submission["attempt"], restarts)
    home = Path(request["work"]).parents[2]
    work = attempt_folder(home, request["fingerprint"], attempt)
    work.mkdir(parents=True, exist_ok=True)
    newest = newest_checkpoint(home, request["fingerprint"])
    changed = {
        **request,
        "attempt": attempt,
        "work": str(work),
        "resume": None if newest is None else str(newest.path),
    }
    return {**submission, "attempt": attempt, "request": changed}


def _exists(path: Path) -> bool:
    """Whether a file exists; False where the file system fails now: the caller looks again."""
    try:
        return path.exists()
    except OSError:
        return False


def _run_to_end(
    node: Node, submission: Mapping[str, Any], end: float, time_now: Callable[[], JobTime]
) -> dict[str, Any]:
    """Run the attempt; any signal asks it to save and end, and the report says why it was sent.

    Args:
        node: of this job.
        submission: the attempt's.
        end: when the job's time ends, seconds since 1970, as known at the start.
        time_now: asks the scheduler again.
    """
    signalled = threading.Event()
    name = str(submission["attempt"])
    signal_name, signalled_at = "", 0.0

    def request_stop(number: int, _frame: Any) -> None:
        nonlocal signal_name, signalled_at
        if not signal_name:
            signal_name, signalled_at = signal.Signals(number).name, time.time()
        signalled.set()

    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_stop)
    signal.signal(signal.SIGCONT, signal.SIG_IGN)  # SLURM sends it along with SIGTERM
    node.start(submission)
    stopped = False
    stop_file = Path(submission["request"]["work"]) / STOP
    while (report := node.poll()[name])["phase"] != "ended":
        if not stopped and (signalled.is_set() or _exists(stop_file)):
            node.stop([name])
            stopped = True
        time.sleep(POLL_S)
    if not signal_name:
        return report
    detail = report["detail"]
    if report["ending"] == "interrupted" and not _exists(stop_file):
        now = time_now()
        if now.preempted:  # SLURM calls a job that ends by itself, in time, FAILED
            return {**report, "ending": "preempted", "detail": f"{signal_name} for another job: {detail}"}
        if is_limit(submission, min(end, now.end), signalled_at):
            # If it did not count as a retry, a job whose steps are longer than its limit would be retried without end.
            return {**report, "ending": "timed_out", "detail": f"{signal_name} ahead of the job's limit: {detail}"}
    return {**report, "detail": f"{signal_name}: {detail}"}
