"""Options of `run` that bound what it spends."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import typer

from orchestrator.errors import PlanError
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
    if found := AFTER.fullmatch(plain):
        return (now + timedelta(minutes=float(found[1]) * MINUTES[found[2]])).timestamp()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", plain):
            at = datetime.strptime(plain, "%H:%M").replace(year=now.year, month=now.month, day=now.day)
            return (at if at > now else at + timedelta(days=1)).timestamp()
        found_at = datetime.fromisoformat(plain)
    except ValueError:
        raise PlanError(f"--until {text!r} is no time; allowed: {FORMS}") from None
    if found_at.timestamp() <= now.timestamp():
        raise PlanError(f"--until {text!r} has passed; it is {now:%Y-%m-%d %H:%M}")
    return found_at.timestamp()


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
            min=0.0,
            help="Spend at most so many devices times hours; jobs without devices are not counted.",
        ),
    ] = None
    max_core_hours: Annotated[
        float | None,
        typer.Option(
            "--max-core-hours",
            metavar="H",
            min=0.0,
            help="Spend at most so many cpus times hours on jobs without devices.",
        ),
    ] = None

    @property
    def budget(self) -> Budget:
        """The budget.

        Raises:
            PlanError: a time that is none, or has passed.
        """
        until = None if self.until is None else parsed_time(self.until, datetime.now())
        return Budget(jobs=self.limit, until=until, device_hours=self.max_device_hours, core_hours=self.max_core_hours)


def budget_arguments(budget: Budget) -> Sequence[tuple[str, str]]:
    """The options that give this budget to another `run`."""
    until = None if budget.until is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(budget.until))
    given = {
        "limit": budget.jobs,
        "until": until,
        "max-device-hours": budget.device_hours,
        "max-core-hours": budget.core_hours,
    }
    return [(name, str(value)) for name, value in given.items() if value is not None]
