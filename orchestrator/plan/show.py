"""The plan as text and as JSON. Text is never wrapped, so that labels can be copied."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from orchestrator.plan.gaps import gaps
from orchestrator.plan.growth import Growth, counts_of
from orchestrator.plan.growth_show import items_json
from orchestrator.plan.job import Job, Plan, RowReason, Standing, State
from orchestrator.plan.rows import REASONS
from orchestrator.spec.cell import Deviation
from orchestrator.wording import counted, shortened, shortened_lines

VERSION = 1

STATES: tuple[State, ...] = get_args(State)

WOULD_RUN: tuple[State, ...] = ("new", "retry")

SHOWN = 12
"""Jobs of one state and reason that are listed; the others are counted."""


def plan_json(
    plan: Plan, standings: Mapping[str, Standing], growth: Mapping[str, Growth] | None = None
) -> dict[str, Any]:
    """The object of `plan --json`, version 1. `counts` holds the states that occur.

    `growth`: of the jobs that are not done.
    """
    return {
        "version": VERSION,
        "study": plan.study,
        "profile": plan.profile,
        "controls": {
            "fingerprint": plan.controls_fingerprint,
            "deviations": [deviation_json(deviation) for deviation in plan.deviations],
        },
        "cells": [
            {
                "id": cell.id,
                "row": cell.row,
                "seed": cell.seed,
                "axes": dict(cell.axes),
                "jobs": dict(plan.jobs_of[cell.id]),
            }
            for cell in plan.cells
        ],
        "excluded": [
            {"id": one.id, "row": one.row, "seed": one.seed, "axes": dict(one.axes), "by": one.entry}
            for one in plan.excluded
        ],
        "added": dict(plan.added),
        "outside": list(plan.outside),
        "warnings": gaps(plan),
        "jobs": [job_json(job, standings[job.id], (growth or {}).get(job.id)) for job in plan.jobs.values()],
        "counts": counts(standings),
    }


def job_json(job: Job, standing: Standing, growth: Growth | None = None) -> dict[str, Any]:
    """A job and its state as JSON; `growth`: while it is not done."""
    counts = counts_of(job, growth, done=standing.state == "done")
    return {
        "id": job.id,
        "stage": job.stage,
        "label": job.label,
        "fingerprint": job.fingerprint,
        "state": standing.state,
        "needs": list(job.needs),
        "reason": standing.reason,
        "items": None if counts is None else items_json(counts),
    }


def added_text(added: Mapping[str, RowReason]) -> str:
    """Rows outside the profile with the reason why they are in the plan: `a, b (it has results)`."""
    by_reason: dict[RowReason, list[str]] = defaultdict(list)
    for row, why in added.items():
        by_reason[why].append(row)
    return "; ".join(f"{shortened(rows, SHOWN)} ({REASONS[why]})" for why, rows in by_reason.items())


def outside_lines(plan: Plan) -> list[str]:
    """The rows outside the profile: those that are in the plan, with the reason, and those that are not."""
    lines = [f"beside the rows of profile {plan.profile}: {added_text(plan.added)}"] if plan.added else []
    if plan.outside:
        named = shortened(list(plan.outside), SHOWN)
        rows = counted(len(plan.outside), "row")
        lines.append(f"not in profile {plan.profile}: {rows}, {named}; `--rows NAME` adds one")
    return lines


def deviation_json(deviation: Deviation) -> dict[str, Any]:
    """A deviation as JSON; with `value` only if its key is a control."""
    shown: dict[str, Any] = {"key": deviation.key, "rows": list(deviation.rows), "reason": deviation.reason}
    if deviation.key.startswith("controls."):
        value = deviation.value
        shown["value"] = list(value) if isinstance(value, tuple) else value
    return shown


def counts(standings: Mapping[str, Standing]) -> dict[State, int]:
    """State -> number of jobs, for the states that occur, in the order of `State`."""
    found = Counter(standing.state for standing in standings.values())
    return {state: found[state] for state in STATES if found[state]}


def counts_text(standings: Mapping[str, Standing]) -> str:
    """`3 done, 1 new`; `none` without jobs."""
    return ", ".join(f"{number} {state}" for state, number in counts(standings).items()) or "none"


def others_text(standings: Mapping[str, Standing]) -> str:
    """The jobs that are not selected: `3 other jobs: 1 done, 2 new`, `2 other jobs, all new`, `no other jobs`."""
    if not standings:
        return "no other jobs"
    found = counts(standings)
    words = counted(len(standings), "other job")
    if len(found) > 1:
        return f"{words}: {counts_text(standings)}"
    return f"{words}, {'all ' if len(standings) > 1 else ''}{next(iter(found))}"


def plan_text(plan: Plan, standings: Mapping[str, Standing]) -> str:
    """The plan as text: jobs by state with their reasons, aliases, deviations, and counts."""
    distinct = sum(cell.alias_of is None for cell in plan.cells)
    cells = counted(len(plan.cells), "cell") + (f" ({len(plan.excluded)} excluded)" if plan.excluded else "")
    lines = [
        f"study {plan.study}, profile {plan.profile}: {cells}, {distinct} distinct, "
        f"{counted(len(plan.jobs), 'job')}, controls {plan.controls_fingerprint[:12]}"
    ]
    if plan.overrides:
        lines.append(f"overrides: {' '.join(plan.overrides)}")
    by_state: dict[State, list[Job]] = defaultdict(list)
    for job in plan.jobs.values():
        by_state[standings[job.id].state].append(job)
    for state in STATES:
        if state in by_state and state != "done":
            lines += ["", f"{state} ({len(by_state[state])})", *_table(by_state[state], standings)]
    aliases = [f"  {cell.id} = {cell.alias_of}" for cell in plan.cells if cell.alias_of is not None]
    if aliases:
        lines += ["", "aliases: the same computation, run once", *shortened_lines(aliases, SHOWN, "aliases")]
    if plan.excluded:
        entries = Counter((one.place, one.entry) for one in plan.excluded)
        lines += ["", "excluded"]
        lines += [f"  {counted(n, 'cell')} by {place}: {entry}" for (place, entry), n in entries.items()]
        lines += [f"  warning: {warning}" for warning in gaps(plan)]
    if outside := outside_lines(plan):
        lines += ["", *outside]
    there = {cell.row for cell in plan.cells}
    deviations = [(d, rows) for d in plan.deviations if (rows := [row for row in d.rows if row in there])]
    if deviations:
        lines += ["", "deviations"]
        lines += [f"  {d.key} of {', '.join(rows)}{_value(d)}: {d.reason}" for d, rows in deviations]
    found = counts(standings)
    lines += ["", ", ".join(f"{number} {state}" for state, number in found.items()) or "no jobs"]
    if not any(state in found for state in STATES if state != "done"):
        lines.append("nothing to do")
    elif not any(state in found for state in WOULD_RUN):
        lines.append("no new jobs to start")
    return "\n".join(lines) + "\n"


def _table(jobs: Sequence[Job], standings: Mapping[str, Standing]) -> list[str]:
    """Lines of label, id and reason; of each stage and reason, at most `SHOWN` jobs are listed."""
    alike: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        alike[job.stage, standings[job.id].reason.partition(": ")[0]].append(job)
    shown = [job for group in alike.values() for job in group[:SHOWN]]
    width = max(len(job.label) for job in shown)
    ids = max(len(job.id) for job in shown)
    lines: list[str] = []
    for (stage, reason), group in alike.items():
        lines += [f"  {job.label:<{width}}  {job.id:<{ids}}  {standings[job.id].reason}" for job in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"  ... and {len(group) - SHOWN} more of {stage}: {reason}")
    return lines


def _value(deviation: Deviation) -> str:
    return f" = {deviation.value!r}" if deviation.key.startswith("controls.") else ""
