"""`power`: how many seeds and scenes resolve an effect, and what they cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides
from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from reports.spec import POWER, SmallestEffect

if TYPE_CHECKING:  # what computes is imported when there is something to compute
    from reports.input import CaseValues

MOST_SEEDS = 1000
"""More are no design but a mistake."""


def power(
    overrides: Overrides = None,
    *,
    options: LastRunOptions,
    effect: Annotated[
        float | None,
        typer.Option("--effect", metavar="X", help="The difference of two rows to resolve, in the metric's unit."),
    ] = None,
    finding: Annotated[
        str | None,
        typer.Option(
            "--finding", metavar="ID", help="Instead: rows, metric and effect that this finding of the study declares."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="BRANCH/METRIC",
            help="Of which metric; a BRANCH alone is its headline. Default: the headline of the second branch of the "
            "contrast.",
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="A,B",
            help="The two rows that are compared. Default: the pair with the median variance, and the worst pair.",
        ),
    ] = None,
    target: Annotated[
        float, typer.Option("--power", metavar="P", help="Wanted probability of finding the effect.", show_default=True)
    ] = POWER,
    most_seeds: Annotated[
        int, typer.Option("--most-seeds", metavar="N", help="Tabulate 2 to N seeds.", show_default=True)
    ] = 10,
    scenes: Annotated[
        str | None,
        typer.Option(
            "--scenes",
            metavar="LIST",
            help="Tabulate these numbers of scenes. Default: the pilot's, two and four times.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="FILE",
            help="Pilot in a file with the columns of results.csv, or in a folder with one. Default: the results of "
            "this study.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many seeds and scenes resolve an effect, and what they cost.

    A pilot's results tell how much a paired difference of rows varies over scenes and seeds. From that follows, for
    each design, the smallest effect that it finds with the wanted power (two-sided 5 % test, as the report's), and the
    power for the effect asked for. The cost is what the plan estimates for what is not there yet.
    """
    study, asked = _declared(options, overrides, effect, finding, metric, pair, source)
    if not 0.05 < target < 1:
        raise PlanError(f"--power is {target:g}; allowed: above 0.05 and below 1")
    if not 2 <= most_seeds <= MOST_SEEDS:
        raise PlanError(
            f"--most-seeds is {most_seeds}; allowed: 2 to {MOST_SEEDS}: one seed gives no verdict, since training "
            "again may change any difference"
        )
    from orchestrator.commands.power.pilot import values_of_study, values_of_table
    from orchestrator.commands.power.table import power_json, power_table, power_text

    given: CaseValues = values_of_study(study) if source is None else values_of_table(source, study)
    try:
        table = power_table(
            study,
            given,
            asked,
            power=target,
            most_seeds=most_seeds,
            scenes=_numbers(scenes),
            source="" if source is None else str(source),
        )
    except ValueError as error:  # of the values: no pilot, unknown metric or row, a doubled or infinite value
        raise PlanError(str(error)) from error
    if as_json:
        print_json(power_json(table))
    else:
        print(power_text(table))


def _declared(
    options: LastRunOptions,
    overrides: list[str] | None,
    effect: float | None,
    finding: str | None,
    metric: str | None,
    pair: str | None,
    source: Path | None,
) -> tuple[Study, SmallestEffect]:
    """The study, and what is asked of it."""
    if (effect is None) == (finding is None):
        raise PlanError("give either --effect, or --finding of a finding that declares its own")
    if finding is not None and (metric or pair):
        raise PlanError("--finding names metric and rows itself; leave out --metric and --rows")
    if effect is not None and not 0 < effect < float("inf"):
        raise PlanError(f"--effect is {effect:g}; allowed: a number above 0, in the metric's unit")
    study = options.reopen(overrides, as_smoke=False, look=source is None)
    if source is None and not study.publishes_results:
        raise PlanError(
            f"the results of backend {study.cluster.backend} have no meaning, so they are no pilot; "
            "allowed: results of another backend, or --source FILE"
        )
    if finding is None:
        assert effect is not None
        return study, SmallestEffect(finding="", metric=metric or "", pairs=_pair(pair), effect=effect)
    spec = report_spec(study.plan.workload)
    known = {one.finding: one for one in spec.smallest_effects}
    if finding not in known:
        allowed = ", ".join(known) or "none: this study declares no smallest effects (ReportSpec.smallest_effects)"
        raise PlanError(f"--finding is {finding!r}, which declares no smallest effect; allowed: {allowed}")
    return study, known[finding]


def _pair(rows: str | None) -> tuple[tuple[str, str], ...]:
    if rows is None:
        return ()
    named = [one.strip() for one in rows.split(",")]
    if len(named) != 2 or not all(named) or named[0] == named[1]:
        raise PlanError(f"--rows is {rows!r}; allowed: two different rows, A,B")
    return ((named[0], named[1]),)


def _numbers(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        found = sorted({int(one) for one in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 2:
        raise PlanError(f"--scenes is {text!r}; allowed: whole numbers from 2 on, comma-separated")
    return tuple(found)


COMMAND = Command(
    function=power,
    group=Group.RESULTS,
    position=2,
    examples=[
        ("echo-matrix power --effect 5", "seeds × scenes that resolve 5 points, from the results of this study"),
        ("echo-matrix power --effect 0.5 --metric BRANCH/METRIC", "of another metric, in its unit"),
        ("echo-matrix power --effect 5 --rows A,B --power 0.9", "of one comparison"),
        ("echo-matrix power --finding 3", "what a finding of the study asks for"),
        ("echo-matrix power --effect 5 --source pilot.csv", "from a results.csv"),
    ],
)
