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
from pathlib import Path
from typing import Any, Literal

from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec
from orchestrator.spec.cell import Cell

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]

BATCH = 1000  # metrics of one request: MLflow's limit
PARAMS = 100  # parameters of one request: MLflow's limit
LONGEST_VALUE = 500  # characters of a parameter; longer ones are cut; the commit record has the whole
NOT_IN_A_NAME = re.compile(r"[^\w./ :-]")  # MLflow refuses metrics with other characters in their names
SYSTEM = "system/"
"""Prefix of metrics that MLflow shows on a page of their own."""
DIGITS = 6  # of a mean over cases

CELL_TAG = "echo_matrix.cell"
STUDY_TAG = "echo_matrix.parent"
ROW_TAG = "echo_matrix.row"
PARENT_TAG = "mlflow.parentRunId"
IN_TAG = "echo_matrix.of"
"""Tag of every run but the parent, with the parent's key: a parent has runs of its own for all its cells."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of one metric; `step` orders it and gives it its time."""

    name: str
    step: int
    value: float


def study_message(
    plan: Plan, states: Mapping[str, str] | None = None, *, experiment: str = "", live: bool = True
) -> dict[str, Any]:
    """The parent run, one for each (study, profile, overrides), and what its rows and cells have in common.

    Args:
        plan: all rows of the plan.
        states: of the jobs, by id.
        experiment: in which the runs are; empty: the one with the study's name.
        live: jobs are running.
    """
    name = plan.profile + "".join(f" {override}" for override in plan.overrides)
    tracked = [job.id for job in plan.jobs.values() if job.spec.tracked]
    known = states or {}
    configs = {cell.id: flat(_config(plan, cell), cut=False) for cell in plan.cells}
    varying = varying_keys(list(configs.values()))
    columns, leading = _columns(plan)
    rows = _rows(plan)
    for label, row in rows.items():
        mine = [configs[cell.id] for cell in plan.cells if row_of(cell) == label]
        own = set(varying_keys(mine))
        row["params"] = {key: mine[0][key] for key in varying if key not in own and key in mine[0]}
    return {
        "experiment": experiment or plan.study,
        "live": live,
        "key": study_key(plan),
        "name": name[:250],
        "tags": {
            "study": plan.study,
            "profile": plan.profile,
            "overrides": " ".join(plan.overrides)[:LONGEST_VALUE],
            "controls": plan.controls_fingerprint,
            "kind": "study",
            "order": "0000",
        },
        "seeds": sorted({cell.seed for cell in plan.cells}),
        "axes": sorted({f"axis.{key}" for cell in plan.cells for key, _ in cell.axes}),
        "rows": rows,
        "states": {job: known[job] for job in tracked if job in known},
        "varying": varying,
        "constant": {key: value for key, value in next(iter(configs.values()), {}).items() if key not in varying},
        "columns": columns,
        "leading": leading,
        "curves": list(dict.fromkeys(f"{stage.name}/{stage.curve}" for stage in plan.workload.stages if stage.curve)),
        "about": {stage.name: stage.about for stage in plan.workload.stages if stage.about},
    }


