"""Projection of a study onto runs: pure functions from plan and files to plain values, without MLflow.

A cell is a run, identified by its fingerprint and named for people; its jobs of tracked stages appear as tags and
metric prefixes (design, Tracking).
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.plan.job import Plan
from orchestrator.spec.cell import Cell

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]

BATCH = 1000  # metrics of one request: MLflow's limit
PARAMS = 100  # parameters of one request: MLflow's limit
LONGEST_VALUE = 500  # characters of a parameter; longer ones are cut; the commit record has the whole
NOT_IN_A_NAME = re.compile(r"[^\w./ :-]")  # MLflow refuses metrics with other characters in their names

CELL_TAG = "echo_matrix.cell"
STUDY_TAG = "echo_matrix.parent"
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of one metric; `step` orders it and gives it its time."""

    name: str
    step: int
    value: float


def study_message(plan: Plan) -> dict[str, Any]:
    """The parent run: one for each (study, profile, overrides)."""
    text = json.dumps([plan.study, plan.profile, list(plan.overrides)])
    name = plan.profile + "".join(f" {override}" for override in plan.overrides)
    return {
        "experiment": plan.study,
        "key": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "name": name[:250],
        "tags": {
            "study": plan.study,
            "profile": plan.profile,
            "overrides": " ".join(plan.overrides)[:LONGEST_VALUE],
            "controls": plan.controls_fingerprint,
        },
    }


def cell_message(plan: Plan, cell: Cell, states: Mapping[str, str]) -> dict[str, Any]:
    """The run of one cell: name, tags, parameters, and its jobs with their states."""
    jobs = {name: job for name, job in plan.jobs_of[cell.id].items() if plan.jobs[job].spec.tracked}
    tags = {
        "study": plan.study,
        "profile": plan.profile,
        "row": cell.row,
        "family": cell.family,
        "seed": str(cell.seed),
        "fingerprint": cell.fingerprint,
        "alias_of": cell.alias_of or "",
        **{f"axis.{key}": value for key, value in cell.axes},
    }
    config = {
        plan.workload.rows_key: cell.evaluated,
        "controls": cell.controls,
        "branches": cell.branches,
        "seed": cell.seed,
    }
    return {
        "id": cell.id,
        "key": cell.fingerprint,
        "name": cell.id,
        "tags": tags,
        "params": flat(config),
        "jobs": {job: name for name, job in jobs.items()},
        "states": {job: states[job] for job in jobs.values() if job in states},
        "fingerprints": {job: plan.jobs[job].fingerprint for job in jobs.values()},
    }


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A resolved configuration as parameters: dotted keys, values as JSON writes them, long ones cut."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found[name] = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
    return found


def status(states: Mapping[str, str], jobs: Sequence[str]) -> Status:
    """A cell's status from the states of its jobs; a job without one is new.

    RUNNING outranks FAILED. A cell that has begun and no longer runs is KILLED, since it was ended from outside.
    """
    found = [states.get(job, "new") for job in jobs]
    if found and all(state == "done" for state in found):
        return "FINISHED"
    if any(state in ("running", "unknown") for state in found):
        return "RUNNING"
    if any(state == "failed" for state in found):
        return "FAILED"
    if any(state == "cancelled" for state in found):
        return "KILLED"
    return "SCHEDULED"


def final_status(states: Mapping[str, str], jobs: Sequence[str]) -> Status:
    """A cell's status when the run ends and none of its jobs is running.

    SCHEDULED: some jobs are done, and the others wait for a run that selects them. A job that was running has been
    ended from outside.
    """
    found = status(states, jobs)
    if found == "SCHEDULED":
        return "KILLED" if any(states.get(job) in ("retry", "waiting") for job in jobs) else "SCHEDULED"
    return "KILLED" if found == "RUNNING" else found


def point_of(stage: str, line: Mapping[str, Any]) -> Point | None:
    """A line of metrics.jsonl as a point under `{stage}/`; None: not finite, which MLflow would show as the largest
    number there is.
    """
    value = float(line["value"])
    return Point(name=f"{stage}/{line['name']}", step=int(line["step"]), value=value) if math.isfinite(value) else None


def branch_points(branch: str, lines: Iterable[Mapping[str, Any]], sent: Mapping[str, int]) -> list[Point]:
    """Lines of cases.jsonl as means over cases at step 0, under the branch's name.

    A metric that several judges report becomes one metric for each: judges are never averaged.
    """
    kept = list(lines)
    units: dict[str, set[str]] = {}
    for line in kept:
        units.setdefault(line["metric"], set()).add(line.get("unit", ""))
    grouped: dict[str, list[float]] = {}
    for line in kept:
        metric = line["metric"].replace("@", "_")
        if len(units[line["metric"]]) > 1:
            metric += f":{NOT_IN_A_NAME.sub('_', line['unit'])}"
        grouped.setdefault(f"{branch}/{metric}", []).append(float(line["value"]))
    return [
        Point(name=name, step=0, value=math.fsum(values) / len(values))
        for name, values in sorted(grouped.items())
        if name not in sent
    ]


def artifact_path(name: str, folder: str) -> str:
    """Where MLflow keeps files of an artifact's folder, "" for the artifact itself."""
    return f"{name}/{folder}".rstrip("/")
