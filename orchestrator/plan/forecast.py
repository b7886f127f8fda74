"""Forecast: how long jobs take, what they cost, and when the last of them ends. Pure.

This is the only place that estimates durations: `plan`, `status`, the first lines and the ETA of a run, placement and
time limits all use it. The basis of a job's estimate is

* `measured`: jobs of its stage that ended well on this kind of device, those of its row before those of its branch and
  the others (`estimates.py`); in proportion to the FLOPs if these are known, and else only of the same profile, since
  nothing else tells how large a job is;
* `flops`: its FLOPs, at the rate of the other stages that were measured, else at an assumed rate;
* `guess`: such jobs of other profiles, else the stage's `seconds_guess`, in the proportion in which the measured stages
  differ from theirs.

Device-hours are devices times hours, core-hours are cpus times hours of jobs without devices.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.plan.continued import as_chained, shorter_jobs
from orchestrator.plan.durations import SHARED, Duration, MeasuredDurations, comparable
from orchestrator.plan.estimates import (
    ASSUMED_SIGMA,
    BASES,
    ELSEWHERE_SIGMA,
    FLOPS_SIGMA,
    GUESS_SIGMA,
    Basis,
    JobEstimate,
    LogNormal,
    quantile_of_sum,
)
from orchestrator.plan.job import Job, Plan, State
from orchestrator.plan.makespan import Capacity, makespan

DEVICE_FLOPS_S = 1.0e14
"""Assumed FLOP/s of an accelerator until one was measured: a third of what an A100 promises in bfloat16."""
CORE_FLOPS_S = 3.0e10
"""Assumed FLOP/s of a processor until one was measured: 27 to 41 GFLOP/s in trainings on one core of an AMD EPYC."""

IDLE_S = 1.0
"""Guessed duration, s, of a job that computes nothing."""

FIXED_SHARE = 0.2
"""Assumed share of a job's time that does not depend on how many items it makes: to start, to read, to publish."""

AHEAD: frozenset[State] = frozenset({"new", "retry", "waiting", "running", "unknown"})
"""States of jobs that are to be run, or run."""


@dataclass(frozen=True, kw_only=True)
class LiveTime:
    """Time of a job's live attempt, s."""

    elapsed_s: float
    """Since it started; 0: it has not."""
    left_s: float | None = None
    """Until its end, at its pace; None: not known."""

    def left_of(self, estimate: JobEstimate) -> float:
        """Until its end: at its pace, which outranks the estimate of its duration; else what is left of that."""
        return estimate.left_s(self.elapsed_s) if self.left_s is None else self.left_s


