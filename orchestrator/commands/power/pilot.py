"""The pilot of `power`: measured values of the study, or of a file."""

from pathlib import Path

from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec, restricted
from orchestrator.results import Results
from orchestrator.study import Study
from reports.input import CaseValues, RowInfo
from reports.results_csv import read_results_csv


def values_of_study(study: Study) -> CaseValues:
    """What is done so far, of all rows of the plan.

    Raises:
        StoreError: a result is damaged.
    """
    return Results(study).values()


def values_of_file(path: Path, study: Study) -> CaseValues:
    """The values of a results.csv; which rows are references follows from the plan.

    Raises:
        PlanError: it cannot be read, has no values, or is not a results.csv.
    """
    try:
        values = read_results_csv(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise PlanError(
            f"--source {path}: {error.strerror}; allowed: a file with the columns of results.csv"
        ) from error
    except ValueError as error:  # a line that is none of a results.csv, or no UTF-8
        raise PlanError(f"--source {error}") from error
    if not values:
        raise PlanError(f"--source {path}: has no values; allowed: a file with the columns of results.csv")
    families = {cell.row: cell.family for cell in study.plan.cells}
    references = {cell.row for cell in study.plan.cells if cell.reference}
    return CaseValues(
        study=study.plan.study,
        profile=study.plan.profile,
        seeds=sorted({value.seed for value in values}),
        # A row of the file has values of its own, also where it is another name of a row in the matrix.
        rows=[
            RowInfo(name=name, family=families.get(name, ""), alias_of=None, reference=name in references)
            for name in dict.fromkeys(value.row for value in values)
        ],
        values=values,
        missing=(),
        sections={},
        spec=restricted(report_spec(study.plan.workload), {value.branch for value in values}),
    )
