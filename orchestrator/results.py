"""Collecting results: reads committed artifacts as the report's input, and rebuilds the report if it has changed.

The whole matrix of the profile is covered: a result that does not exist is listed as missing, with the state of its
job. The report itself (scipy, matplotlib) is imported only when it is written.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.errors import PlanError, StoreError
from orchestrator.plan.forecast import Duration
from orchestrator.plan.job import Plan, Standing
from orchestrator.spec.cell import Cell
from orchestrator.spec.controls import verdicts
from orchestrator.store.manifest import REFRESH_HINT
from orchestrator.store.protocol import Commit, Store
from reports.input import (
    ControlsCertificate,
    Cost,
    Curve,
    Excluded,
    JobDuration,
    Missing,
    ReportInput,
    ResultLine,
    RowInfo,
    Strip,
)
from reports.spec import ReportSpec
from workloads.contract.json_files import read_plain
from workloads.contract.metrics import case_of, metric_of
from workloads.contract.workload import StageSpec, Workload

DIGEST = ".input-digest"
"""File in the report folder with the digest of the report's input."""

CURVE_POINTS = 500
"""Most points of a loss curve; a longer one is averaged over equal parts."""

IMAGES = 4
"""Images of each row and branch in the report's input, the first by name."""


def report_input(
    plan: Plan, standings: Mapping[str, Standing], store: Store, durations: Iterable[Duration] = ()
) -> ReportInput:
    """The report's input.

    Args:
        plan: the whole matrix of the profile.
        standings: by job id; the reason of a missing result.
        store: has the artifacts.
        durations: how long jobs took, of this plan and of others.

    Raises:
        StoreError: a commit record or its files are damaged.
    """
    reader = _Reader(plan, store)
    values: list[ResultLine] = []
    missing: list[Missing] = []
    costs: list[Cost] = []
    strips: list[Strip] = []
    curves: list[Curve] = []
    records: dict[str, Mapping[str, Any]] = {}
    others: dict[str, dict[str, Mapping[str, Any]]] = {}
    workload, sections = plan.workload, sections_of(plan.cells)
    notes = workload.notes(plan.cells, sections)
    gits: set[str] = set()
    for cell in plan.cells:
        axes = _axes_text(cell.axes)
        missing += _missing(cell, axes, plan, standings, reader)
        for name, job in plan.jobs_of[cell.id].items():
            spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
            commit = reader.commit(job)
            if commit is None or not _is_own(cell, spec):
                continue
            if spec is workload.checked:
                gits.add(commit.git)
                records[cell.id] = commit.result.get("records", {})
            else:
                others.setdefault(name, {})[cell.id] = commit.result.get("records", {})
            if spec.curve:
                steps, drawn, last = reader.series(job)
                curves.append(Curve(row=cell.row, seed=cell.seed, axes=axes, steps=steps, values=drawn))
                notes += workload.remarks(cell.id, last)
            cost = {key: float(value) for key, value in commit.result.get("cost", {}).items() if value is not None}
            cost.setdefault("device_s", commit.ended - commit.started)
            costs.append(Cost(row=cell.row, seed=cell.seed, axes=axes, stage=spec.name, branch=branch, values=cost))
            for line in reader.cases(job) if branch else ():
                values.append(ResultLine(row=cell.row, seed=cell.seed, axes=axes, branch=branch or "", **line))
            for case, path in reader.images(job) if spec.images else ():
                strips.append(Strip(row=cell.row, seed=cell.seed, axes=axes, branch=branch or "", case=case, path=path))
    return ReportInput(
        study=plan.study,
        profile=plan.profile,
        git=", ".join(sorted(filter(None, gits))),
        seeds=tuple(dict.fromkeys(cell.seed for cell in plan.cells)),
        rows=_rows(plan.cells),
        tables=plan.tables,
        values=values,
        missing=missing,
        costs=costs,
        strips=strips,
        curves=curves,
        controls=ControlsCertificate(
            fingerprint=plan.controls_fingerprint,
            deviations=[dataclasses.asdict(deviation) for deviation in plan.deviations],
            verdicts=verdicts(workload, [cell for cell in plan.cells if not cell.reference], records, others),
            sections=sections,
        ),
        excluded=[
            Excluded(row=one.row, seed=one.seed, axes=_axes_text(one.axes), entry=one.entry) for one in plan.excluded
        ],
        durations=_durations(plan, durations),
        notes=notes,
        spec=report_spec(workload),
    )