@dataclass(frozen=True, kw_only=True)
class RowForecast:
    """Estimated cost of some jobs of one row."""

    row: str
    jobs: int
    hours: float
    """Sum over the jobs, as if one ran after the other."""
    device_hours: float
    core_hours: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Estimated cost of some jobs, and how long they take on a capacity."""

    rows: tuple[RowForecast, ...]
    """In the order of the plan, the shared jobs first."""
    bases: Mapping[Basis, int]
    """Basis -> number of jobs, for those that occur."""
    is_assumed: bool
    """Whether FLOPs of a job were divided by an assumed rate."""
    kind: str
    """The kind of device on which was measured; empty: nothing was."""
    is_known: bool
    """Whether anything was measured, or the FLOPs of a job are known."""
    makespan_s: float
    """Lower bound of the time until the last job ends: the longest chain of jobs, or the work over the capacity."""
    capacity: Capacity
    device_hours_p95: float = 0.0
    """Device-hours that are not exceeded in 95 of 100 such cases; `device_hours` are the median."""
    core_hours_p95: float = 0.0
    """The same of core-hours."""

    @property
    def is_first_guess(self) -> bool:
        """Whether it rests on assumed rates or guesses alone: it may be wrong several times over."""
        return self.is_assumed or set(self.bases) == {"guess"}

    @property
    def jobs(self) -> int:
        """Number of jobs."""
        return sum(row.jobs for row in self.rows)

    @property
    def hours(self) -> float:
        """Sum over the jobs, as if one ran after the other."""
        return sum(row.hours for row in self.rows)

    @property
    def device_hours(self) -> float:
        """Devices times hours."""
        return sum(row.device_hours for row in self.rows)

    @property
    def core_hours(self) -> float:
        """Cpus times hours of jobs without devices."""
        return sum(row.core_hours for row in self.rows)


class Forecaster:
    """Estimates jobs of a plan from durations.

    Args:
        plan: the whole matrix.
        durations: in the order in which they were measured.
        backend: where the jobs will run; the newest kind of device that was measured there is taken.
        left: share of a job's work that is left, once what others have made is taken over; all by default.
    """

    def __init__(
        self,
        plan: Plan,
        durations: Iterable[Duration] = (),
        backend: str = "",
        left: Callable[[Job], float] | None = None,
    ) -> None:
        self._plan = plan
        self._left = left
        self._rows = {cell.id: cell.row for cell in plan.cells}
        self._rowless = plan.workload.rowless
        self._flops: Mapping[str, float] | None = None
        self._classes = {with_devices: MeasuredDurations(backend) for with_devices in (False, True)}
        self._known: dict[tuple[object, ...], JobEstimate] = {}
        self._version = 0
        planned: Mapping[str, Job] | None = None
        for one in durations:
            found: Duration | None = one
            if one.flops is None or not one.cpus:  # of an older or of a rebuilt ledger
                planned = planned or {job.fingerprint: job for job in plan.jobs.values()}
                found = self._completed(one, planned.get(one.fingerprint))
            if found is not None:
                self._classes[found.devices > 0].add(found)

    def _completed(self, one: Duration, job: Job | None) -> Duration | None:
        """A duration with what the plan knows of its job; None: where it ran is not known."""
        if job is None:
            return one if one.cpus else None
        return replace(
            one,
            branch=job.branch or "",
            row=self.row_of(job),
            profile=self._plan.profile,
            flops=self.flops_of(job),
            cpus=one.cpus or job.resources.cpus,
            devices=one.devices if one.cpus else job.resources.devices,
        )

    def add(self, one: Duration) -> None:
        """Take a new duration into account."""
        self._classes[one.devices > 0].add(one)
        version = sum(known.version for known in self._classes.values())
        if version != self._version:
            self._version = version
            self._known.clear()

    def row_of(self, job: Job) -> str:
        """The row that a job counts for: that of its first cell."""
        if job.stage in self._rowless or not job.cells:
            return SHARED
        return self._rows.get(job.cells[0], SHARED)

    def flops_of(self, job: Job) -> float | None:
        """FLOPs that are left of a job; None: not known."""
        whole = self._whole_flops(job)
        return whole if whole is None or self._left is None else whole * self._left(job)

    def share_of(self, job: Job) -> float:
        """The share of a whole job's time that is left of it, where its FLOPs are not known."""
        left = 1.0 if self._left is None else self._left(job)
        return FIXED_SHARE + (1.0 - FIXED_SHARE) * left

    def of(self, job: Job) -> JobEstimate:
        """The estimate of what is left of one job."""
        flops = self.flops_of(job)
        found = self._estimated(job, flops)
        share = self.share_of(job) if flops is None else 1.0
        return found if share == 1.0 else replace(found, seconds=found.seconds * share)

    def whole(self, job: Job) -> JobEstimate:
        """The estimate of one job as if nothing of it were there."""
        return self._estimated(job, self._whole_flops(job))

    def _whole_flops(self, job: Job) -> float | None:
        if self._flops is None:
            self._flops = self._plan.workload.flops(self._plan)
        return None if job.smoke else self._flops.get(job.id)

    def _estimated(self, job: Job, flops: float | None) -> JobEstimate:
        key = (job.stage, job.branch, self.row_of(job), job.smoke, flops, job.resources.devices, job.resources.cpus)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._estimate(job, flops)
        return found

    def forecast(
        self, ids: Collection[str], capacity: Capacity, live: Mapping[str, LiveTime] | None = None
    ) -> Forecast:
        """The forecast of the jobs `ids`, which are not done.

        Args:
            ids: job ids of the plan.
            capacity: what they may use at a time.
            live: job id -> time of its live attempt.
        """
        chosen = [self._plan.jobs[job_id] for job_id in self._plan.jobs if job_id in ids]
        bases: Counter[Basis] = Counter()
        rows: dict[str, list[float]] = {}
        left: dict[str, float] = {}
        weights: tuple[list[tuple[float, JobEstimate]], ...] = ([], [])
        kinds: Counter[str] = Counter()
        assumed = False
        for job in chosen:
            estimate = self.of(job)
            time = (live or {}).get(job.id)
            seconds = left[job.id] = estimate.expected_s if time is None else time.left_of(estimate)
            bases[estimate.basis] += 1
            assumed = assumed or estimate.is_assumed
            if estimate.basis == "measured":
                kinds[self._classes[job.resources.devices > 0].kind] += 1
            cost = rows.setdefault(self.row_of(job), [0, 0.0, 0.0, 0.0])
            cost[0] += 1
            cost[1] += seconds
            for n, units in enumerate(job.resources.units):
                cost[2 + n] += seconds * units
                if units:
                    weights[n].append((units * seconds / estimate.expected_s, estimate))
        return Forecast(
            rows=tuple(
                RowForecast(
                    row=row,
                    jobs=int(jobs),
                    hours=seconds / 3600,
                    device_hours=device_s / 3600,
                    core_hours=core_s / 3600,
                )
                for row, (jobs, seconds, device_s, core_s) in rows.items()
            ),
            bases={basis: bases[basis] for basis in BASES if bases[basis]},
            is_known=set(bases) != {"guess"} or any(one.stages for one in self._classes.values()),
            is_assumed=assumed,
            kind=", ".join(kind for kind in kinds if kind),
            makespan_s=makespan(as_chained(chosen, shorter_jobs(chosen)), left, capacity),
            capacity=capacity,
            device_hours_p95=quantile_of_sum(weights[0], 0.95) / 3600,
            core_hours_p95=quantile_of_sum(weights[1], 0.95) / 3600,
        )

    def _estimate(self, job: Job, flops: float | None) -> JobEstimate:
        devices = job.resources.devices
        known = self._classes[devices > 0]
        prior, basis, is_assumed = self._unmeasured(job, flops, known)
        shared = prior.variance
        branch, row = job.branch or "", self.row_of(job)
        keys, observations = comparable(job.stage, job.smoke, self._plan.profile, flops), 0
        for key in reversed(keys):
            if (stage := known.stages.get(key)) is not None:
                prior, shared = stage.estimate(branch, row, devices, flops, prior)
                if key == keys[0]:
                    basis, is_assumed = "measured", False
                    observations = stage.number if known.of_backend else 0
        extra = ELSEWHERE_SIGMA**2 if known.is_elsewhere and basis == "measured" else 0.0
        return JobEstimate(
            seconds=math.exp(prior.mean),
            basis=basis,
            sigma=math.sqrt(prior.variance + extra),
            shared_sigma=math.sqrt(shared + extra),
            is_assumed=is_assumed,
            observations=observations,
        )

    def _unmeasured(self, job: Job, flops: float | None, known: MeasuredDurations) -> tuple[LogNormal, Basis, bool]:
        """Logarithm of a job's duration without durations of its stage, its basis, and whether a rate is assumed."""
        devices, stages = job.resources.devices, known.stages
        if flops:
            timed = [one for (name, form), one in stages.items() if form == "flops" and name != job.stage]
            if timed:
                rate = sum(one.flops for one in timed) / sum(one.unit_s for one in timed)
                return LogNormal(math.log(flops / (rate * max(1, devices))), FLOPS_SIGMA**2), "flops", False
            assumed = DEVICE_FLOPS_S * devices if devices else CORE_FLOPS_S * job.resources.cpus
            return LogNormal(math.log(flops / assumed), ASSUMED_SIGMA**2), "flops", True
        if flops == 0.0:
            return LogNormal(math.log(IDLE_S), GUESS_SIGMA**2), "flops", False
        guesses = {name: stage.seconds_guess for name, stage in self._plan.workload.by_name.items()}
        shares = [
            one.logarithms / one.number - math.log(guesses[name])
            for (name, form), one in stages.items()
            if name in guesses and name != job.stage and not form.startswith("profile")
        ]
        scale = sum(shares) / len(shares) if shares else 0.0
        return LogNormal(math.log(job.spec.seconds_guess) + scale, GUESS_SIGMA**2), "guess", False
