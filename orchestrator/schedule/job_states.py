"""State machine of the jobs of a run: pure, no clock, no files.

Built once from commits and ledger, then changed by `apply`; a transition that `LEGAL` does not list raises with the
job's history. A transition costs only what it changes (its job and the dependants whose last need it was), so that
60,000 jobs are as cheap as 60. Only the reconciler calls what changes it.

A job that continues shorter ones of its base waits for those that are open (`plan/continued.py`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import OrchestratorError
from orchestrator.plan.continued import shorter_jobs
from orchestrator.plan.diff import History
from orchestrator.plan.job import Job, Plan, Standing, State
from workloads.contract.request import Stage

Kind = Literal["submitted", "started", "unknown", "done", "again", "failed", "cancelled"]

LIVE: frozenset[State] = frozenset({"waiting", "running", "unknown"})
STUCK: frozenset[State] = frozenset({"failed", "cancelled"})
HISTORY = 20
"""Transitions of a job that are remembered for the message of an illegal one."""


LEGAL: Mapping[Kind, frozenset[State]] = {
    "submitted": frozenset({"new", "retry", *LIVE}),
    "started": LIVE,
    "unknown": LIVE,
    "done": frozenset({"new", "retry", *LIVE, *STUCK}),
    "again": frozenset({*LIVE, *STUCK}),
    "failed": frozenset({"new", "retry", *LIVE}),
    "cancelled": frozenset({"new", "retry", *LIVE, *STUCK}),
}
"""Transition -> states in which it may happen. A done job ignores all: a commit outranks whatever comes later."""

STATE_AFTER: Mapping[Kind, State] = {
    "submitted": "waiting",
    "started": "running",
    "unknown": "unknown",
    "done": "done",
    "again": "retry",
    "failed": "failed",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Something that happened to one job."""

    job: str
    kind: Kind
    reason: str = ""


class IllegalTransition(OrchestratorError):
    """A transition that the table does not allow: a bug of the controller."""


def closure(plan: Plan, selected: Iterable[str], committed: Collection[str]) -> list[str]:
    """The selected jobs and what they need that is not done, in the plan's order.

    Raises:
        KeyError: a selected id that the plan does not have.
    """
    found: set[str] = set()
    stack = list(dict.fromkeys(selected))
    while stack:
        job = plan.jobs[stack.pop()]
        if job.id in found:
            continue
        found.add(job.id)
        if job.fingerprint not in committed:
            stack.extend(need for need in job.needs if plan.jobs[need].fingerprint not in committed)
    return [job_id for job_id in plan.jobs if job_id in found]


