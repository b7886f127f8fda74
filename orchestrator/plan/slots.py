"""Slots: how much of something may be in use at a time over all hosts, such as jobs of a stage, or a server. Pure.

A cluster file says how many slots of a name there are. Each job takes one slot of the name of its stage, and those that
`resources.STAGE.slots` asks for; of a name that the cluster file does not have there is no end.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.errors import MatrixError
from orchestrator.plan.job import Job
from orchestrator.spec.cell import Resources
from orchestrator.spec.lines import nearest
from orchestrator.wording import counted

MOST_NAMED = 4
"""Jobs that are named; the others are counted."""


def slots_of(stage: str, resources: Resources, limits: Mapping[str, int]) -> dict[str, int]:
    """Name -> slots that a job takes, of those that are limited."""
    if not limits:
        return {}
    return {name: number for name, number in ({stage: 1} | dict(resources.slots)).items() if name in limits}


def check_slots(
    limits: Mapping[str, int], resources: Mapping[str, Resources], others: Iterable[str], file: Path
) -> None:
    """Refuse limits that no job takes slots of, and jobs that need more slots than there are.

    Args:
        limits: `slots` of the cluster file.
        resources: by stage, of the profile.
        others: names of slots that other profiles ask for.
        file: the cluster file, for messages.

    Raises:
        MatrixError: with the name, and what is allowed.
    """
    known = {*resources, *others, *(name for one in resources.values() for name in one.slots)}
    for name, limit in limits.items():
        if name not in known:
            raise MatrixError(
                f"{file}: slots.{name} limits nothing: it is no stage and no resources.STAGE.slots names it"
                f"{nearest(name, known)}; allowed: {', '.join(sorted(known))}"
            )
        for stage, needs in resources.items():
            number = slots_of(stage, needs, limits).get(name, 0)
            if number > limit:
                raise MatrixError(
                    f"resources.{stage}.slots.{name} is {number}, and slots.{name} of {file} is {limit}; no job of "
                    f"{stage} could start; lower the one or raise the other"
                )


def slot_words(job: Job, live: Iterable[Job], limits: Mapping[str, int]) -> list[str]:
    """What slots a job waits for, and which jobs have them: `judge: 4 of 4 taken by ...`; empty: for none.

    Args:
        job: that is ready.
        live: the jobs that have attempts.
        limits: `slots` of the cluster file.
    """
    found: list[str] = []
    others = list(live)
    for name, needed in slots_of(job.stage, job.resources, limits).items():
        taken = {one.label: slots_of(one.stage, one.resources, limits).get(name, 0) for one in others}
        used = sum(taken.values())
        if used + needed > limits[name]:
            labels = [label for label, number in taken.items() if number]
            more = f" and {counted(len(labels) - MOST_NAMED, 'other')}" if len(labels) > MOST_NAMED else ""
            found.append(f"{name}: {used} of {limits[name]} taken by {', '.join(labels[:MOST_NAMED])}{more}")
    return found


class SlotCount:
    """Which slots live attempts have; `limits`: `slots` of the cluster file."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self._held: dict[str, Mapping[str, int]] = {}

    def take(self, attempt: str, stage: str, resources: Resources) -> None:
        """Count an attempt."""
        if self.limits:
            self._held[attempt] = slots_of(stage, resources, self.limits)

    def release(self, attempt: str) -> None:
        """Count an attempt no more."""
        self._held.pop(attempt, None)

    def free(self) -> dict[str, int]:
        """Name -> slots that are free; below 0 where an earlier run had more."""
        free = dict(self.limits)
        for held in self._held.values():
            for name, number in held.items():
                free[name] -= number
        return free
