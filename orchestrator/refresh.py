"""`run --refresh JOB`: make a job's artifact again, and all that was made from it.

COMMITs are withdrawn furthest first, so that at no moment one stands whose input is gone: whoever
dies in the middle leaves a store in which everything that is committed is whole, and saying it
again goes on. What was made from what is read from the COMMITs themselves: jobs of other profiles
and of earlier plans count too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.host.checkpoints import drop_checkpoints
from orchestrator.plan.job import Plan, Standing
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.store.protocol import Commit, Store
from orchestrator.study import Study


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """One COMMIT that is to be withdrawn."""

    fingerprint: str
    label: str


def to_withdraw(plan: Plan, store: Store, fingerprints: Iterable[str]) -> tuple[Withdrawal, ...]:
    """The COMMITs of these and of all that was made from them, furthest first; nothing is changed.

    Raises:
        StoreError: the store cannot be listed.
    """
    committed = store.commits()
    read: dict[str, Commit] = {}
    for fingerprint in committed:
        try:
            read[fingerprint] = store.read(fingerprint)
        except StoreError:
            continue  # a broken COMMIT is known by its name alone: the plan says what needs it
    made_from: dict[str, set[str]] = {}
    for fingerprint, commit in read.items():
        for source in commit.inputs.values():
            made_from.setdefault(str(source.get("fingerprint")), set()).add(fingerprint)
    for job in plan.jobs.values():
        for need in job.inputs.values():
            made_from.setdefault(plan.jobs[need].fingerprint, set()).add(job.fingerprint)
    labels = {job.fingerprint: job.label for job in plan.jobs.values()}
    labels |= {name: f"{commit.label} (not of this plan)" for name, commit in read.items() if name not in labels}
    order = _needs_last(fingerprints, made_from)
    return tuple(Withdrawal(fingerprint=name, label=labels[name]) for name in order if name in committed)


def withdraw(home: Path, store: Store, withdrawals: Sequence[Withdrawal]) -> None:
    """Withdraw these COMMITs in this order, with what is left of their attempts' checkpoints.

    Raises:
        LeaseError: a driver runs the study.
        StoreError, LedgerError: a COMMIT cannot be put aside, or what is held against a job not forgotten.
    """
    with acquire(home) as lease, Ledger.open(home / NAME, lease.check, rebuild=rebuilder(home, store)) as ledger:
        for one in withdrawals:
            lease.check()
            # First what an earlier attempt left: with the COMMIT gone, the next one would go on from there.
            drop_checkpoints(home, one.fingerprint)
            ledger.reset_job(one.fingerprint)
            if one.fingerprint in store.commits():  # else another machine's `--refresh` was quicker
                store.withdraw(one.fingerprint)


def look_without(study: Study, withdrawals: Sequence[Withdrawal]) -> Mapping[str, Standing]:
    """Where every job would stand after a withdrawal: the dry run of `plan --refresh`."""
    gone = frozenset(one.fingerprint for one in withdrawals)
    again = Standing(state="new", reason="to be refreshed")
    return {
        job_id: again if study.plan.jobs[job_id].fingerprint in gone and standing.state == "new" else standing
        for job_id, standing in study.look(gone).items()
    }


def _needs_last(begin: Iterable[str], made_from: dict[str, set[str]]) -> list[str]:
    """All that can be reached, each after everything that was made from it."""
    done: dict[str, None] = {}
    open_: list[tuple[str, bool]] = [(name, False) for name in begin]
    while open_:
        name, followed = open_.pop()
        if name in done:
            continue
        if followed:
            done[name] = None
        else:
            open_.append((name, True))
            open_ += [(after, False) for after in sorted(made_from.get(name, ())) if after not in done]
    return list(done)
