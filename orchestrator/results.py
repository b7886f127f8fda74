"""From COMMITs to the report's input, and the report rebuilt when that input changed.

Only what is committed is read, and the whole matrix of the profile is covered: a part that is not
there is counted as missing, with the state of the job that should have made it. The report itself
(scipy, matplotlib) is imported only when it has to be written.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.notes import notes_of, sections_of
from orchestrator.plan.job import Plan, Standing
from orchestrator.spec.cell import Cell
from orchestrator.spec.cluster import Cluster
from orchestrator.spec.controls import verdicts
from orchestrator.store.manifest import REFRESH_HINT
from orchestrator.store.protocol import Commit, Store
from reports.input import CaseValue, Controls, Cost, Curve, Missing, ReportInput, RowInfo, Strip
from workloads.contract.json_files import read_plain
from workloads.contract.metrics import case_of, metric_of
from workloads.study.rows import Bound

DIGEST = ".input-digest"
"""File of the report folder that remembers what it was made of."""

CURVE_POINTS = 500
"""Points a loss curve is thinned to, by means over equal stretches: a page cannot show more."""

STRIPS = 4
"""Strips offered to the report for each row and branch, the first by name."""

BYPASSED = 1e-3
"""|ρy|/|x| under which a recurrence adds nothing (study.md section 5)."""

RECURRENCE_SHARE = "recurrence_share"
"""Metric of training that holds |ρy|/|x|."""


def report_input(
    plan: Plan, standings: Mapping[str, Standing], store: Store, home: Path, cluster: Cluster | None = None
) -> ReportInput:
    """Everything the report is made of.

    Args:
        plan: the whole matrix of the profile.
        standings: job id -> where it stands; says why a part is missing.
        store: where the artifacts lie.
        home: the study's folder under outputs/; named where an artifact cannot be read.
        cluster: unused: nothing of where a study ran is in its report.

    Raises:
        StoreError: a COMMIT or its files are broken.
    """
    reader = _Reader(plan, store)
    values: list[CaseValue] = []
    missing: list[Missing] = []
    costs: list[Cost] = []
    strips: list[Strip] = []
    curves: list[Curve] = []
    records: dict[str, Mapping[str, Any]] = {}
    notes = notes_of(plan)
    gits: set[str] = set()
    for cell in plan.cells:
        axes = ";".join(f"{key}={value}" for key, value in cell.axes)
        jobs = plan.jobs_of[cell.id]
        missing += _missing(cell, axes, plan, standings, reader)
        train = None if cell.family == Bound.family else reader.commit(jobs["train"])
        if train is not None:
            gits.add(train.git)
            records[cell.id] = train.result.get("records", {})
            steps, losses, share = reader.training(jobs["train"])
            curves.append(Curve(row=cell.row, seed=cell.seed, axes=axes, steps=steps, values=losses))
            if share is not None and share < BYPASSED:
                notes.append(
                    f"{cell.id} ends with its recurrence at {share:.1e} of the signal: it is bypassed, and the row "
                    "says nothing about a state."
                )
        for name, job in jobs.items():
            commit = reader.commit(job)
            stage, _, branch = name.partition("/")
            if commit is None or stage not in ("train", "evaluate", "judge"):
                continue
            if stage == "train" and train is None:  # a bound trains nothing, whatever its evaluation is told
                continue
            cost = {key: float(value) for key, value in commit.result.get("cost", {}).items() if value is not None}
            cost.setdefault("device_s", commit.ended - commit.started)
            costs.append(Cost(row=cell.row, seed=cell.seed, axes=axes, stage=stage, branch=branch or None, values=cost))
            for line in reader.cases(job) if branch else ():
                values.append(CaseValue(row=cell.row, seed=cell.seed, axes=axes, branch=branch, **line))
            for case, path in reader.strips(job) if stage == "evaluate" else ():
                strips.append(Strip(row=cell.row, seed=cell.seed, axes=axes, branch=branch, case=case, path=path))
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
        controls=Controls(
            fingerprint=plan.controls_fingerprint,
            deviations=[dataclasses.asdict(deviation) for deviation in plan.deviations],
            verdicts=verdicts([cell for cell in plan.cells if cell.family != Bound.family], records),
            sections=sections_of(plan.cells),
        ),
        notes=notes,
    )


def input_digest(input: ReportInput) -> str:
    """sha256 of the input and of the code that would print it: equal digests give equal reports."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(input), sort_keys=True, default=str).encode("utf-8"))
    return _with_code(digest)


