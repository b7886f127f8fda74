"""A small plan with an alias, and committed-looking artifacts, for tests of tracking and results."""

import hashlib
import json
from pathlib import Path

from orchestrator.plan.job import Job, Plan, Standing
from orchestrator.spec.cell import Cell, Deviation, Resources
from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.study.workload import WORKLOAD

RESOURCES = Resources(cpus=1, devices=0, memory_gib=1.0, minutes=1.0)
STEPS = 25
CONTROLS = {
    "data": {"source": "worlds", "height": 8, "width": 16},
    "codec": {},
    "evidence": {"rule": "spread", "min_overlap": 0.3, "drop": 0.1},
    "action": {},
    "backbone": {},
    "training": {"steps": STEPS, "global_batch": 8},
    "sampler": {"negative": "x" * 900},
    "judge": {"name": "mask"},
}


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


STAGES = (("train", None), ("evaluate", "return"), ("judge", "return"))


def made_plan(
    rows: tuple[str, ...] = ("context-k1", "context-k5"),
    alias: str | None = "spatial-withheld",
    stages: tuple[tuple[str, str | None], ...] = STAGES,
) -> Plan:
    """Cells of one seed; `alias` is another name of the first row."""
    cells, jobs, jobs_of = [], {}, {}
    names = [(row, row) for row in rows] + ([(alias, rows[0])] if alias else [])
    for row, computed in names:
        cell = f"{row}/s0"
        cells.append(
            Cell(
                id=cell, row=row, axes=(), seed=0, family=row.split("-")[0], reference=False,
                trained={"family": "context", "frames": 1}, evaluated={"family": "context", "frames": 1},
                controls=CONTROLS,
                branches={"return": {"cases": 2}}, alias_of=f"{computed}/s0" if row != computed else None,
                fingerprint=fingerprint(cell),
            )
        )  # fmt: skip
        served = tuple(f"{name}/s0" for name, c in names if c == computed)
        jobs_of[cell] = {}
        for stage, branch in stages:
            name = f"{stage}/{branch}" if branch else stage
            id_ = f"{name}/{fingerprint(name + computed)[:12]}"
            jobs_of[cell][name] = id_
            jobs[id_] = Job(
                id=id_, label=f"{name}/{computed}/s0", spec=WORKLOAD.by_name[stage],
                branch=branch, fingerprint=fingerprint(id_[::-1]),
                config={}, row=None, seed=0, inputs={}, resources=RESOURCES, cells=served,
            )  # fmt: skip
    return Plan(
        study="toy", workload_name=DEFAULT_WORKLOAD, workload=WORKLOAD,
        profile="laptop", overrides=(), controls_fingerprint="c" * 64,
        deviations=(Deviation(key="memory.masked", rows=("x",), reason="because"),),
        tables={"families": rows}, cells=tuple(cells), jobs=jobs, jobs_of=jobs_of,
    )  # fmt: skip


def write_metrics(folder: Path, first: int = 1, last: int = STEPS) -> None:
    """Append steps to the folder's metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        for step in range(first, last + 1):
            for name, value in (("loss", 1 / step), ("rate", 0.1), ("recurrence_share", 1e-5)):
                file.write(json.dumps({"step": step, "name": name, "value": value, "wall": 0.0}) + "\n")


VALUES = {
    "evaluate": [("psnr_first", "dB", (10.0, 20.0))],
    "judge": [("judge", "points:mask", (10.0, 20.0))],
    "camera": [("camera_left", "1", (0.0, 1.0)), ("camera_measurable", "1", (0.0, 1.0)),
               ("camera_refused", "1", (0.0, 0.0))],
}  # fmt: skip
"""Stage -> metric, unit and values of its two cases."""


def write_artifact(folder: Path, stage: str) -> Path:
    """What a job of `stage` publishes, as far as tracking and results read it."""
    folder.mkdir(parents=True, exist_ok=True)
    if stage == "train":
        write_metrics(folder)
        return folder
    lines = [
        json.dumps({"case": f"worlds/open-00-{i}/0", "metric": metric, "unit": unit, "better": "high", "value": v})
        for metric, unit, values in VALUES[stage]
        for i, v in enumerate(values)
    ]
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if stage == "evaluate":
        (folder / "strips").mkdir(exist_ok=True)
        (folder / "strips" / "worlds_open-00-0_0.png").write_bytes(b"png")
        (folder / "cases.json").write_text(json.dumps([{"id": "worlds/open-00-0/0", "slug": "worlds_open-00-0_0"}]))
    return folder


def standing(state: str) -> Standing:
    return Standing(state=state, reason="")  # type: ignore[arg-type]
