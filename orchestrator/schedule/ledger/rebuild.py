"""Rebuild: a new ledger from the commit records of the store and the attempt folders.

What only the ledger held is lost: charges (jobs start with none) and cancellations. No completed job runs again,
because its commit record decides, never a row of the ledger. Attempts that may still run are open in the new ledger, at
the place on their host that their intent names, so that the next controller adopts them. Attempts that were followed by
another are recorded as interrupted, and are not charged again.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.host.checkpoints import JobCheckpoints, step_of
from orchestrator.plan.build import SMOKE_LABEL
from orchestrator.plan.durations import Duration
from orchestrator.schedule.launcher import read_intent
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.store.commits import FOLDER_DIGITS
from orchestrator.store.lineage import is_recognised
from orchestrator.store.protocol import Commit, Store
from workloads.contract.json_files import read_object
from workloads.contract.result import read_result

ENDINGS: Mapping[str, str] = {"stopped": "interrupted"}
"""Endings of result.json that the ledger calls otherwise."""

_NUMBERED = re.compile(r"a(\d+)-\w*(?:\.r(\d+))?")


def rebuilder(home: Path, store: Store) -> Callable[[Ledger], None]:
    """What `Ledger.open` calls for a new file."""
    return lambda ledger: from_folders(ledger, home, store)


def from_folders(ledger: Ledger, home: Path, store: Store) -> None:
    """Add attempts and durations found under `home` and in the commit records of `store`; rows that are there stay."""
    known = {attempt.id for attempt in ledger.attempts()}
    winners: dict[str, Attempt] = {}
    for fingerprint in sorted(store.commits()):
        try:
            commit = store.read(fingerprint)
        except StoreError:
            continue  # a job that needs this artifact reports the error
        if is_recognised(commit):
            continue  # no attempt has run
        winners[commit.attempt] = _from_commit(commit)
        if commit.ended > commit.started and not commit.taken:  # how much of a job it made, no record says
            ledger.record_duration(_duration_of(commit))
    found = [*winners.values()]
    for folder in (home / "attempts").glob("*/*"):
        attempt = _from_folder(home, folder)
        if attempt is not None and attempt.id not in winners:
            found.append(attempt)
    # Rows are in the order of attempt numbers, not of a clock.
    found.sort(key=lambda one: (one.fingerprint, _number(one.id), one.id))
    for attempt, after in zip_longest(found, found[1:]):
        if attempt.id not in known:
            ledger.record_intent(_followed(attempt, after))


def _followed(attempt: Attempt, after: Attempt | None) -> Attempt:
    """The attempt to record: only the last of a job may still run, since each starts when the one before has ended."""
    if attempt.ending is not None or after is None or after.fingerprint != attempt.fingerprint:
        return attempt
    return replace(attempt, ending="interrupted", ended=after.intended)


def _number(attempt: str) -> tuple[int, int]:
    """Its place among the attempts of its job, and how often SLURM has put it back into the queue."""
    name = _NUMBERED.match(attempt)
    return (int(name[1]), int(name[2] or 0)) if name else (0, 0)


def _from_commit(commit: Commit) -> Attempt:
    return Attempt(
        id=commit.attempt,
        fingerprint=commit.fingerprint,
        job=commit.job,
        label=commit.label,
        stage=commit.stage,
        host="",
        intended=commit.started,
        started=commit.started,
        ended=commit.ended,
        ending="ok",
        detail="rebuilt from its commit record",
    )


def _duration_of(commit: Commit) -> Duration:
    """Of the attempt that committed; row, FLOPs, places and the backend are in no commit record."""
    return Duration(
        fingerprint=commit.fingerprint,
        stage=commit.stage,
        branch=commit.branch or "",
        row="",
        smoke=commit.label.endswith(SMOKE_LABEL),
        profile="",
        backend="",
        kind=commit.host_kind,
        cpus=0,
        devices=0,
        flops=None,
        seconds=commit.ended - commit.started,
    )


def _from_folder(home: Path, folder: Path) -> Attempt | None:
    """An attempt as its folder describes it; None where that holds neither an intent nor a request."""
    attempt = read_intent(folder) or _from_request(folder / "request.json")
    if attempt is None or (attempt.fingerprint[:FOLDER_DIGITS], attempt.id) != (folder.parent.name, folder.name):
        return None  # another attempt's: what it names lies elsewhere
    ending: str | None = None
    ended: float | None = None
    try:
        result = read_result(folder / "result.json")
        if result.ending != "ok":  # one that is `ok` may be about to commit
            ending = ENDINGS.get(result.ending, result.ending)
            ended = (folder / "result.json").stat().st_mtime
    except (OSError, ValueError):
        pass  # it has not ended, or cannot be known: the next controller finds out
    started: float | None = None
    with contextlib.suppress(OSError):
        started = (folder / "request.json").stat().st_mtime
    step = step_of(JobCheckpoints(home, attempt.fingerprint, attempt.id).newest())
    return replace(attempt, started=started, ended=ended, ending=ending, detail="rebuilt from its folder", step=step)


def _from_request(path: Path) -> Attempt | None:
    try:
        request = read_object(path)
        fingerprint, job, attempt = str(request["fingerprint"]), str(request["job"]), str(request["attempt"])
        stage, at = str(request["stage"]), path.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Attempt(id=attempt, fingerprint=fingerprint, job=job, label=job, stage=stage, host="", intended=at)
