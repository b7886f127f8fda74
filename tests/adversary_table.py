"""Every metric of every branch against all adversaries: `make adversaries`, for whoever adds or changes a metric.

It measures now, with the code as it is: the jobs of the reference rows run in this process, in a temporary folder, and
nothing is trained or kept. Where a finished study lies in `outputs/`, its baseline is beside them, and a value that
beats it by more than the interval of the difference is marked.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.opening import open_study
from orchestrator.plan.job import Job
from orchestrator.reporting.artifacts import ArtifactReader, lines_of
from orchestrator.reporting.collect import case_values, sections_of
from orchestrator.spec.cell import Cell
from orchestrator.study import Study
from reports.formats import decimals_of, number
from reports.input import CaseValues, ResultLine, RowInfo
from reports.measured import Measured, combinations, measured
from reports.spec import ReferenceSpec
from reports.suspects import beaten
from workloads.contract.metrics import CASES, case_of
from workloads.contract.request import Execution, Rendezvous, Request
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.report import REPORT

MATRIX = Path(__file__).parents[1] / "matrix.yaml"
EXECUTION = Execution(
    device="cpu",
    ranks=1,
    threads=1,
    micro_batch=None,
    accumulate=1,
    deepspeed={},
    checkpoint_every_s=1e9,
    keep="weights",
    grace_s=1.0,
    deterministic=True,
)
ALONE = Rendezvous(world_size=1, rank=0, local_rank=0, address=None, port=None, listen_fd=None)
MARK = "!"


def tables(study: Study, work: Path) -> Iterator[str]:
    """A table for each branch: references by metrics."""
    assert REPORT.references is not None
    cells = [cell for cell in study.plan.cells if cell.reference and cell.seed == study.plan.cells[0].seed]
    names = REPORT.references
    of_baseline = [one for one in study.plan.cells if one.row == names.baseline and one.seed == cells[0].seed]
    known = case_values(ArtifactReader(study.plan, study.store), study.standings(), of_baseline)
    values = [*known.values, *_measured_now(study, cells, work)]
    metrics = sorted({f"{value.branch}/{value.metric}" for value in values if "@" not in value.metric})
    given = CaseValues(
        study=study.plan.study,
        profile=study.plan.profile,
        seeds=[cells[0].seed],
        rows=[
            *known.rows,
            *(RowInfo(name=cell.row, family=cell.family, alias_of=None, reference=True) for cell in cells),
        ],
        values=values,
        missing=[],
        sections=sections_of(study.plan.cells),
        spec=replace(REPORT, references=replace(names, guarded=metrics)),
    )
    found = measured(given, combinations(given))
    rows = [names.ceiling, *(row.name for row in known.rows), *(c.row for c in cells if c.row != names.ceiling)]
    if not known.values:
        told = f"no finished {names.baseline} in {study.home}, so nothing is marked"
        yield f"{told}; `echo-matrix run --rows {names.baseline}`"
        rows = [row for row in rows if row != names.baseline]
    for branch in study.plan.workload.branch_names:
        own = [metric for metric in metrics if metric.startswith(f"{branch}/")]
        if own:
            yield table_text(found, names, branch, own, rows)


def table_text(found: Measured, names: ReferenceSpec, branch: str, metrics: Sequence[str], rows: Sequence[str]) -> str:
    """Rows by metrics of one branch, as text."""
    won = {metric: {one.row for one in beaten(found, metric)} for metric in metrics}
    lines = [[branch, *(_title(found, metric) for metric in metrics)]]
    for row in rows:
        values = [number(found.mean(metric, row), decimals_of(found.spec, metric.split("/")[1])) for metric in metrics]
        marks = [MARK if row in won[metric] else " " for metric in metrics]
        kind = "  (may score)" if row in names.lines else ""
        lines.append([f"{row}{kind}", *(f"{v or '–'} {m}" for v, m in zip(values, marks, strict=True))])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _title(found: Measured, metric: str) -> str:
    return f"{metric.partition('/')[2]} {'↑' if found.panels[metric].better == 'high' else '↓'} "


def _measured_now(study: Study, cells: Sequence[Cell], work: Path) -> Iterator[ResultLine]:
    """The values of the reference rows, by the code as it is."""
    made: dict[str, str] = {}
    for name, job_id in study.plan.jobs_of[cells[0].id].items():
        job = study.plan.jobs[job_id]
        out = work / name.replace("/", "-")
        made[job_id] = str(run_here(job, out, {stage: made[need] for stage, need in job.inputs.items()}))
        for cell in cells if job.branch is not None else ():
            found = list(lines_of(out / "out" / job.part_of(cell) / CASES, case_of))
            for line in (*found, *study.plan.workload.derive(str(job.branch), found)):
                yield ResultLine(row=cell.row, seed=cell.seed, axes="", branch=str(job.branch), **line)


def run_here(job: Job, folder: Path, inputs: Mapping[str, str]) -> Path:
    """The folder with the result of a job, run here."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    request = Request(
        job=job.id,
        stage=job.stage,
        branch=job.branch,
        fingerprint=job.fingerprint,
        attempt="a1",
        config=job.config,
        row=job.row,
        seed=job.seed,
        inputs=inputs,
        out=str(folder / "out"),
        work=str(folder / "work"),
        resume=None,
        execution=EXECUTION,
        rendezvous=ALONE,
    )
    progress = Progress(folder / "work", writes=False)
    outcome: StageOutcome = import_module(job.spec.module).run(request, progress)
    progress.close()
    assert not outcome.stopped
    return folder / "out"


def main(overrides: Sequence[str]) -> int:
    """Print the tables; `overrides` are KEY=VALUE of matrix.yaml."""
    try:
        study = open_study(MATRIX, overrides=overrides)
        with tempfile.TemporaryDirectory(prefix="adversaries-") as work:
            print("\n\n".join(tables(study, Path(work))))
    except OrchestratorError as error:
        print(f"adversaries: {error}", file=sys.stderr)
        return 2
    assert REPORT.references is not None
    print(f"\n{MARK} beats {REPORT.references.baseline} by more than the 95 % interval of the difference, over cases")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
