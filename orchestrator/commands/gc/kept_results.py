"""Which results `gc` keeps: by what the profiles need now, and by what the ledger says that runs asked for.

Runs are not planned anew: their matrix file, its workload or its profiles may have changed since, and what they made
is theirs all the same. What was made by another matrix file of the same study, or by a run that the ledger does not
know (it was rebuilt, or an older version kept no record), is removed only when it is named.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import PlanError, StoreError
from orchestrator.opening import plans_of_profiles
from orchestrator.plan.job import Plan
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.recorded_runs import RecordedRun, text_of
from orchestrator.schedule.shared_runs import SharedRun, shared_runs
from orchestrator.spec.lines import nearest
from orchestrator.store.protocol import Store
from orchestrator.study import Study

KEEP_DAYS = 30.0
"""How long results of runs of this matrix file are kept that nothing else needs."""
RECENT = "recent"
"""Name for what runs of this file asked for in the last days."""
UNKNOWN = "unknown"
"""Name for what no recorded run asked for."""
DAY_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Jobs that only the runs of one file asked for."""

    name: str
    """Path of the matrix file, `RECENT` or `UNKNOWN`."""
    fingerprints: frozenset[str]
    at: float = 0.0
    """When its last run began, seconds since 1970; 0: not known."""
    elsewhere: bool = False
    """Runs of another home that shares the store: kept for `KEEP_DAYS` at least, and only `gc` there may remove them
    earlier."""


@dataclass(frozen=True, kw_only=True)
class KeptResults:
    """Which jobs keep their files; all sets are of fingerprints."""

    here: frozenset[str]
    """What this file needs: its profiles, its last run, and its runs of the last days."""
    wanted: frozenset[str]
    """These, and what others asked for that are not named."""
    kept: frozenset[str]
    """Completed jobs that are wanted, and all that they were made from."""
    removable: frozenset[str]
    """All other completed jobs; each that was made from one of them is one of them."""
    released: frozenset[str]
    """What was asked for by runs that are too old or whose file is named."""
    unknown: bool
    """Whether files of jobs that no recorded run asked for are removed too."""
    apart: Sequence[Origin]
    """What is kept although neither a profile nor the last run of this file needs it."""
    last: int
    """Number of the newest run of any file; 0: none is recorded."""
    forgettable: Sequence[int]
    """Runs of which nothing is left once the rest is removed, but for what another recorded run asked for."""
    read: frozenset[str] = frozenset()
    """Completed jobs that a job reads which is not done, in the plan or at the scale of a profile."""
    shared: Sequence[str] = ()
    """Keys of the runs of all homes that share the store."""
    forgettable_shared: Sequence[str] = ()
    """Those of them that keep nothing any more."""


def kept_results(study: Study, *, keep_days: float = KEEP_DAYS, made_by: Sequence[str] = ()) -> KeptResults:
    """Decide about every completed job.

    Those of every row of the matrix are needed at the scale of every profile, whichever rows a profile has.

    Args:
        study: as the last run of its file planned it.
        keep_days: how long a run of this file keeps what it asked for; one of another home, `KEEP_DAYS` at least.
        made_by: other matrix files whose results are removed too, or `unknown`.

    Raises:
        MatrixError: a profile of the matrix cannot be planned.
        PlanError: no run of a file in `made_by` is recorded.
        StoreError, LedgerError: the store or ledger cannot be read.
    """
    # A row outside every profile may have been asked for elsewhere.
    plans = [study.plan, *plans_of_profiles(study.matrix)]
    needed = {job.fingerprint for plan in plans for job in plan.jobs.values()}
    with Ledger.read(study.home / NAME) as ledger:
        runs = ledger.recorded_runs()
        asked = {run.number: ledger.asked_for(run.number) for run in runs}
    mine = [run for run in runs if run.is_of(study.matrix, study.home)]
    needed |= {one for run in mine[-1:] for one in asked[run.number]}
    since = time.time() - keep_days * DAY_S
    recent = [run for run in mine if run.at > since]
    here = frozenset(needed).union(*(asked[run.number] for run in recent))
    committed = study.store.commits()
    shared = shared_runs(study.store.objects)
    own = [run for run in shared if run.is_of(study.home)]
    of_others = [run for run in shared if not run.is_of(study.home)]
    others_since = min(since, time.time() - KEEP_DAYS * DAY_S)
    elsewhere = _homes([run for run in of_others if run.at > others_since])
    others = _others(study.home, [run for run in runs if run.matrix and run not in mine], asked)
    known = here.union(*asked.values(), *(one.fingerprints for one in elsewhere))
    unknown = Origin(name=UNKNOWN, fingerprints=committed - known)
    named = _named([*others, unknown], made_by)
    left = [one for one in (*others, unknown) if one.name not in named]
    left += elsewhere
    wanted = here.union(*(one.fingerprints for one in left))
    kept = _with_sources(study.store, wanted & committed, committed)
    old = [run for run in runs if run not in recent and run not in mine[-1:]]
    released = [run for run in old if run in mine or run.file(study.home) in named]
    also = frozenset().union(*(asked[run.number] for run in runs if run not in released))
    return KeptResults(
        here=here,
        wanted=wanted,
        kept=kept,
        removable=committed - kept,
        released=frozenset().union(*(asked[run.number] for run in released)),
        unknown=UNKNOWN in named,
        apart=[
            Origin(name=RECENT, fingerprints=here - needed),
            *(replace(one, fingerprints=one.fingerprints - here) for one in left),
        ],
        last=runs[-1].number if runs else 0,
        forgettable=[run.number for run in released if asked[run.number] & kept <= also],
        read=_read_by_open_jobs(plans, committed),
        shared=[run.key for run in shared],
        forgettable_shared=[
            *(run.key for run in of_others if run.at <= others_since),
            *_superseded(own, study.matrix, named, since),
        ],
    )