def study_key(plan: Plan) -> str:
    """What distinguishes the parent run of a study, profile and overrides from others."""
    text = json.dumps([plan.study, plan.profile, list(plan.overrides)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def row_of(cell: Cell) -> str:
    """The row of a cell with the values of its axes, as in the report: its id without the seed."""
    return cell.id.rsplit("/", 1)[0]


def _rows(plan: Plan) -> dict[str, dict[str, Any]]:
    """Rows in file order: their family, seeds and jobs."""
    found: dict[str, dict[str, Any]] = {}
    for cell in plan.cells:
        row = found.setdefault(
            row_of(cell),
            {
                "row": cell.row,
                "family": cell.family,
                "reference": cell.reference,
                "alias_of": "",
                "axes": {f"axis.{key}": value for key, value in cell.axes},
                "seeds": [],
                "jobs": [],
            },
        )
        row["seeds"].append(cell.seed)
        original = "" if cell.alias_of is None else cell.alias_of.rsplit("/", 1)[0]
        row["alias_of"] = row["alias_of"] or (original if original != row_of(cell) else "")
        jobs = (job for job in plan.jobs_of[cell.id].values() if plan.jobs[job].spec.tracked)
        row["jobs"] += [job for job in jobs if job not in row["jobs"]]
    return found


def _columns(plan: Plan) -> tuple[list[dict[str, Any]], str]:
    """The metric that stands for each branch as far as the study declares it, and the branch that orders rows."""
    spec = report_spec(plan.workload)
    columns = [
        {
            "branch": branch.name,
            "metric": part.metric,
            "name": spec.metrics.get(part.metric, part.metric),
            "unit": "",
            "better": part.better,
            "decimals": 3,
        }
        for branch in spec.branches
        if branch.ranked and branch.name in plan.branches
        for part in branch.score[:1]
    ]
    return columns, spec.contrast[1] if spec.contrast else next(iter(plan.branches), "")


def _config(plan: Plan, cell: Cell) -> dict[str, Any]:
    return {
        "row": row_of(cell),
        plan.workload.rows_key: cell.evaluated,
        "controls": cell.controls,
        "branches": cell.branches,
        "seed": cell.seed,
    }


def varying_keys(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys in which some of these differ, or that some do not have: only they tell cells apart."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len({config.get(key) for config in configs}) > 1]


def cell_message(plan: Plan, cell: Cell, states: Mapping[str, str]) -> dict[str, Any]:
    """The run of one cell: name, tags, parameters, data, and its jobs with their states."""
    jobs = {name: job for name, job in plan.jobs_of[cell.id].items() if plan.jobs[job].spec.tracked}
    tags = {
        "study": plan.study,
        "profile": plan.profile,
        "kind": "reference cell" if cell.reference else "cell",
        "row": cell.row,
        "family": cell.family,
        "seed": str(cell.seed),
        "fingerprint": cell.fingerprint,
        "alias_of": cell.alias_of or "",
        **{f"axis.{key}": value for key, value in cell.axes},
    }
    return {
        "id": cell.id,
        "key": cell.fingerprint,
        "name": cell.id,
        "row": row_of(cell),
        "tags": tags,
        "params": flat(_config(plan, cell)),
        "jobs": {job: name for name, job in jobs.items()},
        "parts": {job: part for job in jobs.values() if (part := plan.jobs[job].part_of(cell))},
        "states": {job: states[job] for job in jobs.values() if job in states},
        "fingerprints": {job: plan.jobs[job].fingerprint for job in jobs.values()},
        "inputs": _inputs(plan, jobs.values()),
    }


def _inputs(plan: Plan, jobs: Iterable[str]) -> list[dict[str, str]]:
    """What the jobs read that is no result of a cell: name, fingerprint, id, and the stages that read it."""
    readers: dict[str, list[str]] = {}
    order = {job: number for number, job in enumerate(plan.jobs)}
    for job in jobs:
        for needed in plan.jobs[job].needs:
            if not plan.jobs[needed].spec.tracked:
                stages = readers.setdefault(needed, [])
                stages += [plan.jobs[job].stage] if plan.jobs[job].stage not in stages else []
    return [
        {"job": job, "name": plan.jobs[job].stage, "fingerprint": plan.jobs[job].fingerprint, "for": ", ".join(stages)}
        for job, stages in sorted(readers.items(), key=lambda one: order[one[0]])
    ]


def flat(config: Mapping[str, Any], prefix: str = "", *, cut: bool = True) -> dict[str, str]:
    """A resolved configuration as parameters: dotted keys, values as JSON writes them, long ones cut."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.", cut=cut)
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found[name] = text if len(text) <= LONGEST_VALUE or not cut else f"{text[: LONGEST_VALUE - 1]}…"
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
    """A line of metrics.jsonl as a point under `{stage}/`, of system metrics under `system/`.

    None: not finite, which MLflow would show as the largest number there is.
    """
    value = float(line["value"])
    name = line["name"] if line["name"].startswith(SYSTEM) else f"{stage}/{line['name']}"
    return Point(name=name, step=int(line["step"]), value=value) if math.isfinite(value) else None


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
        metric = line["metric"]
        if len(units[metric]) > 1:
            metric += f":{line['unit']}"
        grouped.setdefault(metric_name(f"{branch}/{metric}"), []).append(float(line["value"]))
    return [
        Point(name=name, step=0, value=shown(math.fsum(values) / len(values)))
        for name, values in sorted(grouped.items())
        if name not in sent
    ]


def shown(value: float) -> float:
    """A value with the digits that fit a column of MLflow's tables, which shows all; results.csv has the whole."""
    return float(f"{value:.{DIGITS}g}")


def metric_name(name: str) -> str:
    """A metric's name with the characters that MLflow takes."""
    return NOT_IN_A_NAME.sub("_", name)


def place_in(home: Path, place: str) -> str:
    """A path or URL for people; inside the study's folder, relative to it: it stays right when that is moved."""
    path = Path(place)
    return str(path.relative_to(home)) if path.is_relative_to(home) else place


def artifact_path(name: str, folder: str) -> str:
    """Where MLflow keeps files of an artifact's folder, "" for the artifact itself."""
    return f"{name}/{folder}".rstrip("/")
