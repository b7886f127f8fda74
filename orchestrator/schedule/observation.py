"""What backend and store together say of the attempts that are watched: a COMMIT outranks every report."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.backends.protocol import Report
from orchestrator.errors import StoreError
from orchestrator.schedule.attempt_monitor import Finding, Watch, look
from orchestrator.schedule.reconciler import Books
from orchestrator.schedule.resilient_store import SHORT_S, Patience


class Evidence:
    """Weighs reports against COMMITs.

    Args:
        books: the attempts, and the COMMITs that are known.
        store: asked for COMMITs where only it knows what became of an attempt.
        given_up: whether somebody has asked the driver to stop.
    """

    def __init__(self, books: Books, store: Patience, given_up: Callable[[], bool]) -> None:
        self._books = books
        self._store = store
        self._given_up = given_up

    def findings(self, reports: Mapping[str, Report], now: float, *, stopping: bool) -> list[tuple[Watch, Finding]]:
        """What to believe of each attempt at monotonic time `now`, seconds."""
        watches = self._books.watches
        told = [reports.get(attempt) for attempt in watches]
        if self._store.silent or any(map(_needs_the_store, told)):
            self._books.committed |= self._store.commits() or frozenset()
        return [
            (watch, Finding(what="unknown", detail=f"the store does not answer: {self._store.why}"))
            if self._store.silent and _needs_the_store(report)
            else (watch, self._weighed(watch, report, now, stopping=stopping))
            for watch, report in zip(watches.values(), told, strict=True)
        ]

    def _weighed(self, watch: Watch, report: Report | None, now: float, *, stopping: bool) -> Finding:
        """Who made the COMMIT ended well, whatever died before it could say so."""
        committed = watch.job.fingerprint in self._books.committed
        finding = look(watch, report, now, committed=committed, stopping=stopping)
        if not committed or finding.what != "ended" or finding.ending == "ok":
            return finding
        try:
            won = self._store.winner(watch.job.fingerprint, self._given_up, SHORT_S) == watch.attempt
        except StoreError as error:
            return Finding(what="unknown", detail=str(error))
        return replace(finding, ending="ok", detail="") if won else finding


def _needs_the_store(report: Report | None) -> bool:
    """Whether only the store knows what became of the attempt."""
    return report is None or report.phase in ("ended", "missing")
