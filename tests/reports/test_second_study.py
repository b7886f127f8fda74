"""A study that `reports` knows nothing of gets its report, from `ReportSpec()` and from a spec of its own."""

import ast
import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from second_study import AXES, ROWS, second_study

import reports
from reports.analysis import analyse
from reports.build import build
from reports.figures.style import FAMILY_COLOURS, looks_of
from reports.input import ReportInput, ResultLine, RowInfo
from reports.page.page import page
from reports.report_json import report_json
from reports.spec import (
    BranchSpec,
    CostValue,
    GainSpec,
    PublishedTables,
    ReferenceSpec,
    ReportSpec,
    ScalingFigure,
    ScorePart,
    Words,
)
from workloads.study.report import REPORT
from workloads.study.workload import WORKLOAD

LABELS = [f"{row}/{axes}" for axes in AXES for row, _ in ROWS]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportInput, Path]:
    folder = tmp_path_factory.mktemp("second")
    given = second_study()
    build(folder, given)
    return given, folder


def mean(given: ReportInput, row: str, axes: str, branch: str) -> float:
    """Mean accuracy, worked out here."""
    return float(np.mean([v.value for v in given.values if (v.row, v.axes, v.branch) == (row, axes, branch)]))


def test_results_csv_has_every_value(written: tuple[ReportInput, Path]) -> None:
    given, folder = written
    lines = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))
    assert len(lines) == len(given.values) == 60 * (2 * len(LABELS) * 2 - 1)
    assert {line["branch"] for line in lines} == {"clean", "shifted"}
    assert {line["metric"] for line in lines} == {"accuracy"}


def test_report_json_ranks_the_rows_on_both_branches(written: tuple[ReportInput, Path]) -> None:
    given, folder = written
    report = json.loads((folder / "report.json").read_text())
    assert list(report["rows"]) == LABELS
    told = report["rows"]["conv/noise=0.3"]["shifted/accuracy"]
    assert told["mean"] == pytest.approx(mean(given, "conv", "noise=0.3", "shifted"))
    assert (told["n"], told["missing"]) == (60, 60)
    assert told["low"] < told["mean"] < told["high"]
    assert list(report["tables"]) == [f"all rows/{axes}" for axes in AXES]
    table = report["tables"]["all rows/noise=0.0"]
    assert table["rows"] == [f"{row}/noise=0.0" for row, _ in ROWS]
    assert list(table["agreement"]) == ["clean~shifted"]
    for branch in ("clean", "shifted"):
        scores = {row: mean(given, row, "noise=0.0", branch) for row, _ in ROWS}
        assert table["scores"][branch] == pytest.approx({f"{row}/noise=0.0": score for row, score in scores.items()})
        best = max(scores, key=lambda row: scores[row])
        assert table["ranks"][branch][f"{best}/noise=0.0"] == 1
    assert table["ranks"]["shifted"]["conv/noise=0.0"] == 1
    assert table["rank_shift"]["conv/noise=0.0"] == 1 - table["ranks"]["clean"]["conv/noise=0.0"]
    assert {"better_on_clean", "better_on_shifted", "clean_difference", "shifted_difference"} < set(
        table["inversions"][0]
    )
    assert {line["metric"] for line in table["comparisons"]} == {"clean/accuracy", "shifted/accuracy"}
    assert "bundle" not in table
    assert (report["findings"], report["retained_gain"], report["bounds"]) == ([], {}, [])
    assert report["cost"]["conv/noise=0.0"]["fit"]["device_s"] == 6.0
    assert report["missing"][0]["reason"] == "killed by a signal"
    assert report["intervals"] == "over cases and seeds"


