"""Recomputing completed jobs (`--refresh JOB`): withdraws the commit records of a job and of everything made from it.

Records are withdrawn furthest downstream first, so that none is ever left without its inputs, even after a crash; the
same command then continues. Dependencies are read from the commit records, so that jobs of other profiles and earlier
plans are included.

With a job that has items, all results are withdrawn that were made in the same way: an older or smaller study's would
else be taken over instead of being made again.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.host.checkpoints import JobCheckpoints
from orchestrator.plan.fingerprint import base_of
from orchestrator.plan.job import Plan, Standing
from orchestrator.plan.select import find_jobs
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.shared_lease import acquire_study
from orchestrator.store.protocol import Commit, Store
from orchestrator.study import Study
from orchestrator.wording import shortened_lines

SHOWN = 20
"""Labels that are printed; the others are counted."""
OF_NO_PLAN = " (not of this plan)"
"""End of the label of a result that this plan does not have."""


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """A commit record that is to be withdrawn."""

    fingerprint: str
    label: str


def to_withdraw(
    plan: Plan, store: Store, fingerprints: Iterable[str], *, alike: bool = False
) -> tuple[Withdrawal, ...]:
    """List the commit records of these jobs and of everything made from them, furthest downstream first.

    Args:
        plan: of the study.
        store: of the study.
        fingerprints: of jobs, done or not.
        alike: also results of which items would be taken over, and what was made from those.

    Raises:
        StoreError: the store cannot be listed.
    """
    committed = store.commits()
    read: dict[str, Commit] = {}
    for fingerprint in committed:
        try:
            read[fingerprint] = store.read(fingerprint)
        except StoreError:
            continue  # a damaged record: the plan knows its dependents
    made_from: dict[str, set[str]] = {}
    for fingerprint, commit in read.items():
        for source in commit.inputs.values():
            made_from.setdefault(str(source.get("fingerprint")), set()).add(fingerprint)
    for job in plan.jobs.values():
        for need in job.inputs.values():
            made_from.setdefault(plan.jobs[need].fingerprint, set()).add(job.fingerprint)
    labels = {job.fingerprint: job.label for job in plan.jobs.values()}
    labels |= {name: f"{commit.label}{OF_NO_PLAN}" for name, commit in read.items() if name not in labels}
    begin = _with_those_alike(fingerprints, committed, made_from) if alike else fingerprints
    order = _downstream_first(begin, made_from)
    unread = f"a result whose record cannot be read{OF_NO_PLAN}"
    return tuple(Withdrawal(fingerprint=name, label=labels.get(name, unread)) for name in order if name in committed)


def withdraw(home: Path, store: Store, withdrawals: Sequence[Withdrawal]) -> None:
    """Withdraw these commit records in this order, and delete the checkpoints of their jobs.

    Raises:
        LeaseError: a run is in progress.
        StoreError, LedgerError: a record cannot be withdrawn, or the retry counts of a job not reset.
    """
    rebuild = rebuilder(home, store)
    with acquire_study(home, store.objects) as lease, Ledger.open(home / NAME, lease.check, rebuild=rebuild) as ledger:
        for one in withdrawals:
            lease.confirm()
            # Checkpoints first, since the next attempt would resume from them.
            JobCheckpoints(home, one.fingerprint).drop()
            if store.checkpoints is not None:
                store.checkpoints.drop(one.fingerprint)
            ledger.reset_job(one.fingerprint)
            with contextlib.suppress(ArtifactMissing):  # withdrawn from another machine
                store.withdraw(one.fingerprint)


def find_withdrawals(study: Study, names: Sequence[str] | None) -> tuple[Withdrawal, ...]:
    """List what `--refresh` of these jobs withdraws."""
    if not names:
        return ()
    wanted = [job.fingerprint for job in find_jobs(study.plan, names)]
    return to_withdraw(study.plan, study.store, wanted, alike=True)


def find_made_again(study: Study, selected: Collection[str]) -> tuple[Withdrawal, ...]:
    """List the results that are made again because `gc` has removed their videos and a selected job reads them.

    What was made from them stays: the same job gives the same bits on the same kind of machine, and `audit` tells where
    it has not.
    """
    again = study.made_again(study.store.commits(), selected)
    return tuple(
        Withdrawal(fingerprint=job.fingerprint, label=job.label)
        for job in study.plan.jobs.values()
        if job.fingerprint in again
    )


def withdrawals_text(withdrawals: Sequence[Withdrawal]) -> str:
    """The results to withdraw, as shown before the user confirms."""
    if not withdrawals:
        return "nothing to withdraw: neither these jobs nor any made from their results are done"
    lines = [f"results to withdraw, furthest downstream first ({len(withdrawals)})"]
    return "\n".join([*lines, *shortened_lines([f"  {one.label}" for one in withdrawals], SHOWN)])


def standings_without(study: Study, withdrawals: Sequence[Withdrawal]) -> Mapping[str, Standing]:
    """The state of every job after a withdrawal: the dry run of `plan --refresh`."""
    gone = frozenset(one.fingerprint for one in withdrawals)
    again = Standing(state="new", reason="to be refreshed")
    return {
        job_id: again if study.plan.jobs[job_id].fingerprint in gone and standing.state == "new" else standing
        for job_id, standing in study.standings(gone).items()
    }


def _with_those_alike(begin: Iterable[str], committed: Iterable[str], made_from: Mapping[str, set[str]]) -> list[str]:
    """These and everything made from them, with all results of the same bases and everything made from those."""
    by_base: dict[str, list[str]] = {}
    for name in sorted(committed):
        by_base.setdefault(base_of(name), []).append(name)
    found: dict[str, None] = {}
    open_ = list(begin)
    while open_:
        name = open_.pop()
        if name not in found:
            found[name] = None
            open_ += [*by_base.get(base_of(name), ()), *sorted(made_from.get(name, ()))]
    return list(found)


def _downstream_first(begin: Iterable[str], made_from: dict[str, set[str]]) -> list[str]:
    """Everything reachable, each after everything made from it."""
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
