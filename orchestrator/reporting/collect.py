"""Collecting results: reads committed artifacts of a plan, as case values and as the report's input.

A result that does not exist is listed as missing, with the state of its job.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.plan.durations import Duration
from orchestrator.plan.job import Plan, Standing
from orchestrator.plan.reported import report_spec, restricted
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.certificate import certificate, is_own
from orchestrator.reporting.pictures import Pictures
from orchestrator.reporting.registration.changes import registration_of
from orchestrator.reporting.registration.file import Entry
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.spec.cell import Cell
from orchestrator.store.protocol import StoreReader
from reports.input import (
    CaseValues,
    Cost,
    Curve,
    Excluded,
    JobDuration,
    LeftOut,
    Missing,
    Race,
    ReportInput,
    ResultLine,
    RowInfo,
    Source,
)
from workloads.contract.rows import row_from
from workloads.contract.workload import LEFT_OUT, Workload


def case_values(
    reader: ArtifactReader,
    standings: Mapping[str, Standing],
    cells: Sequence[Cell] | None = None,
    branches: Collection[str] | None = None,
    race: Race | None = None,
) -> CaseValues:
    """The values of these cells on these branches, and what is missing of them; by default of the whole plan.

    Args:
        reader: has the plan and its artifacts.
        standings: by job id; the reason of a missing result.
        cells: of the plan.
        branches: names.
        race: of the rows: what it stopped is excluded, and not missing.

    Raises:
        StoreError: a commit record or its files are damaged.
    """
    plan = reader.plan
    cells = plan.cells if cells is None else cells
    values: list[ResultLine] = []
    missing: list[Missing] = []
    left_out: list[LeftOut] = []
    jobs = ((plan.jobs[job], cell) for cell in cells for job in plan.jobs_of[cell.id].values())
    reader.read_ahead(
        reader.cases,
        (
            (job.id, job.part_of(cell))
            for job, cell in jobs
            if job.branch is not None and _asked(job.branch, plan, branches)
        ),
    )
    stopped = _stopped(reader, cells, race)
    for cell in cells:
        axes = axes_text(cell.axes)
        if cell.id in stopped:
            continue
        missing += [one for one in _missing(cell, axes, plan, standings, reader) if _asked(one.branch, plan, branches)]
        lines: dict[str, list[dict[str, Any]]] = {}
        for job in plan.jobs_of[cell.id].values():
            spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
            if branch is None or not _asked(branch, plan, branches) or not is_own(cell, spec):
                continue
            commit, part = reader.commit(job), plan.jobs[job].part_of(cell)
            if commit is None:
                continue
            lines.setdefault(branch, []).extend(reader.cases(job, part))
            reason = commit.result.get("records", {}).get(LEFT_OUT, {}).get(part) if part else None
            if reason:
                left_out.append(LeftOut(row=cell.row, seed=cell.seed, axes=axes, branch=branch, reason=str(reason)))
        for branch, measured in lines.items():
            for line in (*measured, *plan.workload.derive(branch, measured)):
                values.append(ResultLine(row=cell.row, seed=cell.seed, axes=axes, branch=branch, **line))
    spec_of_report = restricted(report_spec(plan.workload), plan.branches if branches is None else branches)
    return CaseValues(
        study=plan.study,
        profile=plan.profile,
        seeds=tuple(dict.fromkeys(cell.seed for cell in cells)),
        rows=rows_of(cells, plan.workload),
        values=values,
        missing=missing,
        sections=sections_of(plan.cells),
        excluded=[*_excluded(plan, cells), *stopped.values()],
        left_out=left_out,
        outside=tuple(plan.outside) if len(cells) == len(plan.cells) else (),
        defaults=plan.defaults,
        spec=spec_of_report,
        controls=certificate(reader),
    )


def report_input(
    plan: Plan,
    standings: Mapping[str, Standing],
    store: StoreReader,
    durations: Iterable[Duration] = (),
    registered: Sequence[Entry] = (),
    runs: Mapping[str, str] | None = None,
    cache: ResultsCache | None = None,
    race: Race | None = None,
) -> ReportInput:
    """The report's input.

    Args:
        plan: all rows of the plan.
        standings: by job id; the reason of a missing result.
        store: has the artifacts.
        durations: how long jobs took, of this plan and of others.
        registered: what was registered of it, oldest first.
        runs: cell id -> http address of its run in the tracker, as far as known.
        cache: of what was read before; what is read now is kept in it.
        race: of the rows.

    Raises:
        StoreError: a commit record or its files are damaged.
    """
    reader = ArtifactReader(plan, store, cache)
    measured = case_values(reader, standings, race=race)
    reader.read_all()
    costs: list[Cost] = []
    pictures = Pictures(reader)
    sources: list[Source] = []
    curves: list[Curve] = []
    workload = plan.workload
    contrast = measured.spec.contrast
    filmed = contrast[-1:] if contrast is not None else tuple(plan.branches)
    notes = workload.notes(plan.cells, measured.sections)
    gits: set[str] = set()
    for cell in plan.cells:
        axes = axes_text(cell.axes)
        for job in plan.jobs_of[cell.id].values():
            spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
            commit = reader.commit(job)
            if commit is None or not is_own(cell, spec):
                continue
            if spec is workload.checked:
                gits.add(commit.git)
            records = commit.result.get("records", {})
            told = records.get(spec.told) if spec.told else None
            notes += [str(sentence) for sentence in told] if isinstance(told, Mapping) else []
            sources.append(
                Source(
                    row=cell.row,
                    seed=cell.seed,
                    axes=axes,
                    stage=spec.name,
                    branch=branch or "",
                    job=plan.jobs[job].label,
                    fingerprint=plan.jobs[job].fingerprint,
                    run=(runs or {}).get(cell.id, ""),
                )
            )
            part, of = plan.jobs[job].part_of(cell), (cell.row, cell.seed, axes, branch or "")
            if spec.videos and branch in filmed:
                pictures.add_videos(of, job, reader.videos(job, part))
            if spec.images:
                pictures.add_images(of, job, reader.images(job, part))
            if spec.curve:
                steps, drawn, last = reader.series(job)
                curves.append(Curve(row=cell.row, seed=cell.seed, axes=axes, steps=steps, values=drawn))
                notes += workload.remarks(cell.id, last)
            cost = {key: float(value) for key, value in commit.result.get("cost", {}).items() if value is not None}
            cost.setdefault("device_s", commit.ended - commit.started)
            costs.append(Cost(row=cell.row, seed=cell.seed, axes=axes, stage=spec.name, branch=branch, values=cost))
    strips, videos = pictures.shown()
    reader.save()
    return ReportInput(
        **vars(measured),
        git=", ".join(sorted(filter(None, gits))),
        tables=plan.tables,
        costs=costs,
        strips=strips,
        curves=curves,
        sources=sources,
        videos=videos,
        durations=_durations(plan, durations),
        registration=registration_of(registered, plan, measured.spec),
        race=race,
        notes=list(dict.fromkeys(notes)),
    )


def axes_text(axes: Iterable[tuple[str, str]]) -> str:
    """Axis values as `key=value;...`."""
    return ";".join(f"{key}={value}" for key, value in axes)


def _durations(plan: Plan, durations: Iterable[Duration]) -> list[JobDuration]:
    """The durations of the plan's jobs, in its order."""
    known = {one.fingerprint: one for one in durations}
    return [
        JobDuration(
            stage=job.stage,
            branch=job.branch or "",
            estimated_s=known[job.fingerprint].estimated_s,
            basis=known[job.fingerprint].basis,
            measured_s=known[job.fingerprint].seconds,
            p95_s=known[job.fingerprint].p95_s,
        )
        for job in plan.jobs.values()
        if job.fingerprint in known
    ]


