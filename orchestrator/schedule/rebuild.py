"""A new ledger from what lies in the store and in the attempt folders.

What only the ledger knew is lost: charges (jobs start with none) and cancellations. Nothing that is done is done again,
because done is a COMMIT and never a line of the ledger.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.host.checkpoints import FOLDER_DIGITS
from orchestrator.schedule.ledger import Attempt, Ledger
from orchestrator.schedule.requests import newest_step
from orchestrator.store.protocol import Commit, Store
from workloads.contract.reading import read_object
from workloads.contract.result import read_result

ENDINGS: Mapping[str, str] = {"stopped": "interrupted", "ok": "error"}
"""Endings of result.json that the ledger calls otherwise; `ok` without the COMMIT lost its race or its publication."""


def rebuilder(home: Path, store: Store) -> Callable[[Ledger], None]:
    """What `Ledger.open` calls for a new file."""
    return lambda ledger: from_folders(ledger, home, store)


def from_folders(ledger: Ledger, home: Path, store: Store) -> None:
    """Fill an empty ledger with the attempts found under `home` and the COMMITs of `store`."""
    winners: set[str] = set()
    for fingerprint in sorted(store.commits()):
        try:
            commit = store.read(fingerprint)
        except StoreError:
            continue  # a COMMIT that cannot be read says so where it is needed
        winners.add(commit.attempt)
        ledger.intend(_from_commit(commit))
    for path in sorted((home / "attempts").glob("*/*/request.json")):
        attempt = _from_request(path)
        if attempt is not None and attempt.id not in winners:
            ledger.intend(attempt)


def _from_commit(commit: Commit) -> Attempt:
    return Attempt(
        id=commit.attempt,
        fingerprint=commit.fingerprint,
        job=commit.job,
        label=commit.label,
        stage=commit.stage,
        backend="",
        intended=commit.started,
        started=commit.started,
        ended=commit.ended,
        ending="ok",
        detail="rebuilt from its COMMIT",
    )


def _from_request(path: Path) -> Attempt | None:
    try:
        request = read_object(path)
        fingerprint, job, attempt = str(request["fingerprint"]), str(request["job"]), str(request["attempt"])
        stage = str(request["stage"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if (fingerprint[:FOLDER_DIGITS], attempt) != (path.parent.parent.name, path.parent.name):
        return None  # another attempt's request: what it names lies elsewhere
    at = path.stat().st_mtime
    ending: str | None = None
    ended: float | None = None
    try:
        result = read_result(path.parent / "result.json")
        ending = ENDINGS.get(result.ending, result.ending)
        ended = (path.parent / "result.json").stat().st_mtime
    except (OSError, ValueError):
        pass  # it has not ended, or nobody will ever know: the next driver books it
    home = path.parents[3]
    return Attempt(
        id=attempt,
        fingerprint=fingerprint,
        job=job,
        label=job,
        stage=stage,
        backend="",
        intended=at,
        started=at,
        ended=ended,
        ending=ending,
        detail="rebuilt from its folder",
        step=newest_step(home, fingerprint, attempt),
    )