def test_the_page_shows_tables_figures_costs_and_what_is_missing(written: tuple[ReportInput, Path]) -> None:
    given, folder = written
    text = (folder / "index.html").read_text()
    assert '<h3>Clean against shifted</h3><div class="drawing"' in text
    assert '<h3>Quality against cost</h3><div class="drawing"' in text
    assert '<h3>Training loss</h3><div class="drawing"' in text
    assert "1 of 6 pairs of rows changes order between clean and shifted" in re.sub("</?a[^>]*>", "", text)
    assert re.search(
        rf"{mean(given, 'mlp-large', 'noise=0.0', 'clean'):.3f}(<sup class=\"mark\">.</sup>)?<small>±", text
    )
    assert "60/120" in text
    assert "fit: parameters" in text
    assert "killed by a signal" in text
    assert "sample order" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#|results\.csv|report\.json)[^"']*""", text)
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    assert {anchor for anchor in re.findall(r'<h2 id="([^"]+)"', text)} == {
        "disagree", "axes", "scale", "tables", "cost", "missing", "controls", "glossary",
    }  # fmt: skip
    for word in ("memory", "camera", "paper's", "None"):
        assert word not in text[text.index("</style>") :], word


def test_the_order_of_the_input_changes_nothing(written: tuple[ReportInput, Path], tmp_path: Path) -> None:
    given, folder = written
    build(tmp_path, dataclasses.replace(given, values=list(reversed(given.values))))
    for name in ("results.csv", "report.json", "index.html"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_one_branch_and_a_metric_of_which_less_is_better() -> None:
    given = second_study(cases=8)
    errors = [
        dataclasses.replace(v, metric="error", better="low", value=1 - v.value)
        for v in given.values
        if v.branch == "clean"
    ]
    one = dataclasses.replace(given, values=errors, missing=[])
    report = report_json(one, analyse(one))
    table = report["tables"]["all rows/noise=0.0"]
    assert table["agreement"] == {}
    assert table["inversions"] == []
    lowest = min(table["rows"], key=lambda row: report["rows"][row]["clean/error"]["mean"])
    assert table["ranks"]["clean"][lowest] == 1
    text = page(one, analyse(one))
    assert "error&nbsp;↓" in text
    assert 'id="disagree"' not in text
    assert '<h3>Quality against cost</h3><div class="drawing"' in text


def test_nothing_measured_or_no_row_at_all_still_makes_a_report() -> None:
    given = dataclasses.replace(second_study(cases=2), values=[], costs=[], curves=[])
    for rows in (given.rows, []):
        empty = dataclasses.replace(given, rows=rows)
        assert "What is missing" in page(empty, analyse(empty))


def test_a_study_gives_its_own_scores_references_figures_gain_and_published_tables() -> None:
    given = second_study(cases=12)
    ceiling = [
        ResultLine(
            row="oracle", seed=v.seed, axes=v.axes, branch=v.branch, case=v.case, metric="accuracy", unit="",
            better="high", value=1.0,
        )
        for v in given.values if v.row == "linear"
    ]  # fmt: skip
    losses = [dataclasses.replace(v, metric="loss", better="low", value=1.5 - v.value) for v in given.values]
    parts = (ScorePart(metric="accuracy"), ScorePart(metric="entropy", better="low", stand_in="loss"))
    spec = ReportSpec(
        branches=(BranchSpec(name="shifted", score=parts), BranchSpec(name="clean")),
        contrast=("clean", "shifted"),
        main_table="networks",
        metrics={"accuracy": "Accuracy", "loss": "Loss"},
        decimals={"accuracy": 2},
        family_labels={"mlp": "perceptron"},
        scaling=(ScalingFigure(title="Width", rows="w([0-9]+)", tick="{}", metrics=(("clean/accuracy", "clean"),)),),
        gain=GainSpec(metric="clean/accuracy", shortest="linear", longest="mlp-large", full_families=("mlp", "linear")),
        references=ReferenceSpec(ceiling="oracle", floor="none", caption="The <b>oracle</b> knows."),
        cost_columns=(CostValue(stage="fit", key="parameters", name="weights"),),
        published=lambda: PublishedTables(
            source="A paper",
            rows=[("conv", "conv"), ("linear", "linear"), ("forest", "tree")],
            means={
                f"{branch}/{metric}": {"conv": 0.9, "linear": 0.7, "forest": 0.8}
                for branch in ("clean", "shifted")
                for metric in ("accuracy", "loss")
            },
            tables={"networks": ["conv", "linear", "forest"]},
        ),
        words=Words(lead="Which network reads digits?"),
    )
    own = dataclasses.replace(
        given,
        spec=spec,
        rows=[*given.rows, RowInfo(name="oracle", family="oracle", alias_of=None, reference=True)],
        values=[*given.values, *losses, *ceiling],
        tables={"networks": [row for row, _ in ROWS]},
    )
    analysis = analyse(own)
    report = report_json(own, analysis)
    table = report["tables"]["networks/noise=0.0"]
    assert table["bundle_name"] == "shifted_bundle"
    assert table["bundle"] == table["scores"]["shifted"]
    assert list(table["agreement"]) == ["clean~shifted"]
    assert report["bounds"] == [f"oracle/{axes}" for axes in AXES]
    assert set(report["retained_gain"]) == {f"conv/{axes}" for axes in AXES}
    text = page(own, analysis)
    for words in ("Which network reads digits?", "The <b>oracle</b> knows.", "Published: networks", "weights"):
        assert words in text
    assert "perceptron" in text
    assert text.count('class="dot reference') >= 2
    assert "family-4" in text[text.index('id="published"') :]  # the fourth family is one that only the paper has


def test_a_tenth_family_has_a_look_of_its_own() -> None:
    looks = looks_of(f"family {i}" for i in range(64))
    assert [looks[f"family {i}"].css for i in range(10)] == [
        f"family-{i % 8 + 1} mark-{(i + i // 8) % 8 + 1}" for i in range(10)
    ]
    assert len({(look.colour, look.marker) for look in looks.values()}) == 64
    assert list(looks_of(["b", "a", "b"])) == ["b", "a"]
    given = second_study(cases=4)
    rows = [RowInfo(name=row, family=f"family {i}", alias_of=None) for i, (row, _) in enumerate(ROWS)]
    more = [RowInfo(name=f"more-{i}", family=f"more {i}", alias_of=None) for i in range(6)]
    values = [dataclasses.replace(v, row=info.name) for info in more for v in given.values if v.row == "linear"]
    many = dataclasses.replace(given, rows=[*rows, *more], values=[*given.values, *values])
    text = page(many, analyse(many))
    body = text[text.index("</style>") :]
    for i in range(1, len(FAMILY_COLOURS) + 1):
        assert f"var(--family-{i})" in body
        assert len(re.findall(rf"--family-{i}: #[0-9a-f]{{6}};", text)) == 2  # light and dark
        assert f".family-{i} {{" in text
    assert "#0a0b0" not in text
    assert "more 5" in body


def names_of_our_study() -> set[str]:
    """Branches, metrics, families, tables, rows and instruments of our study, read from its report."""
    spec = REPORT
    assert spec.instruments and spec.gain and spec.references and spec.published
    published = spec.published()
    names = (
        set(WORKLOAD.branch_names)
        | {branch.name for branch in spec.branches}
        | set(spec.metrics)
        | set(WORKLOAD.family)
    )
    names |= set(published.tables) | {row for row, _ in published.rows} | set(published.means)
    names |= {spec.instruments.name, spec.instruments.metric, spec.gain.metric, spec.gain.shortest, spec.gain.longest}
    names |= {spec.references.ceiling, spec.references.floor, *spec.family_labels.values()}
    return names | set(WORKLOAD.by_name) - {"data"}  # a word of every study


def test_no_string_in_reports_is_a_name_of_our_study() -> None:
    names = names_of_our_study()
    assert {"replay", "loop", "return", "judge", "context", "compress", "spatial", "ssm", "bound", "psnr"} <= names
    folder = Path(reports.__path__[0])
    files = sorted(folder.rglob("*.py"))
    assert len(files) > 20
    found = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = {node.value, *re.split(r"[/\s]+", node.value)} if len(node.value) < 40 else {node.value}
                if parts & names:
                    found.append(f"{path.relative_to(folder)}:{node.lineno}: {node.value!r}")
    assert found == []
    plain = names - {"loop", "context", "index"}  # words of the template language
    for path in [*folder.rglob("*.j2"), *folder.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert not [name for name in sorted(plain) if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