def _axes_text(axes: Iterable[tuple[str, str]]) -> str:
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


def _is_own(cell: Cell, spec: StageSpec) -> bool:
    """Whether a job of this stage counts as the cell's: a reference row trains nothing of its own."""
    return spec.tracked and not (cell.reference and spec.row == "trained")


def input_digest(input: ReportInput) -> str:
    """sha256 of the input and of the report's code: equal digests give equal reports."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(input), sort_keys=True, default=_named).encode("utf-8"))
    return _with_code(digest, input.spec)


def report_spec(workload: Workload) -> ReportSpec:
    """The workload's report specification, or the generic one."""
    if not workload.report:
        return ReportSpec()
    spec = getattr(import_module(workload.report), "REPORT", None)
    if not isinstance(spec, ReportSpec):
        raise PlanError(
            f"workload {workload.name}: `report` names {workload.report!r}, which has no REPORT = ReportSpec()"
        )
    return spec


def _named(value: Any) -> str:
    """A function or file by its name, since addresses and folders vary."""
    if isinstance(value, Path):
        return value.name
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else str(value)


def rebuild_if_changed(folder: Path, input: ReportInput) -> bool:
    """Write the report into `folder` unless it was made from the same input; returns whether it was written.

    A report of another profile in `folder` is kept beside it as `report-{profile}`.
    """
    return _rebuild(folder, input, input_digest(input), quick="")


def report_if_needed(
    folder: Path,
    plan: Plan,
    standings: Mapping[str, Standing],
    store: Store,
    home: Path,
    durations: Callable[[], Iterable[Duration]] = tuple,
) -> bool:
    """Like `rebuild_if_changed`, but without reading commit records if none was added or withdrawn since.

    It first compares the plan, the standings and the modification time of the folder of commit records, if the store
    has one. `durations` returns how long jobs took.
    """
    quick = _quick(plan, standings, home)
    if quick and _remembered(folder).get("quick") == quick and _is_whole(folder):
        return False
    given = report_input(plan, standings, store, durations())
    return _rebuild(folder, given, input_digest(given), quick)


def _rebuild(folder: Path, given: ReportInput, digest: str, quick: str) -> bool:
    remembered = _remembered(folder)
    note = {"digest": digest, "quick": quick, "profile": given.profile}
    if remembered.get("digest") == digest and _is_whole(folder):
        _write_note(folder, note)
        return False
    other = remembered.get("profile")
    if other is not None and other != given.profile:
        kept = folder.with_name(f"{folder.name}-{other}")
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)
    elif remembered:
        _write_note(folder, {"profile": given.profile})  # the digest no longer matches from here on
    from reports.build import build

    build(folder, given)
    _write_note(folder, note)
    return True


def _is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("results.csv", "report.json", "index.html"))


def _write_note(folder: Path, note: Mapping[str, str]) -> None:
    temporary = folder / f"{DIGEST}.tmp"
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(folder / DIGEST)


