"""What the driver knows of the attempts of a Ray backend, whose child processes come and go. Asks nobody."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Adoption, Report
from orchestrator.backends.ray.lost import CONFIRM_DEATH_S, ended_report
from orchestrator.host.processes import end_leftovers


class KnownAttempts:
    """The attempts that were submitted or adopted: what was last reported of each, and what the next child is told."""

    def __init__(self) -> None:
        self.adoptions: dict[str, dict[str, Any]] = {}
        """What another child needs to take an attempt up: `Adoption` as JSON."""
        self._reports: dict[str, Report] = {}
        self._work: dict[str, Path] = {}
        self._ended_reported: list[str] = []
        """Attempts whose end was passed on; the next poll shows that the driver has recorded it."""
        self._forget: list[str] = []
        """Attempts whose end the driver has recorded: the hosts need not repeat it."""
        self._end_requested: dict[str, str] = {}
        """Attempt -> `stop` or `kill`, where its end was asked for: a child that has died may not have passed it on."""
        self._lost: dict[str, float] = {}
        """Attempts of a session that has died -> monotonic clock, s."""

    def track(self, adoption: Adoption) -> None:
        """Know one more attempt."""
        self._reports[adoption.attempt] = Report(attempt=adoption.attempt, phase="waiting")
        self._work[adoption.attempt] = Path(adoption.work)
        self.adoptions[adoption.attempt] = asdict(adoption)

    def reports(self) -> Mapping[str, Report]:
        """What was last reported of all."""
        return dict(self._reports)

    def unfinished(self) -> list[str]:
        """Those that have not ended."""
        return [attempt for attempt, report in self._reports.items() if report.phase != "ended"]

    def to_forget(self) -> list[str]:
        """Those that the hosts need not report any more, since the driver has polled after their end."""
        self._forget += self._ended_reported
        self._ended_reported = []
        return self._forget

    def take(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what the hosts report; they have been told what to forget."""
        self._forget = []
        for attempt, answer in answers.items():
            if attempt in self._reports and attempt not in self._lost and self._reports[attempt].phase != "ended":
                self._reports[attempt] = Report(**answer)
                if answer["phase"] == "ended":
                    self._ended_reported.append(attempt)
                    del self.adoptions[attempt]

    def mark_unknown(self, detail: str) -> None:
        """Nothing can be told of those that have not ended."""
        for attempt in self.unfinished():
            self._reports[attempt] = replace(self._reports[attempt], phase="unknown", detail=detail)

    def lose(self) -> None:
        """What has not ended was lost with its session; each ends once its processes are gone (`end_lost`)."""
        for attempt in self.unfinished():
            self._lost.setdefault(attempt, time.monotonic())
        self._forget = []

    def end_lost(self) -> None:
        """End the attempts of a dead session whose processes are proven gone."""
        for attempt, since in list(self._lost.items()):
            known = ended_report(attempt, self._work[attempt])
            if known is not None:
                del self._lost[attempt]
                self._reports[attempt] = Report(**known)
            elif time.monotonic() - since > CONFIRM_DEATH_S and end_leftovers(self._work[attempt]):
                del self._lost[attempt]
                self._reports[attempt] = replace(
                    self._reports[attempt],
                    phase="ended",
                    ending="node_lost",
                    detail="the Ray session died with its child process",
                    ended=time.time(),
                )

    def end_processes(self) -> None:
        """End whatever runs on this machine of those that have not ended."""
        for attempt in self.unfinished():
            end_leftovers(self._work[attempt])

    def request_end(self, op: str, attempts: Sequence[str]) -> list[str]:
        """Note that these are to `stop` or to be `kill`ed; those of them that can still be asked."""
        wanted = [attempt for attempt in attempts if attempt in set(self.unfinished()) - set(self._lost)]
        self._end_requested.update(dict.fromkeys(wanted, op))
        return wanted

    def to_end(self, op: str) -> list[str]:
        """Those that have not ended, and were asked so."""
        return [attempt for attempt in self.unfinished() if self._end_requested.get(attempt) == op]
