"""The report of a run, begun before the run has ended: a thread prepares it, and writes it while the backend ends."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from orchestrator.commands.run.report import report_of
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.study import Study
from reports.input import PAGE

AHEAD_S = 20.0
"""How long before the estimated end it is prepared: about two seconds of a processor, where jobs may leave little."""


class EarlyReport:
    """Prepares and writes the report of a study in a thread of its own."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._thread = ThreadPoolExecutor(1, "report")
        self._prepared: Future[None] | None = None
        self._written: Future[bool] | None = None

    def expect_end(self, left_s: float | None) -> None:
        """Prepare the report if the run ends soon; None: nobody knows when."""
        soon = left_s is not None and left_s <= AHEAD_S
        if soon and self._prepared is None and self._study.publishes_results:
            self._prepared = self._thread.submit(self._prepare)

    def begin(self) -> None:
        """Start to write it: what is done now is in it."""
        if self._study.publishes_results:
            self._written = self._thread.submit(report_of, self._study)

    @property
    def is_there(self) -> bool:
        """Whether the study has a report, of this run or an earlier one, and its results have a meaning."""
        return self._study.publishes_results and (self._study.report_folder / PAGE).is_file()

    @property
    def begun(self) -> bool:
        """Whether it is being written."""
        return self._written is not None

    def written(self) -> bool:
        """Wait for its end; whether it was written. It raises what writing it has raised."""
        return self._written is not None and self._written.result()

    def then(self, do: Callable[[], str]) -> Future[str]:
        """Do something else in the thread."""
        return self._thread.submit(do)

    def _prepare(self) -> None:
        """Import what writes it, and read what is done so far; whoever writes it is told of what cannot be read."""
        from reports.build import warm_up

        warm_up()
        reader = ArtifactReader(self._study.plan, self._study.store, ResultsCache.of(self._study.home))
        reader.read_all()
        reader.save()
