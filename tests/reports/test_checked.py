"""Values that contradict each other are refused, with the place and what is allowed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.build import build
from reports.checked import LARGEST, check, check_values
from reports.columns import columns
from reports.input import ReportInput, ResultLine
from reports.scoreboard import scoreboard
from reports.spec import BranchSpec, ReportSpec, ScorePart

Change = Callable[[list[ResultLine]], Sequence[ResultLine]]


def line(row: str = "a", case: str = "1", **fields: object) -> ResultLine:
    usual = {"seed": 0, "axes": "", "branch": "b", "metric": "m", "unit": "dB", "better": "high", "value": 1.0}
    return ResultLine(row=row, case=case, **{**usual, **fields})  # type: ignore[arg-type]


FOUR = [line(row, case) for row in ("a", "b") for case in ("1", "2")]


def at_two(**fields: object) -> list[ResultLine]:
    return [replace(one, **fields) if i == 2 else one for i, one in enumerate(FOUR)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (at_two(value=float("nan")), "x:2: b/m of row 'b', seed 0, case '1' is nan; allowed: a finite number; leave"),
        (at_two(value=float("-inf")), "x:2: b/m of row 'b', seed 0, case '1' is -inf; allowed: a finite number"),
        (at_two(value=1e300), "is 1e+300; allowed: less than 1e+60 in size, so that intervals can be computed; use"),
        (at_two(row="c"), "x:2: row 'c' is none of this study; allowed: a, b; correct it, or add the row"),
        (at_two(seed=7), "x:2: seed 7 is none of this study; allowed: 0; correct it, or add the seed"),
        (at_two(unit="{points}"), "x:2: b/m has unit '{points}', and 'dB' in x:0; allowed: one unit of a metric; conv"),
        (
            at_two(better="low"),
            "x:2: b/m has better 'low', and 'high' in x:0; allowed: one direction of a metric; corr",
        ),
        (at_two(case="2", value=0.5), "two values of b/m for row 'b', seed 0, case '2': 1.0 here, 0.5 in x:2; a case"),
        (
            [*FOUR[:2], line("b", "3"), line("b", "4")],
            "x:2: b: row 'b' shares no case with row 'a': 3, 4 and 1, 2; allowed: rows that are measured on the same",
        ),
        (
            [replace(one, value=float("nan")) for one in FOUR],
            "x:0: b/m of row 'a', seed 0, case '1' is nan; allowed: a ",
        ),
    ],
)
def test_a_contradiction_is_refused_with_its_place(values: Sequence[ResultLine], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_values(columns(values), rows=["a", "b"], seeds={0}, place=lambda at: f"x:{at}")
    assert said in str(refused.value)


def test_others_are_counted() -> None:
    values = [replace(one, value=float("nan")) for one in FOUR]
    with pytest.raises(ValueError, match=r"missing; 3 more values are refused$"):
        check_values(columns(values))


def test_what_is_allowed_passes() -> None:
    check_values(columns([]))
    check_values(columns(FOUR), rows=["a", "b", "c"], seeds=[0, 1])
    check_values(columns([line("a", "1", value=LARGEST * 0.99), line("b", "1", value=-0.0)]))
    check_values(columns([line("a", "1"), line("b", "other", axes="k=1")]))  # other axes may have other cases
    check_values(columns([line("a", "1"), line("a", "1", metric="n"), line("b", "1", metric="n"), line("b", "2")]))
    check_values(columns([line("a", "1", unit="dB"), line("a", "1", branch="c", unit="points", better="low")]))


def test_rows_of_other_seeds_may_have_other_cases_while_results_are_missing() -> None:
    check_values(columns([line("a", "s0/1"), line("b", "s1/1", seed=1)]))
    with pytest.raises(ValueError, match=r"row 'b' shares no case with row 'a'"):
        check_values(columns([line("a", "s0/1"), line("b", "s1/1", seed=1), line("b", "s0/2")]))


def test_instruments_have_a_unit_each() -> None:
    given = made_input(cases=2)
    other = [replace(v, unit="vlm:other") for v in given.values if v.metric == "judge"]
    doubled = replace(given, values=[*given.values, *[replace(v, unit="points:other") for v in other]])
    check(doubled, columns(doubled.values))
    with pytest.raises(ValueError, match="two values of loop/judge for row"):
        check(doubled, columns([*doubled.values, *other[:1], *other[:1]]))


def test_a_direction_other_than_the_declared_one_is_refused() -> None:
    spec = ReportSpec(branches=(BranchSpec(name="b", score=(ScorePart(metric="m", better="low"),)),))
    with pytest.raises(
        ValueError, match=r"b/m has better 'high', and the study declares 'low' \(ReportSpec.branches\)"
    ):
        check_values(columns(FOUR), spec=spec)


def doubled(values: list[ResultLine]) -> Sequence[ResultLine]:
    return [*values, replace(values[5], value=0.0)]


def foreign_row(values: list[ResultLine]) -> Sequence[ResultLine]:
    return [replace(values[0], row="nobody"), *values[1:]]


@pytest.mark.parametrize(("change", "said"), [(doubled, "two values of"), (foreign_row, "row 'nobody' is none of")])
@pytest.mark.parametrize("use", [analyse, scoreboard])
def test_every_use_of_values_checks_them(change: Change, said: str, use: Callable[[ReportInput], object]) -> None:
    given = without_figures(made_input(cases=2))
    with pytest.raises(ValueError, match=said):
        use(replace(given, values=change(list(given.values))))


def test_nothing_is_written_of_a_contradiction(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("x") / "report"
    given = without_figures(made_input(cases=2))
    with pytest.raises(ValueError, match="share"):
        build(folder, replace(given, values=[replace(v, case=v.case + v.row) for v in given.values]))
    assert not folder.exists()


def test_many_values_are_checked_fast() -> None:
    values = [
        line(f"r{r}", f"c{c}", seed=s, metric=f"m{m}")
        for r in range(10)
        for c in range(50)
        for s in range(5)
        for m in range(8)
    ]
    begin = time.process_time()
    check_values(columns(values), rows=[f"r{r}" for r in range(10)], seeds=range(5))
    assert time.process_time() - begin < 0.4  # measured: 0.03 s for these 20,000
