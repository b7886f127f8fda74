"""`results`: the table of scores, of whatever is done so far."""

import csv
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides, Selection
from orchestrator.errors import PlanError
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json

if TYPE_CHECKING:  # what computes scores is imported when there are some to show
    from reports.input import CaseValues


def results(
    overrides: Overrides = None,
    *,
    options: LastRunOptions,
    selection: Selection,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the scores as CSV, one line a row and branch.")] = False,
) -> None:
    """Print the table of scores: rows × branches.

    Shows what is done so far, also while a run is in progress, and says what is missing. In Python, use
    `orchestrator.results.open_results`.
    """
    if as_json and as_csv:
        raise PlanError("--json and --csv are given; allowed: one of them")
    study = options.reopen(overrides, as_smoke=False, rows=selection.rows)
    if not study.publishes_results:
        raise PlanError(f"the results of backend {study.cluster.backend} have no meaning; there are no scores to show")
    from orchestrator.results import Results
    from orchestrator.ui.scores import scores_text

    found = Results(study)
    try:
        if as_csv:
            _print_csv(found.scores(**selection.given))
            return
        given = found.values(**selection.given)
        if as_json:
            print_json(results_json(study, given))
            return
        text = scores_text(given, shutil.get_terminal_size().columns)
    except ValueError as error:  # values that contradict each other
        raise PlanError(f"there are no scores: {error}") from error
    print(f"{study.plan.study} · {study.plan.profile}\n")
    print(text)


COMMAND = Command(
    function=results,
    group=Group.RESULTS,
    position=0,
    examples=[
        ("echo-matrix results", "of the last run's profile and overrides"),
        ("echo-matrix results --rows ROW,family:NAME", "of some rows: the best of these are marked"),
        ("echo-matrix results --csv > scores.csv", "for a spreadsheet"),
    ],
)


def results_json(study: Study, given: "CaseValues") -> dict[str, Any]:
    """What `results --json` prints."""
    from orchestrator.results import scores_table
    from reports.scoreboard import scoreboard

    board = scoreboard(given)
    return {
        "version": 1,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "seeds": list(board.seeds),
        "scores": scores_table(board),
        "not_comparable": [{"check": check, "rows": list(rows)} for check, rows in board.crossed_out],
        "same_as": dict(board.same_as),
        "missing": [vars(one) for one in given.missing],
        "excluded": [vars(one) for one in given.excluded],
        "outside": list(given.outside),
    }


def _print_csv(table: Sequence[Mapping[str, Any]]) -> None:
    """Print the scores; a missing number is an empty field."""
    writer = csv.DictWriter(sys.stdout, list(table[0]) if table else ["row", "branch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
