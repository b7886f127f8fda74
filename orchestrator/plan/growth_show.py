"""Growth as text and as JSON, for `plan`, `status` and the first lines of a run: what is reused, continued and new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.plan.forecast import Forecaster
from orchestrator.plan.forecast_show import duration_words
from orchestrator.plan.growth import NONE, Growth, ItemCounts, counts_of
from orchestrator.plan.job import Job, Standing
from orchestrator.wording import counted

REUSED, CONTINUED, NEW = "reused", "continued", "new"


@dataclass(kw_only=True)
class StageGrowth:
    """What some jobs of one stage, on one branch, reuse and make."""

    stage: str
    branch: str | None
    item: str
    """What their items are; empty: they have none."""
    jobs: dict[str, int] = field(default_factory=lambda: {REUSED: 0, CONTINUED: 0, NEW: 0})
    """Those that are done; those of which finished jobs have a part; the others."""
    items: ItemCounts = field(default_factory=ItemCounts)
    needed_s: float = 0.0
    """Estimated duration of what is left, as if one job ran after the other, s."""
    reused_s: float = 0.0
    """The same of what is there."""

    @property
    def name(self) -> str:
        """`evaluate/return`, or the stage."""
        return self.stage if self.branch is None else f"{self.stage}/{self.branch}"

    @property
    def open(self) -> int:
        """Number of jobs that are not done."""
        return self.jobs[CONTINUED] + self.jobs[NEW]


def stage_growth(
    jobs: Mapping[str, Job],
    standings: Mapping[str, Standing],
    growth: Mapping[str, Growth],
    forecaster: Forecaster,
) -> list[StageGrowth]:
    """What these jobs reuse and make, by stage and branch, in the plan's order.

    Args:
        jobs: of the plan, by id, with those of `standings`.
        standings: of the jobs in question.
        growth: of those that are not done.
        forecaster: that knows `growth`.
    """
    found: dict[tuple[str, str | None], StageGrowth] = {}
    for job_id, now in standings.items():
        job, done = jobs[job_id], now.state == "done"
        grown = growth.get(job_id, NONE)
        counts = counts_of(job, grown, done=done)
        word = "" if counts is None else job.spec.item
        one = found.setdefault((job.stage, job.branch), StageGrowth(stage=job.stage, branch=job.branch, item=word))
        one.jobs[REUSED if done else CONTINUED if grown.taken else NEW] += 1
        one.items += counts or ItemCounts()
        whole = forecaster.whole(job).expected_s
        left = 0.0 if done else forecaster.of(job).expected_s
        one.needed_s += left
        one.reused_s += max(0.0, whole - left)
    return list(found.values())


def growth_json(stages: Sequence[StageGrowth]) -> list[dict[str, Any]]:
    """The key `growth` of `plan --json` and `status --json`; hours as if one job ran after the other."""
    return [
        {
            "stage": one.stage,
            "branch": one.branch,
            "jobs": dict(one.jobs),
            "item": one.item or None,
            "items": items_json(one.items) if one.item else None,
            "hours": {REUSED: one.reused_s / 3600, NEW: one.needed_s / 3600},
        }
        for one in stages
    ]


def items_json(counts: ItemCounts) -> dict[str, int]:
    """The key `items` of a job of `plan --json`, and of `growth` there."""
    return {
        "wanted": counts.wanted,
        "taken": counts.taken,
        "missing": counts.missing,
        "measured_again": counts.measured_again,
    }


def growth_lines(stages: Sequence[StageGrowth], *, grown: bool = True) -> list[str]:
    """A line for each stage and branch with something to make, and one for what is reused.

    Args:
        stages: of the jobs in question.
        grown: no lines unless a part of a job is reused; else none unless there is something to make and to reuse.
    """
    reusing = (CONTINUED,) if grown else (CONTINUED, REUSED)
    if not any(one.open for one in stages) or not any(one.jobs[kind] for one in stages for kind in reusing):
        return []
    shown = [(one.name, _words(one)) for one in stages if one.open]
    width = max(len(name) for name, _ in shown)
    lines = [f"  {name:<{width}}  {words}" for name, words in shown]
    reused, seconds = sum(one.jobs[REUSED] for one in stages), sum(one.reused_s for one in stages)
    whole = [one.name for one in stages if not one.open]
    named = f", all of {', '.join(whole)}" if whole else ""
    lines.append(f"  reused: {counted(reused, 'job')}{named}; {duration_words(seconds)} of work are not done again")
    return ["new and reused, by stage", *lines]


def added_disk_line(added: Mapping[str, int], keep_videos_gib: float | None = None) -> str:
    """`disk: what is new takes 310 MiB: weights 100 MiB, videos 210 MiB`; `added`: what -> bytes."""
    parts = ", ".join(f"{what} {_size(size)}" for what, size in added.items())
    kept = "" if keep_videos_gib is None else f"; of all videos `gc` keeps {keep_videos_gib:g} GiB (keep_videos_gib)"
    return f"disk: what is new takes {_size(sum(added.values()))}: {parts}{kept}"


def _size(size: int) -> str:
    unit, name = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    value = size / unit
    return f"{value:,.0f} {name}" if value >= 10 else f"{value:.2g} {name}"


def _words(one: StageGrowth) -> str:
    """`18 jobs: 72 of 360 cases are new; 3 min of work`."""
    every, counts = one.open + one.jobs[REUSED], one.items
    of = f"{one.open} of {counted(every, 'job')}" if one.jobs[REUSED] else counted(every, "job")
    if not one.item:
        begun = f"{one.jobs[CONTINUED]} {'goes' if one.jobs[CONTINUED] == 1 else 'go'} on from what others have made; "
        return f"{of}: {begun if one.jobs[CONTINUED] else ''}{duration_words(one.needed_s)} of work"
    wanted = counted(counts.wanted, one.item)
    said = [f"{counts.missing} of {wanted} {'is' if counts.missing == 1 else 'are'} new"]
    if counts.measured_again:
        said.append(f"{counts.measured_again} {'is' if counts.measured_again == 1 else 'are'} measured again")
    elif not counts.missing:
        said = [f"no {one.item} is new, values over all of them are computed again"]
    return f"{of}: {', '.join(said)}; {duration_words(one.needed_s)} of work"
