"""Laws of case values as columns: what is done for all of them at once is what is done for each."""

import csv
import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.columns import MeasureOfCase, columns
from reports.input import ResultLine
from reports.results_csv import AT_ONCE, COLUMNS, as_text, results_csv
from reports.statistics.panel import panels, row_label, scene_of

NAMES = st.sampled_from(["a", "b", "b/c", "=x", 'q"', "m,n", "", "all", "ä\nö"])
LINES = st.builds(
    ResultLine,
    row=NAMES,
    seed=st.integers(-1, 2),
    axes=st.sampled_from(["", "k=1"]),
    branch=st.sampled_from(["p", "q"]),
    case=NAMES,
    metric=NAMES,
    unit=NAMES,
    better=st.sampled_from(["high", "low"]),
    value=st.floats(-1e6, 1e6),
)


@settings(max_examples=30)
@given(st.lists(LINES, max_size=8))
def test_the_file_is_what_a_writer_of_one_line_at_a_time_writes(lines: list[ResultLine]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for v in sorted(lines, key=lambda v: (v.row, v.axes, v.seed, v.branch, v.case, v.metric, v.unit)):
        row, axes, branch, case, metric, unit = map(as_text, (v.row, v.axes, v.branch, v.case, v.metric, v.unit))
        writer.writerow([row, v.seed, axes, branch, case, metric, unit, v.better, repr(v.value)])
    assert results_csv(columns(lines)) == out.getvalue()


@settings(max_examples=30)
@given(st.lists(LINES, max_size=8))
def test_columns_give_every_line_back_and_rename_as_each_would_be(lines: list[ResultLine]) -> None:
    found = columns(lines)
    assert [found.line(i) for i in range(len(found))] == lines

    def rule(of: MeasureOfCase) -> tuple[str, str]:
        return (of.case.removesuffix("c"), f"{of.metric}@{of.unit}") if of.branch == "q" else (of.case, of.metric)

    renamed = found.renamed(rule)
    for i, v in enumerate(lines):
        one = renamed.line(i)
        assert (one.case, one.metric) == rule(MeasureOfCase(v.branch, v.case, v.metric, v.unit))
        assert (one.row, one.unit, one.value) == (v.row, v.unit, v.value)


def made() -> list[ResultLine]:
    """Two branches, scenes with two variants and two cases each, cells missing, in no order."""
    draw = random.Random(3)
    lines = [
        ResultLine(
            row=row, seed=seed, axes=axes, branch=branch, case=f"pool/scene-{scene}-{variant}/{frame}", metric=metric,
            unit="dB", better="high", value=draw.gauss(0.0, 1.0),
        )
        for row in ("b", "a", "c") for seed in (0, 1, 7) for axes in ("", "k=1") for branch in ("p", "q")
        for scene in range(3) for variant in range(2) for frame in range(2) for metric in ("psnr", "judge")
        if draw.random() > 0.2
    ]  # fmt: skip
    draw.shuffle(lines)
    return lines


def test_panels_are_sums_of_one_value_at_a_time() -> None:
    lines, rows, seeds, variants = made(), ["c", "a/k=1", "b"], [0, 1], {"p": r"-\d+"}
    found = panels(columns(lines), rows, seeds, variants)
    assert list(found) == ["p/judge", "p/psnr", "q/judge", "q/psnr"]
    for name, panel in found.items():
        total, count = np.zeros(panel.total.shape), np.zeros(panel.total.shape)
        for v in sorted(lines, key=lambda v: (v.row, v.axes, v.seed, v.case)):
            label = row_label(v.row, v.axes)
            if f"{v.branch}/{v.metric}" == name and label in rows and v.seed in seeds:
                scene = panel.scenes.index(scene_of(v.case, variants.get(v.branch, "")))
                total[rows.index(label), scene, seeds.index(v.seed)] += v.value
                count[rows.index(label), scene, seeds.index(v.seed)] += 1
        assert panel.total.tolist() == total.tolist()
        assert panel.count.tolist() == count.tolist()
        assert len(panel.scenes) == (3 if name.startswith("p/") else 6)
        assert panel.present.tolist() == count.sum(axis=(1, 2)).tolist()
    assert panels(columns(lines), ["nobody"], seeds, variants) == {}
    assert panels(columns([]), rows, seeds, variants) == {}


def test_a_file_that_is_made_in_parts_has_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    found = columns(made())
    whole = results_csv(found)
    assert len(found) < AT_ONCE
    monkeypatch.setattr("reports.results_csv.AT_ONCE", 7)
    assert results_csv(found) == whole