def _read_by_open_jobs(plans: Iterable[Plan], committed: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for plan in plans:
        for job in plan.jobs.values():
            if job.fingerprint not in committed:
                found |= {plan.jobs[need].fingerprint for need in job.inputs.values()}
    return committed & found


def _superseded(own: Sequence[SharedRun], matrix: Path, named: Collection[str], since: float) -> list[str]:
    """Keys of runs of this home that keep nothing, as `gc` decides here about the ledger's.

    Args:
        own: runs of this home in the store, oldest first.
        matrix: the file that `gc` was called for.
        named: matrix files of which nothing is kept.
        since: up to when runs of that file keep nothing, but for its last.
    """
    mine = [run for run in own if run.matrix == text_of(matrix.resolve())]
    return [
        run.key for run in own if (run in mine[:-1] and run.at <= since) or (run not in mine and run.matrix in named)
    ]


def _homes(runs: Iterable[SharedRun]) -> list[Origin]:
    """What runs of other homes asked for, by their matrix file and machine."""
    found: dict[str, Origin] = {}
    for run in runs:
        before = found.get(run.origin, Origin(name=run.origin, fingerprints=frozenset()))
        asked = before.fingerprints | run.fingerprints
        found[run.origin] = Origin(name=run.origin, fingerprints=asked, at=run.at, elsewhere=True)
    return list(found.values())


def _others(home: Path, runs: Iterable[RecordedRun], asked: dict[int, frozenset[str]]) -> list[Origin]:
    """What each other matrix file asked for, in the order of their first runs."""
    found: dict[str, Origin] = {}
    for run in runs:
        name = run.file(home)
        before = found.get(name, Origin(name=name, fingerprints=frozenset()))
        found[name] = Origin(name=name, fingerprints=before.fingerprints | asked[run.number], at=max(before.at, run.at))
    return list(found.values())


def _named(origins: Collection[Origin], made_by: Sequence[str]) -> set[str]:
    """The names that are given.

    Raises:
        PlanError: no such origin.
    """
    names = [one.name for one in origins]
    found: set[str] = set()
    for text in made_by:
        name = text if text == UNKNOWN else text_of(Path(text).resolve())
        if name not in names:
            raise PlanError(
                f"--made-by is {text!r}, of which no run of this study is recorded{nearest(name, names)} "
                f"(recorded: {', '.join(names)})"
            )
        found.add(name)
    return found


def _with_sources(store: Store, wanted: Iterable[str], committed: frozenset[str]) -> frozenset[str]:
    """These completed jobs, and all completed ones that they were made from."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        fingerprint = waiting.pop()
        if fingerprint in found or fingerprint not in committed:
            continue
        found.add(fingerprint)
        try:
            waiting += [str(source.get("fingerprint")) for source in store.read(fingerprint).inputs.values()]
        except StoreError:
            continue  # a damaged record: the recorded runs know what it was made from
    return frozenset(found)
