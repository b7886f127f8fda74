"""Forecast: how long jobs take, what they cost, and when the last of them ends. Pure.

This is the only place that estimates durations: `plan`, `status`, the first lines and the ETA of a run, and placement
all use it. A job's estimate is the first that there is of

* `measured`: the mean of jobs that ended well on this kind of device, of the same stage, branch and row, else of the
  same stage and branch, else of the same stage; in proportion to the FLOPs if these are known, and else only of the
  same profile, since nothing else tells how large a job is;
* `flops`: its FLOPs, at the rate of the other stages that were measured, else at an assumed rate;
* `guess`: the mean of such jobs of other profiles, else the stage's `seconds_guess`, in the proportion in which the
  measured stages differ from theirs.

Device-hours are devices times hours, core-hours are cpus times hours of jobs without devices.
"""

from collections import ChainMap, Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.plan.job import Job, Plan, State

Basis = Literal["measured", "flops", "guess"]

BASES: tuple[Basis, ...] = ("measured", "flops", "guess")

DEVICE_FLOPS_S = 1.0e14
"""Assumed FLOP/s of an accelerator until one was measured: a third of what an A100 promises in bfloat16."""
CORE_FLOPS_S = 3.0e10
"""Assumed FLOP/s of a processor until one was measured: 27 to 41 GFLOP/s in trainings on one core of an AMD EPYC."""

AHEAD: frozenset[State] = frozenset({"new", "retry", "waiting", "running", "unknown"})
"""States of jobs that are to be run, or run."""

ANY = "*"
"""In place of a profile: durations of all profiles together."""

SHARED = ""
"""In place of a row: jobs of stages that depend on no row."""


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long a job took that ended well, and what had been estimated."""

    fingerprint: str
    stage: str
    branch: str
    """Empty: its stage has none."""
    row: str
    """`SHARED`, or its first cell's row."""
    smoke: bool
    profile: str
    """Of the plan; empty: not known."""
    backend: str
    """Where it ran; empty: not known."""
    kind: str
    """The kind of device, as in its commit record; empty: not known."""
    cpus: int
    """0: it is not known where it ran, nor with how many devices."""
    devices: int
    flops: float | None
    """None: not known."""
    seconds: float
    """All attempts that its result is made of; time in a queue is not counted."""
    estimated_s: float | None = None
    """As estimated when its run began; None: not known."""
    basis: str = ""
    """Of that estimate."""


@dataclass(frozen=True, kw_only=True)
class JobEstimate:
    """Estimated duration of one job, s."""

    seconds: float
    basis: Basis
    is_assumed: bool = False
    """Whether its FLOPs were divided by an assumed rate."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What attempts may use at a time; None: not known, or no limit."""

    attempts: int | None = None
    cpus: int | None = None
    devices: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return any((self.attempts, self.cpus, self.devices))


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


@dataclass
class _Sum:
    """Durations that were measured alike."""

    number: int = 0
    seconds: float = 0.0
    timed_flops: float = 0.0
    """FLOPs of those where they are known and not 0."""
    timed_s: float = 0.0
    """Their seconds, times the devices of each."""
    unit_s: float = 0.0
    """All seconds, times the devices of each."""

    def add(self, one: Duration) -> None:
        units = max(1, one.devices)
        self.number += 1
        self.seconds += one.seconds
        self.unit_s += one.seconds * units
        if one.flops:
            self.timed_flops += one.flops
            self.timed_s += one.seconds * units

    def seconds_of(self, flops: float | None, devices: int) -> float:
        """Estimated duration of a job of this kind; devices share the work evenly."""
        if flops and self.timed_flops:
            return self.timed_s / self.timed_flops * flops / max(1, devices)
        return self.unit_s / self.number / max(1, devices)


@dataclass
class _Measured:
    """What was measured on one class of hosts, those with devices or those without."""

    backend: str
    kind: str = ""
    """The newest kind of device that was measured with this backend, else with any."""
    of_backend: bool = False
    """Whether `kind` was measured with this backend."""
    by_kind: dict[str, dict[tuple[str, ...], _Sum]] = field(default_factory=dict)

    def add(self, one: Duration) -> None:
        """Add a duration; those before it are of earlier jobs."""
        own = one.backend == self.backend
        if one.kind and (own or not self.of_backend):
            self.kind, self.of_backend = one.kind, own
        sums = self.by_kind.setdefault(one.kind, {})
        for key in _keys(one.stage, one.branch, one.row, one.smoke):
            sums.setdefault((one.profile, *key), _Sum()).add(one)
            sums.setdefault((ANY, *key), _Sum()).add(one)

    @property
    def sums(self) -> Mapping[tuple[str, ...], _Sum]:
        """Of `kind`; where a kind of device is not known, of that."""
        return ChainMap(self.by_kind.get(self.kind, {}), self.by_kind.get("", {}))


def _keys(stage: str, branch: str, row: str, smoke: bool) -> tuple[tuple[str, ...], ...]:
    """From the closest to the widest."""
    stage = f"{stage} smoke" if smoke else stage
    return (stage, branch, row), (stage, branch), (stage,)


