"""Results for Python and notebooks: scores, case values, jobs and artifacts of a study as tables.

A table is a list of dictionaries with the same keys. `pandas.DataFrame(table)`, `polars.DataFrame(table)` and
`pyarrow.Table.from_pylist(table)` read it; nothing of them is needed here. Every call looks anew, so that a run in
progress shows what is done so far.

    >>> from orchestrator.results import open_results
    >>> results = open_results("matrix.yaml")
    >>> for score in results.scores(branches="shifted"):
    ...     print(score["row"], round(score["mean"], 2), score["seeds"], repr(score["mark"]))
    linear 0.5 2 ''
    mlp 0.75 2 ''
    conv 0.95 2 'best'
    >>> results.cases(rows="conv", seeds=1)[0]["metric"]
    'accuracy'
    >>> [job["label"] for job in results.jobs(rows="conv", seeds=0) if job["stage"] == "train"]
    ['train/conv/s0']
    >>> (results.artifact("train/conv/s0") / "metrics.jsonl").is_file()
    True
    >>> results.missing()
    []
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import Any

from orchestrator.errors import PlanError, StoreError
from orchestrator.opening import reopen_study
from orchestrator.plan.job import Job
from orchestrator.plan.select import find_job, select, select_branches, select_cells
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.collect import case_values
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.study import Study
from reports.input import CaseValues
from reports.scoreboard import Scoreboard, scoreboard

Table = list[dict[str, Any]]
"""One dictionary a line, all with the same keys."""
Patterns = str | int | Iterable[str | int] | None
"""Names or globs, as one comma-separated text or several; for rows also `family:NAME`; None: all."""


def open_results(
    matrix: str | Path = "matrix.yaml",
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    cluster: str | Path | None = None,
    settings: Sequence[str] = (),
) -> "Results":
    """The results of a study; by default with the profile and overrides of its last run.

    Args:
        matrix: the matrix file.
        profile: a profile of it.
        overrides: `KEY=VALUE`, as on the command line.
        cluster: name or file of the cluster settings, which say where the store is.
        settings: `KEY=VALUE` of the cluster settings, as with `--set`.

    Raises:
        MatrixError: a file is not valid or does not exist.
        ControlsError: compared cells differ in a control.
    """
    where = None if cluster is None else Path(cluster)
    study = reopen_study(
        Path(matrix), profile=profile, overrides=overrides, cluster=where, settings=settings, as_smoke=False
    )
    return Results(study)


class Results:
    """The results of one study; `open_results` makes it."""

    def __init__(self, study: Study) -> None:
        self.study = study
        """The planned study, for what the tables do not show."""

    def scores(self, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> Table:
        """One number for each row and branch, as `echo-matrix results` prints it.

        Keys: `row`, `branch`, `metric`, `unit`, `better` ("high" or "low"), `mean`, `low` and `high` (95 % interval
        over scenes and seeds; None with one seed), `mark` ("best", "may be best", "best mean", or empty;
        `reports.marks` says what each means), `seeds` and `values` (how many were measured), `seeds_expected`,
        `values_expected`, `unanswered` (cases that an instrument could not score), `at_worst` and `at_best` (the mean
        with these at the ends of the scale; None: there are none), `comparable` (False: a control that it rests on did
        not hold), `reference` (a ceiling or floor). What was not measured is None.

        Raises:
            PlanError: a pattern matches nothing.
            StoreError: a result is damaged.
        """
        return scores_table(scoreboard(self.values(rows, seeds, branches)))

    def cases(self, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> Table:
        """Every measured value, as in results.csv.

        Keys: `row`, `seed`, `axes` (`key=value;...`), `branch`, `case`, `metric`, `unit`, `better`, `value`.

        Raises:
            PlanError, StoreError: as for `scores`.
        """
        return [asdict(value) for value in self.values(rows, seeds, branches).values]

    def missing(self, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> Table:
        """What has no result yet.

        Keys: `row`, `seed`, `axes`, `branch` (or the stage that every branch needs), `state`, `reason`.

        Raises:
            PlanError, StoreError: as for `scores`.
        """
        return [asdict(one) for one in self.values(rows, seeds, branches).missing]

    def jobs(self, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> Table:
        """The jobs of these cells and what they need, in the order of the plan.

        Keys: `label`, `id`, `stage`, `branch`, `row` and `seed` (None: shared by several), `state`, `reason`,
        `fingerprint`, `attempts` (how many), `host` (of the last one), `started` and `ended` (seconds since 1970),
        `device_s`, `artifact` (folder or URL, as text). What does not exist yet is None.

        Raises:
            PlanError: a pattern matches nothing.
            StoreError: a commit record is damaged.
        """
        plan = self.study.plan
        chosen = select(plan, _texts(rows), _texts(seeds), _texts(branches))
        standings, attempts = self.study.standings(), self.study.attempts()
        reader = ArtifactReader(plan, self.study.store)
        distinct = {cell.id: cell for cell in plan.cells if cell.alias_of is None}
        found: Table = []
        for job in plan.jobs.values():
            if job.id not in chosen:
                continue
            commit, mine = reader.commit(job.id), attempts.get(job.fingerprint, ())
            cells = [distinct[cell] for cell in job.cells if cell in distinct]
            cost = {} if commit is None else commit.result.get("cost", {})
            found.append(
                {
                    "label": job.label,
                    "id": job.id,
                    "stage": job.stage,
                    "branch": job.branch,
                    "row": _only(cell.row for cell in cells),
                    "seed": _only(cell.seed for cell in cells),
                    "state": standings[job.id].state,
                    "reason": standings[job.id].reason,
                    "fingerprint": job.fingerprint,
                    "attempts": len(mine),
                    "host": mine[-1].host if mine else None,
                    "started": None if commit is None else commit.started,
                    "ended": None if commit is None else commit.ended,
                    "device_s": None if commit is None else cost.get("device_s", commit.ended - commit.started),
                    "artifact": None if commit is None else self._folder(job),
                }
            )
        return found

    def artifact(self, job: str) -> Path:
        """The folder of a done job's result; its files are not to be changed.

        Args:
            job: label, id, or unique prefix of an id.

        Raises:
            PlanError: there is no such job.
            ArtifactMissing: it is not done, or its files are gone.
            StoreError: its files are damaged.
        """
        return self.study.result_of(find_job(self.study.plan, job))

    def values(self, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> CaseValues:
        """What `scores`, `cases` and `missing` are made from."""
        plan, standings = self.study.plan, self.study.standings()
        return case_values(
            ArtifactReader(plan, self.study.store, ResultsCache.of(self.study.home)),
            standings,
            select_cells(plan, _texts(rows), _texts(seeds)),
            None if branches is None else select_branches(plan, _texts(branches)),
            self.study.race,
        )

    def _folder(self, job: Job) -> str | None:
        try:
            return self.study.store.locate(job.fingerprint)
        except StoreError:  # `artifact` says what is wrong with it
            return None


def scores_table(board: Scoreboard) -> Table:
    """The scores of a scoreboard, one line for each row and branch."""
    return [
        {**asdict(board.scores[row, column.key]), "reference": row in board.references}
        for row in (*board.rows, *board.references)
        for column in board.columns
    ]


def _only(values: Iterable[str | int]) -> str | int | None:
    """The value, if all are equal."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _texts(patterns: Patterns) -> str | list[str] | None:
    if patterns is None or isinstance(patterns, str):
        return patterns
    if isinstance(patterns, int | Integral):  # NumPy's too
        return str(patterns)
    texts = [str(one) for one in patterns]
    if not texts:
        raise PlanError("an empty list selects nothing; allowed: names, globs, or None for all")
    return texts
