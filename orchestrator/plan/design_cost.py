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

    A seed more: its trainings, and their evaluation on every branch. Scenes more: the branch is evaluated again in all
    seeds, in proportion to its scenes; where trainings read the section that sets them, everything runs again.

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
        known = plan.workload.scenes(plan.cells).get(branch)
        self.trains_again = known is not None and _training_reads(plan, of_seed, known.key)
        """Whether more scenes make every training run again."""
        self.key = "" if known is None else known.key
        """What sets the scenes; empty: not known."""

    def added(self, seeds: int, scenes: int) -> DesignCost:
        """What a design takes beyond what is done."""
        share = scenes / self._scenes
        more_scenes = scenes > self._scenes
        again = not self._done or (more_scenes and self.trains_again)
        new_seeds = seeds if again else max(0, seeds - self._done)
        branch_seeds = seeds if again or more_scenes else new_seeds
        found = self._seed.times(new_seeds) + self._seed_on_branch.times(branch_seeds * share)
        if again:
            found += self._shared
        if again or more_scenes:
            found += self._shared_on_branch.times(share)
        return found


def _of_seed(plan: Plan) -> frozenset[str]:
    """Ids of the jobs that another seed needs too: they read the seed, or what was made from it."""
    found: set[str] = set()
    for job in plan.jobs.values():  # dependencies first
        if job.seed is not None or found.intersection(job.inputs.values()):
            found.add(job.id)
    return frozenset(found)


def _training_reads(plan: Plan, of_seed: frozenset[str], key: str) -> bool:
    """Whether a job without a branch, of a seed, depends on the section of `key` (`controls.SECTION.KEY`)."""
    section = key.split(".")[1] if key.startswith("controls.") else ""
    reads: set[str] = set()
    for job in plan.jobs.values():
        if section in job.config or reads.intersection(job.inputs.values()):
            reads.add(job.id)
    return any(plan.jobs[one].branch is None for one in reads & of_seed)


def _cost(job: Job, forecaster: Forecaster) -> DesignCost:
    hours = forecaster.of(job).seconds / 3600
    devices = job.resources.devices
    return DesignCost(device_hours=hours * devices, core_hours=0.0 if devices else hours * job.resources.cpus)