def _remembered(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / DIGEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _quick(plan: Plan, standings: Mapping[str, Standing], home: Path) -> str:
    commits = home / "store" / "commits"
    if not commits.is_dir():
        return ""
    digest = hashlib.sha256(f"{plan.study} {plan.profile} {plan.controls_fingerprint}".encode())
    for cell in plan.cells:
        digest.update(f"{cell.id} {cell.fingerprint} {cell.alias_of}\n".encode())
    for job in plan.jobs.values():
        standing = standings.get(job.id)
        said = "" if standing is None else f"{standing.state} {standing.reason}"
        digest.update(f"{job.id} {job.fingerprint} {said}\n".encode())
    digest.update(repr((sorted((k, tuple(v)) for k, v in plan.tables.items()), plan.deviations)).encode())
    digest.update(repr([(one.id, one.entry) for one in plan.excluded]).encode())
    digest.update(str(commits.stat().st_mtime_ns).encode())
    return _with_code(digest, report_spec(plan.workload))


def _with_code(digest: Any, spec: ReportSpec) -> str:
    """Add the code of the report and of its specification to a digest, so that an upgrade rebuilds the report."""
    import reports

    for root in (*map(Path, reports.__path__), *spec.code):
        for path in sorted(root.rglob("*")):
            if path.suffix in (".py", ".j2", ".css", ".csv"):
                digest.update(path.read_bytes())
    return str(digest.hexdigest())


class _Reader:
    """Reads commit records and artifacts of a plan, each once."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._done = store.commits()
        self._commits: dict[str, Commit] = {}
        self._cases: dict[str, list[dict[str, Any]]] = {}
        self._series: dict[str, tuple[list[int], list[float], dict[str, float]]] = {}

    def commit(self, job: str) -> Commit | None:
        """The commit record of a job; None: it is not done."""
        fingerprint = self._plan.jobs[job].fingerprint
        if fingerprint not in self._done:
            return None
        if job not in self._commits:
            self._commits[job] = self._store.read(fingerprint)
        return self._commits[job]

    def cases(self, job: str) -> list[dict[str, Any]]:
        """The lines of a done job's cases.jsonl."""
        if job not in self._cases:
            path = self._folder(job) / "cases.jsonl"
            self._cases[job] = list(_lines(path, case_of))
        return self._cases[job]

    def images(self, job: str) -> list[tuple[str, str]]:
        """(case, path) of a done job's first images."""
        folder, images = self._folder(job), self._plan.jobs[job].spec.images
        listing = folder / "cases.json"
        names: dict[str, str] = {}
        if listing.is_file():
            try:
                names = {str(case["slug"]): str(case["id"]) for case in json.loads(read_plain(listing))}
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise StoreError(f"{listing}: is not a list of cases: {error!r}; {REFRESH_HINT}") from error
        found = sorted((folder / images).glob("*.png"))[:IMAGES]
        return [(names.get(path.stem, path.stem), str(path)) for path in found]

    def series(self, job: str) -> tuple[list[int], list[float], dict[str, float]]:
        """Steps and values of a done job's curve, thinned, and the last value of every metric."""
        if job not in self._series:
            curve = self._plan.jobs[job].spec.curve
            points: list[tuple[int, float]] = []
            last: dict[str, float] = {}
            for line in _lines(self._folder(job) / "metrics.jsonl", metric_of):
                last[line["name"]] = line["value"]
                if line["name"] == curve:
                    points.append((line["step"], line["value"]))
            self._series[job] = (*_thinned(points), last)
        return self._series[job]

    def _folder(self, job: str) -> Path:
        return self._store.fetch(self._plan.jobs[job].fingerprint)


def _lines(path: Path, line_of: Callable[[bytes], dict[str, Any] | None]) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                known = line_of(line)
                if known is None:
                    raise StoreError(f"{path}:{number}: is not a line of {path.name}: {line[:80]!r}; {REFRESH_HINT}")
                yield known


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    width = -(-len(points) // CURVE_POINTS) or 1
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [group[-1][0] for group in groups], [sum(v for _, v in group) / len(group) for group in groups]


def _missing(
    cell: Cell, axes: str, plan: Plan, standings: Mapping[str, Standing], reader: _Reader
) -> Iterable[Missing]:
    """The missing results of a cell: the first stage without branches that is not done, else branches not done."""
    first = next((spec.name for spec in plan.workload.stages if spec.tracked and spec.branches), "")
    for job in plan.jobs_of[cell.id].values():
        spec, branch = plan.jobs[job].spec, plan.jobs[job].branch
        if not _is_own(cell, spec) or reader.commit(job) is not None:
            continue
        standing = standings.get(job)
        state, reason = ("new", "") if standing is None else (standing.state, standing.reason)
        said = reason if branch is None or spec.name == first else f"{spec.name}: {reason}"
        yield Missing(row=cell.row, seed=cell.seed, axes=axes, branch=branch or spec.name, state=state, reason=said)
        if branch is None:
            return


def _rows(cells: Sequence[Cell]) -> list[RowInfo]:
    """Rows in file order, with the row of which each is an alias."""
    row_of = {cell.id: cell.row for cell in cells}
    found: dict[str, RowInfo] = {}
    for cell in cells:
        alias = None if cell.alias_of is None else row_of.get(cell.alias_of)
        alias = alias if alias != cell.row else None
        # Where the first row is excluded, another is none of its aliases: any cell may tell.
        if cell.row not in found or (alias and not found[cell.row].alias_of):
            found[cell.row] = RowInfo(name=cell.row, family=cell.family, alias_of=alias, reference=cell.reference)
    return list(found.values())