class Forecaster:
    """Estimates jobs of a plan from durations.

    Args:
        plan: the whole matrix.
        durations: in the order in which they were measured.
        backend: where the jobs will run; the newest kind of device that was measured there is taken.
    """

    def __init__(self, plan: Plan, durations: Iterable[Duration] = (), backend: str = "") -> None:
        self._plan = plan
        self._rows = {cell.id: cell.row for cell in plan.cells}
        self._shared = frozenset(plan.workload.shared)
        self._flops: Mapping[str, float] | None = None
        self._classes = {with_devices: _Measured(backend) for with_devices in (False, True)}
        self._known: dict[tuple[object, ...], JobEstimate] = {}
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
        self._known.clear()

    def row_of(self, job: Job) -> str:
        """The row that a job counts for: that of its first cell."""
        if job.stage in self._shared or not job.cells:
            return SHARED
        return self._rows.get(job.cells[0], SHARED)

    def flops_of(self, job: Job) -> float | None:
        """FLOPs of a job; None: not known."""
        if self._flops is None:
            self._flops = self._plan.workload.flops(self._plan)
        return None if job.smoke else self._flops.get(job.id)

    def of(self, job: Job) -> JobEstimate:
        """The estimate of one job."""
        flops, devices = self.flops_of(job), job.resources.devices
        key = (job.stage, job.branch, self.row_of(job), job.smoke, flops, devices, job.resources.cpus)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._estimate(job, flops)
        return found

    def forecast(
        self, ids: Collection[str], capacity: Capacity, spent_s: Mapping[str, float] | None = None
    ) -> Forecast:
        """The forecast of the jobs `ids`, which are not done.

        Args:
            ids: job ids of the plan.
            capacity: what they may use at a time.
            spent_s: job id -> seconds that its live attempt has run; at most the estimate is deducted.
        """
        chosen = [self._plan.jobs[job_id] for job_id in self._plan.jobs if job_id in ids]
        bases: Counter[Basis] = Counter()
        rows: dict[str, list[float]] = {}
        left: dict[str, float] = {}
        kinds: Counter[str] = Counter()
        assumed = False
        for job in chosen:
            estimate = self.of(job)
            seconds = left[job.id] = max(0.0, estimate.seconds - (spent_s or {}).get(job.id, 0.0))
            bases[estimate.basis] += 1
            assumed = assumed or estimate.is_assumed
            if estimate.basis == "measured":
                kinds[self._classes[job.resources.devices > 0].kind] += 1
            cost = rows.setdefault(self.row_of(job), [0, 0.0, 0.0, 0.0])
            cost[0] += 1
            cost[1] += seconds
            cost[2] += seconds * job.resources.devices
            cost[3] += 0.0 if job.resources.devices else seconds * job.resources.cpus
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
            is_known=set(bases) != {"guess"} or any(one.sums for one in self._classes.values()),
            is_assumed=assumed,
            kind=", ".join(kind for kind in kinds if kind),
            makespan_s=makespan(chosen, left, capacity),
            capacity=capacity,
        )

    def _estimate(self, job: Job, flops: float | None) -> JobEstimate:
        devices = job.resources.devices
        sums = self._classes[devices > 0].sums
        keys = _keys(job.stage, job.branch or "", self.row_of(job), job.smoke)
        if flops == 0.0:
            keys = keys[:1]  # it computes next to nothing: the mean of jobs that compute says nothing of it
        for profile in (self._plan.profile, ANY):
            for key in keys:
                found = sums.get((profile, *key))
                if found is not None and (found.timed_flops or not flops):
                    known = flops is not None or profile != ANY
                    return JobEstimate(seconds=found.seconds_of(flops, devices), basis="measured" if known else "guess")
        stages = {key[1]: one for key, one in sums.items() if key[0] == ANY and len(key) == 2}
        if flops is not None:
            timed = [one for one in stages.values() if one.timed_flops]
            if timed:
                rate = sum(one.timed_flops for one in timed) / sum(one.timed_s for one in timed)
                return JobEstimate(seconds=flops / (rate * max(1, devices)), basis="flops")
            assumed = DEVICE_FLOPS_S * devices if devices else CORE_FLOPS_S * job.resources.cpus
            return JobEstimate(seconds=flops / assumed, basis="flops", is_assumed=flops > 0)
        guesses = {name: stage.seconds_guess for name, stage in self._plan.workload.by_name.items()}
        shares = [one.seconds / one.number / guesses[name] for name, one in stages.items() if name in guesses]
        scale = sum(shares) / len(shares) if shares else 1.0
        return JobEstimate(seconds=job.spec.seconds_guess * scale, basis="guess")


def longest_chains(jobs: Iterable[Job], seconds: Mapping[str, float]) -> dict[str, float]:
    """Job id -> seconds of the longest chain of jobs that begins with it, itself included.

    Args:
        jobs: those not done, dependencies first.
        seconds: of each of them.
    """
    chosen = list(jobs)
    longest: dict[str, float] = {job.id: 0.0 for job in chosen}
    for job in reversed(chosen):
        longest[job.id] += seconds[job.id]
        for need in job.inputs.values():
            if need in longest and longest[need] < longest[job.id]:
                longest[need] = longest[job.id]
    return longest


def makespan(jobs: Collection[Job], seconds: Mapping[str, float], capacity: Capacity) -> float:
    """Seconds until the last of the jobs ends, at least: no schedule is faster.

    The larger of the longest chain and of the work over the capacity; list scheduling is at most twice as slow (Graham
    1969, "Bounds on multiprocessing timing anomalies"), and with many short jobs nearly as fast.
    """
    bounds = [max(longest_chains(jobs, seconds).values(), default=0.0)]
    if capacity.attempts:
        bounds.append(sum(seconds[job.id] for job in jobs) / capacity.attempts)
    if capacity.cpus:
        bounds.append(sum(seconds[job.id] * job.resources.cpus for job in jobs) / capacity.cpus)
    if capacity.devices:
        bounds.append(sum(seconds[job.id] * job.resources.devices for job in jobs) / capacity.devices)
    return max(bounds)
