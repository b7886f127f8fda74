"""How often rows that are the best are called worse, in simulated studies, and the command of every calibration."""

from dataclasses import replace
from pathlib import Path

import pytest

from reports.marks import FEWEST_SCENES
from reports.statistics.calibration.command import calibration
from reports.statistics.calibration.marks import (
    LEAD,
    ROWS,
    WORLDS,
    MarkedWorld,
    MarkRate,
    mark_rate,
    markdown,
)


def test_too_few_scenes_show_nothing_and_a_row_far_ahead_is_found_with_more() -> None:
    few = MarkedWorld(kind="0 or 1", seeds=5, scenes=FEWEST_SCENES - 1)
    assert mark_rate(few, 3) == MarkRate(world=few, studies=3, wrong=0, rows=float(ROWS))
    ahead = mark_rate(MarkedWorld(kind="normal", seeds=3, scenes=16, lead=2 * LEAD), 10)
    assert ahead.wrong == 0 and ahead.rows < 1.5


def test_the_table_is_bold_where_rows_that_are_the_best_are_called_worse_too_often() -> None:
    rates = [MarkRate(world=world, studies=400, wrong=28, rows=7.0) for world in WORLDS]
    assert not any(rate.too_often for rate in rates)
    assert markdown(rates).count("| 7.0 | 7.0 |") >= 9 and "**" not in markdown(rates)
    rates[0] = replace(rates[0], wrong=29)
    assert "| normal | 1 | **7.2** | 7.0 |" in markdown(rates)


def test_a_calibration_writes_its_table_and_fails_where_something_is_wrong_too_often(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, between = tmp_path / "page.md", ("<!-- a -->", "<!-- b -->")
    page.write_text("before\n<!-- a -->\nold\n<!-- b -->\nafter\n", encoding="utf-8")

    def run(*words: str, wrong: tuple[str, ...] = ()) -> int:
        return calibration("some.module", None, 7, between, lambda n, _: (f"| {n} |\n", wrong), words)

    assert run("--write", str(page)) == 0
    assert page.read_text(encoding="utf-8") == "before\n<!-- a -->\n| 7 |\n<!-- b -->\nafter\n"
    assert run("--studies", "3", wrong=("marks: 9 of 9",)) == 1
    told = capsys.readouterr()
    assert "| 3 |" in told.out and told.err == "too often: marks: 9 of 9\n"
    with pytest.raises(SystemExit):
        run("--studies", "0")
    assert "--studies and --processes are 1 at least" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS, ids=repr)
def test_rows_that_are_the_best_are_seldom_called_worse(world: MarkedWorld) -> None:
    assert not mark_rate(world, 400).too_often
