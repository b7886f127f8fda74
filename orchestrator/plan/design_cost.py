"""Cost of a design: what seeds × scenes would take beyond the results that are there. Pure."""

from dataclasses import dataclass

from orchestrator.plan.forecast import Forecaster
from orchestrator.plan.job import Job, Plan


@dataclass(frozen=True, kw_only=True)
class DesignCost:
    """Estimated cost."""

    device_hours: float = 0.0
    core_hours: float = 0.0
    """Cpus times hours of jobs without devices."""

    def __add__(self, other: "DesignCost") -> "DesignCost":
        return DesignCost(
            device_hours=self.device_hours + other.device_hours, core_hours=self.core_hours + other.core_hours
        )

    def times(self, factor: float) -> "DesignCost":
        """So many times as much."""
        return DesignCost(device_hours=self.device_hours * factor, core_hours=self.core_hours * factor)

    @property
    def rank(self) -> tuple[float, float]:
        """Devices are dearer than cores."""
        return self.device_hours, self.core_hours


class DesignCosts:
    """What designs would cost, by the estimates of a plan.

    A seed more: its trainings, and their evaluation on every branch. Scenes more: the branch is evaluated in all seeds,
    on the new scenes alone if its jobs have items; where trainings read the key that sets them, everything runs again.

    Args:
        plan: the whole matrix, with at least one seed.
        forecaster: estimates its jobs.
        branch: whose scenes are counted.
        scenes: of the branch in the plan.
        seeds_done: seeds of the plan that have results; 0: nothing is done.
    """

    def __init__(self, plan: Plan, forecaster: Forecaster, branch: str, scenes: int, seeds_done: int) -> None:
        self._scenes, self._done = scenes, seeds_done
        seeds = len({cell.seed for cell in plan.cells})
        of_seed = _of_seed(plan)
        sums = {(mine, kind): DesignCost() for mine in (True, False) for kind in ("branch", "rest")}
        for job in plan.jobs.values():
            key = (job.id in of_seed, "branch" if job.branch == branch else "rest")
            sums[key] += _cost(job, forecaster)
        self._seed = sums[True, "rest"].times(1 / seeds)
        self._seed_on_branch = sums[True, "branch"].times(1 / seeds)
        self._shared, self._shared_on_branch = sums[False, "rest"], sums[False, "branch"]
        self.grows = all(job.items is not None for job in plan.jobs.values() if job.branch == branch)
        """Whether more scenes leave those that are there as they are."""
        known = plan.workload.scenes(plan.cells).get(branch)
        self.trains_again = known is not None and _training_reads(plan, of_seed, known.key)
        """Whether more scenes make every training run again."""
        self.key = "" if known is None else known.key
        """What sets the scenes; empty: not known."""

    def added(self, seeds: int, scenes: int) -> DesignCost:
        """What a design takes beyond what is done."""
        share = scenes / self._scenes
        again = not self._done or (scenes > self._scenes and self.trains_again)
        new_seeds = seeds if again else max(0, seeds - self._done)
        found = self._seed.times(new_seeds) + self._seed_on_branch.times(new_seeds * share)
        if again:
            return found + self._shared + self._shared_on_branch.times(share)
        if scenes > self._scenes:
            more = share - 1.0 if self.grows else share
            found += self._seed_on_branch.times((seeds - new_seeds) * more) + self._shared_on_branch.times(more)
        return found


def _of_seed(plan: Plan) -> frozenset[str]:
    """Ids of the jobs that another seed needs too: they read the seed, or what was made from it."""
    found: set[str] = set()
    for job in plan.jobs.values():  # dependencies first
        if job.seed is not None or found.intersection(job.inputs.values()):
            found.add(job.id)
    return frozenset(found)


def _training_reads(plan: Plan, of_seed: frozenset[str], key: str) -> bool:
    """Whether a job without a branch, of a seed, depends on `key` (`controls.SECTION.KEY`)."""
    path = key.removeprefix("controls.")
    section, _, name = path.partition(".")
    made: set[str] = set()
    """Jobs whose items, or which themselves, are made in another way with another value."""
    whole: set[str] = set()
    """Those, and jobs that have other items."""
    for job in plan.jobs.values():  # dependencies first
        read = name in job.config.get(section, {})
        ignored = job.items is not None and not {section, path}.isdisjoint(job.spec.ignored)
        of_items = {need for stage, need in job.inputs.items() if _reads_items(job, stage, plan.jobs[need])}
        rest = set(job.inputs.values()) - of_items
        if (read and not ignored) or not made.isdisjoint(of_items) or not whole.isdisjoint(rest):
            made.add(job.id)
        if job.id in made or (read and job.items is not None):
            whole.add(job.id)
    return any(plan.jobs[one].branch is None for one in made & of_seed)


def _reads_items(job: Job, stage: str, need: Job) -> bool:
    """Whether a job depends on items of an input, and not on which it has."""
    return need.items is not None and (job.items is not None or stage in job.reads)


def _cost(job: Job, forecaster: Forecaster) -> DesignCost:
    hours = forecaster.of(job).seconds / 3600
    devices = job.resources.devices
    return DesignCost(device_hours=hours * devices, core_hours=0.0 if devices else hours * job.resources.cpus)
