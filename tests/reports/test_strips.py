"""Which strips the page shows: all, or as many as fit."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_input import made_input, without_figures

from reports.analysis import analyse
from reports.page import strips as module
from reports.page.strips import evenly, strips


@pytest.mark.parametrize(("count", "most", "expected"), [(3, 5, [0, 1, 2]), (5, 3, [0, 2, 4]), (9, 1, [0]), (9, 0, [])])
def test_what_is_chosen_is_even_and_has_both_ends(count: int, most: int, expected: list[int]) -> None:
    assert list(evenly(count, most)) == expected


def test_strips_that_do_not_fit_are_of_rows_from_the_best_to_the_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = without_figures(made_input(tmp_path, cases=2))
    analysis = analyse(given)
    every = {one.branch: one for one in strips(given, analysis)}
    assert all(one.count == len(one.pictures) for one in every.values())
    size = max(Path(strip.path).stat().st_size for strip in given.strips)
    monkeypatch.setattr(module, "MOST_BYTES", 3 * 4 * size)
    for one in strips(given, analysis):
        assert (len(one.pictures), one.count) == (4, every[one.branch].count)
    of_return = next(one for one in strips(given, analysis) if one.branch == "return")
    ranked = sorted(every["return"].pictures, key=lambda picture: -analysis.means["return/judge"][picture.row])
    assert {ranked[0].row, ranked[-1].row} <= {picture.row for picture in of_return.pictures}


def test_references_are_shown_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = without_figures(made_input(tmp_path, cases=2))
    rows = [replace(row, reference=row.name == "spatial-masked") for row in given.rows]
    tables = {name: [row for row in of if row != "spatial-masked"] for name, of in given.tables.items()}
    given = replace(given, rows=rows, tables=tables)
    size = max(Path(strip.path).stat().st_size for strip in given.strips)
    monkeypatch.setattr(module, "MOST_BYTES", 3 * 2 * size)
    for one in strips(given, analyse(given)):
        assert len(one.pictures) <= 2
        assert "spatial-masked" in [picture.row for picture in one.pictures]