def sections_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """The controls of all cells together, since a cell has only the row controls that its row reads."""
    sections: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for name, section in {**cell.controls, **{f"branch {b}": s for b, s in cell.branches.items()}}.items():
            for key, value in section.items():
                sections.setdefault(name, {}).setdefault(key, value)
    return sections


def _stopped(reader: ArtifactReader, cells: Sequence[Cell], race: Race | None) -> dict[str, Excluded]:
    """Cell id -> what the report says of it, of cells without any result whose row the race stopped before."""
    found: dict[str, Excluded] = {}
    if race is None:
        return found
    from reports.race_progress import stopped_words  # numpy, where there was a race

    why = stopped_words(race)
    for cell in cells:
        seeds, words = why.get(cell.row, (len(race.seeds), ""))
        jobs = (reader.plan.jobs[job] for job in reader.plan.jobs_of[cell.id].values())
        if cell.seed in race.seeds[seeds:] and not any(
            is_own(cell, job.spec) and reader.commit(job.id) is not None for job in jobs
        ):
            found[cell.id] = Excluded(row=cell.row, seed=cell.seed, axes=axes_text(cell.axes), entry=words, by="race")
    return found


def _excluded(plan: Plan, cells: Sequence[Cell]) -> list[Excluded]:
    """The excluded cells of the rows and seeds of these cells."""
    rows, seeds = {cell.row for cell in cells}, {cell.seed for cell in cells}
    every = len(cells) == len(plan.cells)  # then a row of which no cell is left is named too
    return [
        Excluded(row=one.row, seed=one.seed, axes=axes_text(one.axes), entry=one.entry)
        for one in plan.excluded
        if every or (one.row in rows and one.seed in seeds)
    ]


