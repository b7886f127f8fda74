"""A job of a batch scheduler that is one attempt: finds its submission, holds a `Node`, and leaves word of its end.

Nothing comes by pickle. `jobs.json` of the batch lists the attempts' folders, the index is the array's;
`submission.json` of the attempt's folder is what a host actor would get as a message. The last word,
`ended.json` beside it, has the fields of a `Report`; where it is missing, the scheduler's own is all there is.

A scheduler that puts a job back into its queue keeps the job's number and starts the same command:
what runs then is another attempt, `{attempt}.r{restart count}`, which goes on from the newest
checkpoint of the job.

A job of several nodes is this command on each of them: a part of one attempt (see `parts`).
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
from orchestrator.host.limit import LAST_WORDS_S, JobTime, is_limit, job_end, job_time, minutes_left
from orchestrator.host.node import Node
from orchestrator.host.parts import part_name
from workloads.contract.json_files import read_object

JOBS = "jobs.json"
SUBMISSION = "submission.json"
STOP = "stop"
"""Lies in the attempt's folder when its driver asks it to save and end: a signal that comes while Python still starts
is lost."""
LOOK_S = 0.2


def restart_of(attempt: str, restarts: int) -> str:
    """The id of the attempt that a job is after it was put back into the queue `restarts` times."""
    return f"{attempt}.r{restarts}" if restarts else attempt


def run_job(batch: Path, environment: Mapping[str, str] = os.environ) -> int:
    """Run this job's attempt to its end; returns the exit code: 0 only if it ended well.

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
    part = {"index": int(environment.get("SLURM_PROCID") or 0), "of": int(environment.get("SLURM_NTASKS") or 1)}
    leads = part["index"] == 0
    if leads and _is_done(description, submission["request"]["fingerprint"]):
        write_ended(work, {"attempt": submission["attempt"], "phase": "ended", "ending": "ok", "ended": time.time()})
        return 0
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    devices = range(int(submission["resources"]["devices"]) // part["of"])
    submission["placement"] = {**submission["placement"], "devices": list(devices)}
    end = job_end(environment)
    submission["resources"] = {
        **submission["resources"],
        "minutes": minutes_left(submission, end),
        "memory_gib": submission["resources"]["memory_gib"] / part["of"],
    }
    submission["part"] = part
    server = [*description["command"], submission["request"]["stage"]]  # imports what this one stage needs
    node = node_of({**description, "command": server}, visible=visible or [str(device) for device in devices])
    try:
        report = _until_it_ends(node, submission, end, lambda: job_time(environment))
    finally:
        node.close()
    write_ended(work, report, part_name(ENDED, part["index"]))
    if not leads and report["ending"] != "ok":
        _let_the_first_end(work, submission)
    return 0 if report["ending"] == "ok" else 1


def _is_done(description: Mapping[str, Any], fingerprint: str) -> bool:
    """Whether the job has a COMMIT; a store that fails now is for the node, which is patient, to try again."""
    try:
        return fingerprint in store_of(description).commits()
    except (StoreError, OSError):
        return False


def _let_the_first_end(work: Path, submission: Mapping[str, Any]) -> None:
    """Wait until the node that leads has had its last word: srun kills it when this one ends with an error."""
    deadline = time.monotonic() + float(submission["request"]["execution"]["grace_s"]) + LAST_WORDS_S
    while read_ended(work, submission["attempt"]) is None and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def restarted(submission: Mapping[str, Any], restarts: int) -> dict[str, Any]:
    """The submission of a job that was put back into the queue: another attempt, from the newest checkpoint."""
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


def _lies(wish: Path) -> bool:
    """Whether the driver's wish is there; a file system that fails now is looked at again."""
    try:
        return wish.exists()
    except OSError:
        return False


def _until_it_ends(
    node: Node, submission: Mapping[str, Any], end: float, time_now: Callable[[], JobTime]
) -> dict[str, Any]:
    """Let the attempt run; a signal asks it to save and end, whoever sent it, and the end says why it came.

    `end` is when the job's time is over, seconds since 1970, as it was at the start; `time_now` asks the scheduler.
    """
    asked = threading.Event()
    name = str(submission["attempt"])
    said, said_at = "", 0.0

    def ask(number: int, _frame: Any) -> None:
        nonlocal said, said_at
        if not said:
            said, said_at = signal.Signals(number).name, time.time()
        asked.set()

    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    signal.signal(signal.SIGCONT, signal.SIG_IGN)  # SLURM sends it along with SIGTERM
    node.start(submission)
    stopped = False
    wish = Path(submission["request"]["work"]) / STOP
    while (report := node.poll()[name])["phase"] != "ended":
        if not stopped and (asked.is_set() or _lies(wish)):
            node.stop([name])
            stopped = True
        time.sleep(LOOK_S)
    if not said:
        return report
    if report["ending"] == "interrupted" and not _lies(wish):
        now = time_now()
        if now.preempted:  # SLURM calls a job that ends by itself, in time, FAILED
            return {**report, "ending": "preempted", "detail": f"{said} for another job: {report['detail']}"}
        if is_limit(submission, min(end, now.end), said_at):
            # Were it free, a job whose steps are longer than its limit would be tried again and again.
            return {**report, "ending": "timed_out", "detail": f"{said} ahead of the job's limit: {report['detail']}"}
    return {**report, "detail": f"{said}: {report['detail']}"}
