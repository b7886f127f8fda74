"""The report that a run writes."""

from collections.abc import Mapping

from orchestrator.plan.job import Standing
from orchestrator.reporting.rebuild import report_if_needed
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.study import Study


def report_of(study: Study, within_s: float = 0.0, standings: Mapping[str, Standing] | None = None) -> bool:
    """Write the report of what is done, if its results have a meaning; returns whether it was written.

    Args:
        study: the study.
        within_s: as for `Store.commits`.
        standings: of all jobs, if they are known; else they are looked up.
    """
    if not study.publishes_results:
        return False
    standings = study.standings(within_s=within_s) if standings is None else standings
    return report_if_needed(
        study.report_folder,
        study.plan,
        standings,
        study.store,
        study.durations,
        study.registered,
        runs=study.tracked_runs,
        cache=ResultsCache.of(study.home),
        race=study.race,
    )