class JobStates:
    """The states of the jobs of a run.

    Args:
        plan: the whole matrix.
        requested: ids of the jobs, with their needs (`closure`).
        committed: fingerprints of done jobs.
        recorded: fingerprint -> what the ledger says of the job.
        keeps_states: whether a longer job will find the state of a shorter one; else it does not wait for it.
    """

    def __init__(
        self,
        plan: Plan,
        requested: Iterable[str],
        committed: Collection[str],
        recorded: Mapping[str, History],
        *,
        keeps_states: bool = True,
    ) -> None:
        self._jobs: dict[str, Job] = {job_id: plan.jobs[job_id] for job_id in requested}
        self._own: dict[str, State] = {}
        self._reasons: dict[str, str] = {}
        self._dependants: dict[str, list[str]] = {}
        self._unmet: dict[str, int] = {}
        self._ready: set[str] = set()
        self._paused: dict[Stage, str] = {}
        self._unplaceable: dict[str, str] = {}
        self._tally: Counter[State] = Counter()
        self._history: dict[str, list[str]] = {}
        self._shorter: Mapping[str, Sequence[Job]] = {}
        self._longer: dict[str, list[str]] = {}
        for job in self._jobs.values():
            if job.fingerprint in committed:
                self._own[job.id] = "done"
                continue
            known = recorded.get(job.fingerprint, History(attempts=0, state=None))
            if known.state in STUCK:
                self._own[job.id] = known.state
            else:
                gone = known.state == "done"  # it was done, and its artifact is gone: `status` calls it new too
                self._own[job.id] = "retry" if known.attempts and not gone else "new"
            self._reasons[job.id] = known.reason
            unmet = [need for need in job.needs if self._own.get(need) != "done" and need in self._jobs]
            self._unmet[job.id] = len(unmet)
            for need in unmet:
                self._dependants.setdefault(need, []).append(job.id)
            if not unmet and self._own[job.id] not in STUCK:
                self._ready.add(job.id)
        self._tally.update(self._own.values())
        self._shorter = shorter_jobs(self._jobs[job] for job in self.open_jobs()) if keeps_states else {}
        for job_id, before in self._shorter.items():
            for one in before:
                self._longer.setdefault(one.id, []).append(job_id)

    def apply(self, change: Transition) -> tuple[str, ...]:
        """Apply one transition; returns the jobs that became ready by it.

        Raises:
            IllegalTransition: `LEGAL` does not allow it; the message holds the job's history.
        """
        job = change.job
        before = self._own[job]
        if before != "done" and before not in LEGAL[change.kind]:
            raise IllegalTransition(self._explained(change))
        self._ready.discard(job)
        if before == "done":
            return ()
        history = self._history.setdefault(job, [])
        history.append(f"{before} -{change.kind}->")
        del history[:-HISTORY]
        after = STATE_AFTER[change.kind]
        self._tally[before] -= 1
        self._tally[after] += 1
        self._own[job], self._reasons[job] = after, change.reason
        if after == "done":
            del self._history[job]
            return (*self._release(job), *self._let_go(self._longer.get(job, ())))
        if after == "retry" and not self._unmet[job]:
            self._ready.add(job)
            return (job,)
        return self._let_go(self._shorter) if after in STUCK else ()

    def pause(self, stages: Mapping[Stage, str]) -> None:
        """Set the paused stages, each with its reason; replaces the earlier ones."""
        self._paused = dict(stages)

    def set_unplaceable(self, jobs: Mapping[str, str]) -> None:
        """Set the jobs that fit on no host, each with its reason; replaces the earlier ones."""
        self._unplaceable = dict(jobs)

    def job(self, job: str) -> Job:
        """A job by its id."""
        return self._jobs[job]

    def state(self, job: str) -> State:
        """Where one job stands; `blocked` by a need, a pause or a lack of room is found by `standing`."""
        return self._own[job]

    def standing(self, job: str) -> Standing:
        """Where one job stands, and why."""
        return self._standing(job, self._blockers([job]))

    def standings(self) -> dict[str, Standing]:
        """Where all jobs stand, in the plan's order."""
        blocked = self._blockers(self._jobs)
        return {job: self._standing(job, blocked) for job in self._jobs}

    def is_ready(self, job: str) -> bool:
        """Whether all needs of a job are done and only a place is missing."""
        able = job in self._ready and self._jobs[job].stage not in self._paused and job not in self._unplaceable
        return able and self._held_by(job) is None

    def any_ready(self) -> bool:
        """Whether any job is ready."""
        if not self._paused and not self._unplaceable and not self._shorter:
            return bool(self._ready)
        return any(self.is_ready(job) for job in self._ready)

    def ready(self) -> list[Job]:
        """The jobs that are ready."""
        return [self._jobs[job] for job in self._ready if self.is_ready(job)]

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        if not (self._tally["failed"] or self._tally["cancelled"] or self._paused or self._unplaceable):
            return {state: number for state, number in self._tally.items() if number}
        return dict(Counter(standing.state for standing in self.standings().values()))

    def open_jobs(self) -> list[str]:
        """Jobs that are not done, in the plan's order."""
        return [job for job, state in self._own.items() if state != "done"]

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: object) -> bool:
        return job in self._jobs

    def _standing(self, job: str, blocked: Mapping[str, str]) -> Standing:
        if job in blocked:
            return Standing(state="blocked", reason=blocked[job])
        reason = self._reasons.get(job, "")
        if job in self._shorter and not reason and (shorter := self._held_by(job)) is not None:
            reason = f"begins at step {shorter.step}, once {shorter.label} is done"
        return Standing(state=self._own[job], reason=reason)

    def _held_by(self, job: str) -> Job | None:
        """The longest shorter job that a job waits for, since it begins with its state; None: none.

        It waits for none that may never be done, and no more once it has begun by itself.
        """
        if job not in self._shorter or self._own[job] != "new":
            return None
        waits_for = (one for one in reversed(self._shorter[job]) if self._own[one.id] not in ("done", *STUCK))
        return next((one for one in waits_for if not self._blockers([one.id])), None)

    def _let_go(self, jobs: Iterable[str]) -> tuple[str, ...]:
        """Those of some longer jobs that are ready, after a shorter one, or what it needs, is done or stuck."""
        return tuple(job for job in jobs if self.is_ready(job))

    def _explained(self, change: Transition) -> str:
        state = self._own[change.job]
        history = " ".join([*self._history.get(change.job, ()), state])
        return (
            f"{self._jobs[change.job].label}: no transition {change.kind!r} from state {state!r}; the job's history in "
            f"this run: {history}. This is a bug of echo-matrix: report it with driver.log; `run` continues the study"
        )

    def _release(self, job: str) -> tuple[str, ...]:
        freed: list[str] = []
        for dependant in self._dependants.pop(job, ()):
            self._unmet[dependant] -= 1
            if self._unmet[dependant] == 0 and self._own[dependant] in ("new", "retry"):
                self._ready.add(dependant)
                freed.append(dependant)
        return tuple(freed)

    def _blockers(self, jobs: Iterable[str]) -> dict[str, str]:
        """Reason of each of `jobs` that is blocked. Needs come before needers in the plan, so one pass would do."""
        found: dict[str, str | None] = {}

        def blocker(job: str) -> str | None:
            if job in found:
                return found[job]
            reason: str | None = None
            if self._own[job] in ("new", "retry"):
                for need in self._jobs[job].needs:
                    if need not in self._jobs:
                        continue
                    if self._own[need] in STUCK:
                        reason = f"needs {self._jobs[need].label}, which is {self._own[need]}"
                    elif blocker(need) is not None:
                        reason = f"needs {self._jobs[need].label}, which is blocked"
                    if reason is not None:
                        break
                else:
                    stage = self._jobs[job].stage
                    if stage in self._paused:
                        reason = f"stage {stage} is paused: {self._paused[stage]}"
                    else:
                        reason = self._unplaceable.get(job)
            found[job] = reason
            return reason

        return {job: reason for job in jobs if (reason := blocker(job)) is not None}
