"""What a report is made from, and what it is set against: the study, published numbers, a folder or a file."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.options import DEFAULT_MATRIX, PlanOptions
from orchestrator.errors import PlanError
from orchestrator.opening import outputs_of, plan_of_matrix
from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec
from orchestrator.spec.lines import printable
from orchestrator.spec.load import load_matrix
from orchestrator.study import Study
from orchestrator.wording import shortened
from reports.input import NUMBERS
from workloads.contract.json_files import read_object

if TYPE_CHECKING:  # what computes scores is imported when a report is written
    from reports.against import ResultsComparison, Side
    from reports.input import ReportInput

STUDY, PUBLISHED = "study", "published"
"""Sources that are no files."""
SOURCES = "study, published, or a folder that --export wrote, or a table FILE.csv or FILE.csv.gz"
SHOWN = 3
"""Names that a notice lists; the others are counted."""
REPORT = "report"
"""Folder of the report in a study's folder."""


def say(sentence: str) -> None:
    """Tell the user, beside the result."""
    print(f"echo-matrix: {sentence}", file=sys.stderr)


def of_study(study: Study) -> "ReportInput":
    """The results of a study, from its store."""
    from orchestrator.reporting.collect import report_input

    return report_input(
        study.plan, study.standings(), study.store, study.durations(), study.registered, race=study.race
    )


def of_path(options: PlanOptions, source: Path, option: str) -> tuple["ReportInput", Path]:
    """The input of the report of a folder or file, and where it is written unless --output says otherwise.

    Raises:
        PlanError: it is neither, or not as it was written, or its values contradict each other.
    """
    from orchestrator.reporting.results_folder import INPUT, read_results_folder
    from orchestrator.reporting.table_source import input_of, read_values, row_names, stem_of, strangers, table_in

    if (source / INPUT).is_file():
        study = options.open(look=False)  # what was kept elsewhere needs neither store nor ledger
        return read_results_folder(source, study.plan), study.home / f"report-of-{source.resolve().name}"
    file = table_in(source)
    if file is None:
        raise PlanError(f"{option} is {str(source)!r}; allowed: {SOURCES}")
    table, content = read_values(file)
    plan = _plan_for(options, row_names(table))
    rows, branches = ([], []) if plan is None else strangers(plan, table)
    if plan is not None and (rows or branches) and len(rows) < len(row_names(table)):
        say(
            f"{file} has {shortened([*rows, *branches], SHOWN)}, which study {plan.study} of {options.matrix} does not "
            "have: the report is the general one; correct the names to have that of the study"
        )
    home = outputs_of(options.matrix) / ("" if plan is None else plan.study)
    name = stem_of(file) if file == source else source.resolve().name
    return input_of(table, content, file, plan), home / f"report-of-{name}"


def compare_with(options: PlanOptions, ours: "Side", other: str) -> "ResultsComparison":
    """The comparison with what `--against` names.

    Raises:
        PlanError: it is no source, or has nothing in common with ours.
    """
    from reports.against import compare

    try:
        return compare(ours, _side(options, other))
    except ValueError as error:
        raise PlanError(f"--against {other}: {error}") from error


def name_of(other: str) -> str:
    """A source as part of a folder's name."""
    from orchestrator.reporting.table_source import stem_of

    path = Path(other)
    return stem_of(path) if path.is_file() else path.resolve().name if path.is_dir() else other


def text_of(found: "ResultsComparison", as_json: bool) -> str:
    """What `report --against` prints."""
    if as_json:
        from reports.against import comparison_json

        return json.dumps(comparison_json(found), indent=1, ensure_ascii=False)
    from reports.forms.against_text import against_lines

    return "\n".join(against_lines(found))


def _side(options: PlanOptions, other: str) -> "Side":
    """What `--against` names."""
    from orchestrator.reporting.results_folder import INPUT
    from orchestrator.reporting.table_source import table_in
    from reports.against import Side, published_side

    path = Path(other)
    if other == PUBLISHED:
        spec = report_spec(options.open(look=False).plan.workload)
        if spec.published is None:
            raise PlanError("--against published: the workload of this study has no published results")
        return published_side(spec.published())
    if other == STUDY:
        study = options.open()
        return Side(name=study.plan.study, given=of_study(study))
    if path.is_dir() and not (path / INPUT).is_file() and table_in(path) is None and (path / REPORT).is_dir():
        path = path / REPORT  # a study's own folder
    if path.is_file() and path.suffix == ".json":
        return _of_numbers(other, path)
    if path.is_dir() and not (path / INPUT).is_file() and table_in(path) is None and (path / NUMBERS).is_file():
        return _of_numbers(other, path / NUMBERS)
    given, _ = of_path(options, path, "--against")
    beside = (path if path.is_dir() else path.parent) / NUMBERS
    facts = _facts(_numbers(beside)) if not (path / INPUT).is_file() and beside.is_file() else {}
    return replace(Side(name=other, given=given), facts=facts)


def _of_numbers(name: str, path: Path) -> "Side":
    """The means of a report.json: without values there are no intervals of differences."""
    from reports.against import Side

    content = _numbers(path)
    means: dict[str, dict[str, float]] = {}
    for row, by_metric in content.get("rows", {}).items():
        for metric, cell in by_metric.items():
            if isinstance(cell, Mapping) and isinstance(cell.get("mean"), int | float):
                means.setdefault(metric, {})[row] = float(cell["mean"])
    return Side(name=name, means=means, facts=_facts(content))


def _numbers(path: Path) -> dict[str, Any]:
    """The content of a report.json.

    Raises:
        PlanError: it is none.
    """
    try:
        content = read_object(path, 1 << 29)
    except (OSError, ValueError) as error:
        raise PlanError(f"--against {path}: {error}; allowed: a report.json") from error
    if not isinstance(content.get("rows"), dict) or not all(isinstance(row, dict) for row in content["rows"].values()):
        raise PlanError(f"--against {path}: has no rows; allowed: a report.json that `report` wrote")
    return content


def _facts(content: Mapping[str, Any]) -> dict[str, str]:
    """What a report.json says beside values, named as in `reports.against.facts_of`."""
    controls = content.get("controls") if isinstance(content.get("controls"), Mapping) else {}
    facts = {
        "study": content.get("study"),
        "profile": content.get("profile"),
        "commit": content.get("git"),
        "seeds": ", ".join(map(str, content.get("seeds") or ())),
        "controls fingerprint": controls.get("fingerprint") if isinstance(controls, Mapping) else "",
    }
    return {name: str(text) for name, text in facts.items() if text}


def _plan_for(options: PlanOptions, rows: Sequence[str]) -> Plan | None:
    """The plan of the matrix with these rows as far as it has them; None: there is no matrix, or it cannot be planned.

    A table can be of any study, so that nothing but an explicit `--matrix` has to be right.
    """
    if options.matrix == DEFAULT_MATRIX and not options.matrix.is_file():
        return None
    try:
        profile = options.profile or next(iter(load_matrix(options.matrix).profiles))
        return plan_of_matrix(options.matrix, profile, options.overrides or (), rows)
    except Exception as error:  # what a workload's module raises when it is imported
        if options.matrix != DEFAULT_MATRIX:
            raise
        say(f"{options.matrix} cannot be planned ({printable(str(error))}): the report uses nothing of it")
        return None