def rebuild_if_changed(folder: Path, input: ReportInput) -> bool:
    """Write the report into `folder` unless it was made of the same input; True: it was written.

    The report of another profile that lies there is kept beside it as `report-{profile}`.
    """
    return _rebuild(folder, input, input_digest(input), quick="")


def report_if_needed(
    folder: Path,
    plan: Plan,
    standings: Mapping[str, Standing],
    store: Store,
    home: Path,
    cluster: Cluster | None = None,
) -> bool:
    """`rebuild_if_changed`, without reading 10,000 COMMITs when not one was made or withdrawn since; True: written.

    The quick look compares the plan, the standings and the time of the last change of the folder of
    COMMITs (only a store in a folder has one; any other is read).
    """
    quick = _quick(plan, standings, home)
    if quick and _remembered(folder).get("quick") == quick and _is_whole(folder):
        return False
    given = report_input(plan, standings, store, home, cluster)
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
        _write_note(folder, {"profile": given.profile})  # the files are about to be no longer those of the old digest
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
    digest.update(str(commits.stat().st_mtime_ns).encode())
    return _with_code(digest)


def _with_code(digest: Any) -> str:
    """Take the report's own code into a digest, so that an upgrade prints anew."""
    import reports

    for root in reports.__path__:
        for path in sorted(Path(root).rglob("*")):
            if path.suffix in (".py", ".j2", ".css", ".csv"):
                digest.update(path.read_bytes())
    return str(digest.hexdigest())


class _Reader:
    """COMMITs and artifacts of a plan, each read once however many cells it serves."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._done = store.commits()
        self._commits: dict[str, Commit] = {}
        self._cases: dict[str, list[dict[str, Any]]] = {}
        self._trainings: dict[str, tuple[list[int], list[float], float | None]] = {}

    def commit(self, job: str) -> Commit | None:
        """The COMMIT of a job; None: it is not done."""
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

    def strips(self, job: str) -> list[tuple[str, str]]:
        """(case, path) of a done job's first strips."""
        folder = self._folder(job)
        listing = folder / "cases.json"
        names: dict[str, str] = {}
        if listing.is_file():
            try:
                names = {str(case["slug"]): str(case["id"]) for case in json.loads(read_plain(listing))}
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise StoreError(f"{listing}: is no list of cases: {error!r}; {REFRESH_HINT}") from error
        found = sorted((folder / "strips").glob("*.png"))[:STRIPS]
        return [(names.get(path.stem, path.stem), str(path)) for path in found]

    def training(self, job: str) -> tuple[list[int], list[float], float | None]:
        """Steps and losses of a done training, thinned, and the last share of its recurrence."""
        if job not in self._trainings:
            path = self._folder(job) / "metrics.jsonl"
            losses: list[tuple[int, float]] = []
            share = None
            for line in _lines(path, metric_of):
                if line["name"] == "loss":
                    losses.append((line["step"], line["value"]))
                elif line["name"] == RECURRENCE_SHARE:
                    share = line["value"]
            self._trainings[job] = (*_thinned(losses), share)
        return self._trainings[job]

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
                    raise StoreError(f"{path}:{number}: is no line of {path.name}: {line[:80]!r}; {REFRESH_HINT}")
                yield known


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    width = -(-len(points) // CURVE_POINTS) or 1
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [group[-1][0] for group in groups], [sum(v for _, v in group) / len(group) for group in groups]


def _missing(
    cell: Cell, axes: str, plan: Plan, standings: Mapping[str, Standing], reader: _Reader
) -> Iterable[Missing]:
    """The parts of a cell that are not there: its training, or each branch whose evaluation or judging is not."""
    for name, job in plan.jobs_of[cell.id].items():
        stage, _, branch = name.partition("/")
        if stage not in ("train", "evaluate", "judge") or reader.commit(job) is not None:
            continue
        if stage == "train" and cell.family == Bound.family:  # it trains nothing
            continue
        standing = standings.get(job)
        state, reason = ("new", "") if standing is None else (standing.state, standing.reason)
        said = f"judge: {reason}" if stage == "judge" else reason
        yield Missing(row=cell.row, seed=cell.seed, axes=axes, branch=branch or "train", state=state, reason=said)
        if stage == "train":
            return


def _rows(cells: Sequence[Cell]) -> list[RowInfo]:
    """Rows in file order; another name of a computation only where all its cells are."""
    row_of = {cell.id: cell.row for cell in cells}
    found: dict[str, RowInfo] = {}
    for cell in cells:
        if cell.row not in found:
            alias = None if cell.alias_of is None else row_of.get(cell.alias_of)
            found[cell.row] = RowInfo(name=cell.row, family=cell.family, alias_of=alias if alias != cell.row else None)
    return list(found.values())
