"""`run --race`: seed after seed, of the rows whose comparison with the baseline is not decided yet.

A rung of the race is an ordinary run of a part of the plan: the rows that go on, with the first seeds. After it the
results are looked at (`reports.race`), which decides alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.commands.options import Selection
from orchestrator.commands.run.report import report_of
from orchestrator.commands.run.run_study import FinishedRun
from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec
from orchestrator.plan.select import select, select_cells, with_needs
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.collect import axes_text, case_values
from orchestrator.reporting.race_record import write_race
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.spec.cell import Cell
from orchestrator.study import Study
from orchestrator.wording import counted
from reports.input import Race
from reports.spec import RaceSpec

if TYPE_CHECKING:  # what computes is imported when there is something to compute
    from reports.measured import Measured

FEWEST_SEEDS = 2


@dataclass(frozen=True, kw_only=True)
class FinishedRace:
    """How a race ended, or was stopped."""

    run: FinishedRun
    """The last rung, with the report of all."""
    race: Race
    exit_code: int
    """The largest one of its rungs."""


@dataclass(frozen=True, kw_only=True)
class Racing:
    """A race of rows of a planned study."""

    study: Study
    spec: RaceSpec
    cells: tuple[Cell, ...]
    """Of all rows and seeds that it may run, the baseline's among them."""

    @classmethod
    def of(cls, study: Study, selection: Selection) -> "Racing":
        """The race of a selection.

        Raises:
            PlanError: it cannot race, and why.
        """
        spec = report_spec(study.plan.workload).race
        if spec is None:
            raise PlanError(
                "--race: this study does not declare what races; allowed: a `race` in its ReportSpec "
                "(docs/how-to/race.md)"
            )
        if not study.publishes_results:
            raise PlanError(f"--race decides by results, and those of backend {study.cluster.backend} have no meaning")
        if selection.branches is not None:
            raise PlanError("--race evaluates every branch of the rows that it runs; leave out --branches")
        branch = spec.metric.partition("/")[0]
        if branch not in study.plan.branches:
            raise PlanError(f"--race decides on branch {branch}, which is off in profile {study.plan.profile}")
        if all(cell.row != spec.baseline for cell in study.plan.cells):
            raise PlanError(
                f"--race compares rows with {spec.baseline}, which is not in profile {study.plan.profile}; "
                f"`--rows ...,{spec.baseline}` adds it"
            )
        chosen = select_cells(study.plan, selection.rows, selection.seeds)
        seeds = {cell.seed for cell in chosen}
        rows = {cell.row for cell in chosen} | {spec.baseline}
        if len(seeds) < FEWEST_SEEDS:
            raise PlanError("--race stops rows seed after seed, and there is one; allowed: at least 2 in `seeds`")
        if all(cell.reference for cell in study.plan.cells if cell.row in rows - {spec.baseline}):
            raise PlanError(f"--race compares trained rows with {spec.baseline}, and none other is selected")
        cells = (cell for cell in study.plan.cells if cell.row in rows and cell.seed in seeds)
        return cls(study=study, spec=spec, cells=tuple(cells))

    def looked_at(self) -> Race:
        """The race as the results of the store have it now.

        Raises:
            PlanError: the results contradict each other.
            StoreError: a result is damaged.
        """
        from reports.measured import combinations, measured
        from reports.race import race

        study, standings = self.study, self.study.standings()
        reader = ArtifactReader(study.plan, study.store, ResultsCache.of(study.home))
        given = case_values(reader, standings, self.cells, (self.spec.metric.partition("/")[0],))
        try:
            found: Measured = measured(given, combinations(given))
            return race(found, self.spec, given.seeds, self._gone())
        except ValueError as error:
            raise PlanError(f"there is no race: {error}") from error

    @property
    def most(self) -> frozenset[str]:
        """Ids of all jobs that it may run."""
        plan = self.study.plan
        return with_needs(plan, (job for cell in self.cells for job in plan.jobs_of[cell.id].values()))

    def selected(self, at: Race) -> frozenset[str]:
        """Ids of the jobs of the next rung; of a race that is over, those of all its rungs."""
        from reports.race_progress import seeds_looked_at, stopped, wanted

        ended, seeds = stopped(at), wanted(at)
        if seeds:
            ran = {cell.row: len(seeds) for cell in self.cells if cell.row not in ended}
        else:
            ran = {cell.row: seeds_looked_at(at) for cell in self.cells}
            ran |= {row: one.seeds for row, one in ended.items() if row in ran}
        jobs: set[str] = set()
        for row, number in ran.items():
            # A row that lost a result had none of these seeds yet.
            jobs |= select(self.study.plan, [row], [str(seed) for seed in at.seeds[:number]]) if number else set()
        return frozenset(jobs)

    def _gone(self) -> Mapping[str, str]:
        """Label of a row -> which of its jobs failed."""
        plan, standings = self.study.plan, self.study.standings()
        found: dict[str, str] = {}
        for cell in self.cells:
            jobs = with_needs(plan, plan.jobs_of[cell.id].values())
            failed = sorted(plan.jobs[job].label for job in jobs if standings[job].state == "failed")
            if failed:
                axes = axes_text(cell.axes)
                found.setdefault("/".join([cell.row, *axes.split(";")]) if axes else cell.row, f"{failed[0]} failed")
        return found


def run_race(
    racing: Racing, run: Callable[[frozenset[str]], FinishedRun], say: Callable[[str], object]
) -> FinishedRace:
    """Run rung after rung until every comparison has stopped or no seed is left.

    Args:
        racing: the race.
        run: runs what is missing of some jobs.
        say: is told before and after each rung how far the race is.

    Raises:
        As `run` and `Racing.looked_at`.
    """
    from reports.race_progress import race_text, wanted

    study, code, at = racing.study, 0, racing.looked_at()
    while True:
        seeds = wanted(at)
        if seeds:
            say(f"race: the first {counted(len(seeds), 'seed')} of {len(at.seeds)}")
        result = run(racing.selected(at))
        code, at = max(code, result.outcome.exit_code), racing.looked_at()
        write_race(study.home, study.plan, at)
        say(race_text(at))
        if not seeds or result.outcome.interrupted or result.outcome.note or wanted(at) in ((), seeds):
            break
    if not result.outcome.interrupted and report_of(study):
        result = replace(result, written=True)
    return FinishedRace(run=result, race=at, exit_code=code)
