"""The pilot of `power`: measured values of the study, or of a table."""

from pathlib import Path

from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec, restricted
from orchestrator.reporting.table_source import read_values, row_names, table_in
from orchestrator.results import Results
from orchestrator.study import Study
from reports.any_table import report_of_table
from reports.input import CaseValues, RowInfo
from reports.spec import ReportSpec


def values_of_study(study: Study) -> CaseValues:
    """What is done so far, of all rows of the plan.

    Raises:
        StoreError: a result is damaged.
    """
    return Results(study).values()


def values_of_table(source: Path, study: Study) -> CaseValues:
    """The values of a table as `report --source` reads it; which rows are references follows from the plan.

    Args:
        source: a file, or a folder with one.
        study: its report specification is used if it has all branches of the table, whatever the rows.

    Raises:
        PlanError: it cannot be read, is no table, was edited, or contradicts itself.
    """
    file = table_in(source)
    if file is None:
        raise PlanError(f"--source {source}: not found; allowed: a file with the columns of results.csv")
    table, content = read_values(file)
    branches = {value.branch for value in table.values}
    is_own = branches <= set(study.plan.workload.branch_names)
    families = {cell.row: cell.family for cell in study.plan.cells}
    references = {cell.row for cell in study.plan.cells if cell.reference}
    return report_of_table(
        table,
        study=study.plan.study,
        name=file.name,
        content=content,
        spec=restricted(report_spec(study.plan.workload), branches) if is_own else ReportSpec(),
        # A row of the table has values of its own, also where it is another name of a row in the matrix.
        rows=[
            RowInfo(name=name, family=families.get(name, ""), alias_of=None, reference=name in references)
            for name in row_names(table)
        ],
    )