def _asked(branch: str, plan: Plan, branches: Collection[str] | None) -> bool:
    """Whether a missing result is asked for: of these branches, or of a stage, which every branch needs."""
    return branches is None or branch in branches or branch not in plan.workload.branch_names


def _missing(
    cell: Cell, axes: str, plan: Plan, standings: Mapping[str, Standing], reader: ArtifactReader
) -> Iterable[Missing]:
    """The missing results of a cell: the first stage without branches that is not done, else branches not done."""
    first = next((spec.name for spec in plan.workload.stages if spec.tracked and spec.branches), "")
    for job in plan.jobs_of[cell.id].values():
        spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
        if not is_own(cell, spec) or reader.commit(job) is not None:
            continue
        standing = standings.get(job)
        state, reason = ("new", "") if standing is None else (standing.state, standing.reason)
        said = reason if branch is None or spec.name == first or spec.row == "references" else f"{spec.name}: {reason}"
        yield Missing(row=cell.row, seed=cell.seed, axes=axes, branch=branch or spec.name, state=state, reason=said)
        if branch is None:
            return


def _factors(workload: Workload, cell: Cell) -> Mapping[str, str]:
    """What the row of a cell is made of; a recorded plan has no code that knows."""
    there = cell.evaluated["family"] in workload.family
    return dict(row_from(workload.family, cell.evaluated).factors) if there else {}


def rows_of(cells: Sequence[Cell], workload: Workload) -> list[RowInfo]:
    """Rows in file order, with the row of which each is an alias."""
    row_of = {cell.id: cell.row for cell in cells}
    sizes: dict[str, dict[str, dict[str, float]]] = {}
    by_cell = workload.sizes(cells)
    for cell in cells:
        if cell.id in by_cell:
            sizes.setdefault(cell.row, {})[axes_text(cell.axes)] = {
                name: float(size) for name, size in by_cell[cell.id].items()
            }
    found: dict[str, RowInfo] = {}
    for cell in cells:
        alias = None if cell.alias_of is None else row_of.get(cell.alias_of)
        alias = alias if alias != cell.row else None
        # Where the first row is excluded, another is none of its aliases: any cell may tell.
        if cell.row not in found or (alias and not found[cell.row].alias_of):
            found[cell.row] = RowInfo(
                name=cell.row,
                family=cell.family,
                alias_of=alias,
                reference=cell.reference,
                factors=_factors(workload, cell),
                sizes=sizes.get(cell.row, {}),
            )
    return list(found.values())
