"""A report of many rows: the page stays small, and says what it leaves to report.json."""

import json
from pathlib import Path

import pytest
from big_input import big_input

from reports.build import build

LARGEST = 2_600_000
"""Bytes of the page. With two lines for each pair of rows, every strip and every curve it had several times as many."""
ROWS = 60


@pytest.mark.slow
def test_the_page_of_many_rows_is_bounded_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    given = big_input(ROWS, 2, 8, tmp_path)
    build(tmp_path / "report", given)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert len(page.encode("utf-8")) < LARGEST
    numbers = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    pairs = ROWS * (ROWS - 1)
    assert len(numbers["tables"]["families"]["comparisons"]) == pairs
    text = " ".join(page.split())
    assert f"most significant of {pairs}" in text
    assert f"40 of {ROWS} rows: the best and the worst 20 on return" in text
    assert f"of {ROWS} rows" in text.lower()
