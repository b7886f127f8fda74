"""Budget of one run: after how much it starts nothing more, and when it stops. Pure but for what it has counted.

A job starts only if it is estimated to end within the budget, so that a run seldom has to stop one: what is spent
counts, what runs is estimated, and the job itself. When the time or the hours are over all the same, because jobs took
longer, attempts stop at a checkpoint; the next run continues them.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.plan.job import Job
from orchestrator.wording import counted

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may spend; None: no limit."""

    jobs: int | None = None
    """Jobs that it starts."""
    until: float | None = None
    """Time at which everything is to have ended, s since 1970."""
    device_hours: float | None = None
    """Devices times hours, of the attempts that it starts."""
    core_hours: float | None = None
    """Cpus times hours of jobs without devices."""

    @property
    def hours(self) -> tuple[float | None, float | None]:
        """Of devices and of cores, in the order of `Resources.units`."""
        return self.device_hours, self.core_hours

    @property
    def options(self) -> Mapping[str, str]:
        """Field -> the option of `run` that sets it, of those that are set."""
        until = "" if self.until is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(self.until))
        said = {
            "jobs": f"--limit {self.jobs}",
            "until": f"--until '{until}'",
            "device_hours": f"--max-device-hours {self.device_hours}",
            "core_hours": f"--max-core-hours {self.core_hours}",
        }
        return {name: text for name, text in said.items() if getattr(self, name) is not None}


class Spending:
    """What one run has spent of its budget. Times are s since 1970.

    Args:
        budget: of the run.
        seconds: estimated duration of a job.
    """

    def __init__(self, budget: Budget, seconds: Callable[[Job], float]) -> None:
        self._budget = budget
        self._seconds = seconds
        self._jobs: set[str] = set()
        self._live: dict[str, tuple[Job, float | None]] = {}
        self._ended_s = [0.0, 0.0]
        self.limited = budget != Budget()
        """Whether there is any limit; without one nothing is counted."""
        self.held_back: set[str] = set()
        """Ids of jobs that did not start because of the budget."""

    def begin(self, attempt: str, job: Job) -> None:
        """Count an attempt that is about to be submitted."""
        self._jobs.add(job.id)
        self._live[attempt] = (job, None)

    def update(self, started: Mapping[str, float | None], now: float) -> None:
        """Take over which attempts are live, and when each started (None: it waits)."""
        for attempt, (job, since) in list(self._live.items()):
            if attempt in started:
                self._live[attempt] = (job, started[attempt])
                continue
            del self._live[attempt]
            for n, units in enumerate(job.resources.units):
                self._ended_s[n] += units * (now - (now if since is None else since))

    def allows(self, job: Job, now: float) -> bool:
        """Whether a job may start now."""
        budget, seconds = self._budget, self._seconds(job)
        allowed = (
            (budget.jobs is None or job.id in self._jobs or len(self._jobs) < budget.jobs)
            and (budget.until is None or now + seconds <= budget.until)
            and all(
                most is None or not units or self._expected_s(n, now) + units * seconds <= most * HOUR_S
                for n, (most, units) in enumerate(zip(budget.hours, job.resources.units, strict=True))
            )
        )
        (self.held_back.discard if allowed else self.held_back.add)(job.id)
        return allowed

    def over(self, now: float) -> str:
        """Why the attempts are to stop now; empty: the budget lasts."""
        budget = self._budget
        if budget.until is not None and now >= budget.until:
            return f"the time of {budget.options['until']} has come"
        for n, (most, name) in enumerate(zip(budget.hours, ("device_hours", "core_hours"), strict=True)):
            if most is not None and self._spent_s(n, now) > most * HOUR_S:
                return f"{budget.options[name]} are spent"
        return ""

    def note(self) -> str:
        """What the budget held back, and by which options; empty: nothing."""
        if not self.held_back:
            return ""
        held = counted(len(self.held_back), "job")
        return f"{held} did not start because of {' and '.join(self._budget.options.values())}; `run` continues"

    def _spent_s(self, unit: int, now: float) -> float:
        running = [job.resources.units[unit] * (now - since) for job, since in self._live.values() if since is not None]
        return self._ended_s[unit] + math.fsum(running)

    def _expected_s(self, unit: int, now: float) -> float:
        """What has ended, and what runs or waits until its estimated end."""
        running = [
            job.resources.units[unit] * max(0.0 if since is None else now - since, self._seconds(job))
            for job, since in self._live.values()
        ]
        return self._ended_s[unit] + math.fsum(running)
