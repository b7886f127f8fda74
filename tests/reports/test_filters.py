"""Filters of the page, and the table of seeds."""

import re

import pytest
from made_input import made_input, without_figures
from second_study import second_study

from reports.analysis import Analysis, analyse
from reports.input import ReportInput
from reports.page import filters
from reports.page.page import page
from reports.page.seeds import seed_table

Study = tuple[ReportInput, Analysis]


@pytest.fixture(scope="module")
def digits() -> Study:
    given = second_study()
    return given, analyse(given)


@pytest.fixture(scope="module")
def memories() -> Study:
    given = without_figures(made_input(seeds=(0, 1), cases=8))
    return given, analyse(given)


def test_a_filter_is_there_for_what_has_several_values(digits: Study, memories: Study) -> None:
    found = {one.name: [label for _, label in one.choices] for one in filters.filters(digits[1], digits[0].seeds)}
    assert found == {"noise": ["0.0", "0.3"], "Seed": ["0", "1"]}, "it has one table"
    found = {one.name: [label for _, label in one.choices] for one in filters.filters(memories[1], [0])}
    assert found == {"Table": ["families", "spatial", "compression", "state-space", "context"]}


def test_a_row_is_marked_with_its_tables_and_its_axis_values(digits: Study, memories: Study) -> None:
    of_row = filters.classes(memories[1])
    assert of_row["ssm-hybrid"] == "t0 t3" and of_row["spatial-text"] == "t1"
    assert filters.classes(digits[1])["conv/noise=0.3"] == "t0 a0-1"
    assert filters.table_classes(digits[1])["all rows/noise=0.3"] == "of t0 a0-1"


def test_a_rule_hides_what_was_not_chosen_and_leaves_references_in_every_table(digits: Study, memories: Study) -> None:
    rules = filters.rules(filters.filters(memories[1], [0])).splitlines()
    assert (
        "body:has(#choice-t3:checked) tr:has(> th:first-child > .dot:not(.t3, .reference)) { display: none; }" in rules
    )
    rules = filters.rules(filters.filters(digits[1], digits[0].seeds)).splitlines()
    assert "body:has(#choice-a0-1:checked) .of:not(.a0-1) { display: none; }" in rules
    assert "body:has(#choice-s1:checked) .seed:not(.s1) { display: none; }" in rules


def test_each_choice_is_a_button_with_a_rule(digits: Study) -> None:
    given = without_figures(digits[0])
    text = page(given, analyse(given))
    choices = re.findall(r'<input type="radio" name="[^"]+" id="(choice-[^"]+)">', text)
    assert choices == ["choice-a0-0", "choice-a0-1", "choice-s0", "choice-s1"]
    assert all(f"body:has(#{choice}:checked)" in text for choice in choices)
    assert '<tr class="seed s1">' in text, "a missing result is of one seed"


def test_the_table_of_seeds_has_the_mean_of_each_seed(digits: Study) -> None:
    given, found = digits
    table = seed_table(found, given.seeds)
    assert table is not None
    assert [(one.branch, seed) for one, seed in table.columns] == [
        ("clean", "0"), ("clean", "1"), ("shifted", "0"), ("shifted", "1"),
    ]  # fmt: skip
    cells = {row: values for row, _, values in table.lines}
    for row, axes, lost in (("linear", "noise=0.0", False), ("conv", "noise=0.3", True)):
        for place, (one, seed) in enumerate(table.columns):
            values = [
                line.value
                for line in given.values
                if (line.row, line.axes, line.branch, str(line.seed)) == (row, axes, one.branch, seed)
            ]
            said = cells[f"{row}/{axes}"][place]
            assert said == (f"{sum(values) / len(values):.3f}" if values else "", False)
        assert (cells[f"{row}/{axes}"][3][0] == "") is lost
    assert seed_table(found, [0]) is None
