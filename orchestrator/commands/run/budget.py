"""Options of `run` that bound what it spends."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import typer

from orchestrator.errors import PlanError
from orchestrator.plan.job import Job
from orchestrator.schedule.budget import Budget

AFTER = re.compile(r"\+(\d+(?:\.\d+)?)(m|h|d)")
MINUTES = {"m": 1.0, "h": 60.0, "d": 1440.0}
FORMS = "+90m, +8h, HH:MM or 'YYYY-MM-DD HH:MM'"


def parsed_time(text: str, now: datetime) -> float:
    """A time of `--until`, s since 1970; a time of day is the next one.

    Raises:
        PlanError: none of `FORMS`, or it has passed.
    """
    plain = text.strip()
    try:
        if found := AFTER.fullmatch(plain):
            # In s since 1970, and not on the clock of the wall, which may be set forward or back until then.
            seconds = now.timestamp() + 60.0 * float(found[1]) * MINUTES[found[2]]
            datetime.fromtimestamp(seconds)  # messages write it as a date
            return seconds
        if re.fullmatch(r"\d{1,2}:\d{2}", plain):
            at = datetime.strptime(plain, "%H:%M").replace(year=now.year, month=now.month, day=now.day)
            return (at if at > now else at + timedelta(days=1)).timestamp()
        seconds = datetime.fromisoformat(plain).timestamp()
    except (ValueError, OverflowError, OSError):
        raise PlanError(f"--until {text!r} is no time; allowed: {FORMS}") from None
    if seconds <= now.timestamp():
        raise PlanError(f"--until {text!r} has passed; it is {now:%Y-%m-%d %H:%M}")
    return seconds


def parsed_hours(name: str, value: float | None) -> float | None:
    """The hours of an option.

    Raises:
        PlanError: they are no number, or no job could start.
    """
    if value is not None and (math.isnan(value) or value <= 0.0):
        raise PlanError(f"--{name} {value:g}; allowed: a number of hours above 0")
    return value


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """How much a run may spend."""

    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Start at most so many jobs."),
    ] = None
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help=f"Start only what is estimated to end by then, and stop the rest at a checkpoint: {FORMS}.",
        ),
    ] = None
    max_device_hours: Annotated[
        float | None,
        typer.Option(
            "--max-device-hours",
            metavar="H",
            help="Spend at most so many devices times hours; jobs without devices are not counted.",
        ),
    ] = None
    max_core_hours: Annotated[
        float | None,
        typer.Option(
            "--max-core-hours",
            metavar="H",
            help="Spend at most so many cpus times hours on jobs without devices.",
        ),
    ] = None

    @property
    def budget(self) -> Budget:
        """The budget.

        Raises:
            PlanError: a time or hours that are none, or a time that has passed.
        """
        until = None if self.until is None else parsed_time(self.until, datetime.now())
        return Budget(
            jobs=self.limit,
            until=until,
            device_hours=parsed_hours("max-device-hours", self.max_device_hours),
            core_hours=parsed_hours("max-core-hours", self.max_core_hours),
        )


def idle_limit(budget: Budget, jobs: Iterable[Job]) -> str:
    """That a limit on hours holds for none of these jobs, and which option does; empty: each holds for some."""
    counted = {bool(job.resources.devices) for job in jobs}
    if budget.device_hours is not None and True not in counted:
        return "--max-device-hours limits nothing: no job of this plan needs a device; --max-core-hours limits these"
    if budget.core_hours is not None and False not in counted:
        return "--max-core-hours limits nothing: all jobs of this plan need devices; --max-device-hours limits these"
    return ""


def budget_arguments(budget: Budget) -> Sequence[tuple[str, str]]:
    """The options that give this budget to another `run`."""
    # With the offset from UTC: an hour that the clock is set back comes twice.
    until = None if budget.until is None else datetime.fromtimestamp(budget.until).astimezone().isoformat()
    given = {
        "limit": budget.jobs,
        "until": until,
        "max-device-hours": budget.device_hours,
        "max-core-hours": budget.core_hours,
    }
    return [(name, str(value)) for name, value in given.items() if value is not None]
