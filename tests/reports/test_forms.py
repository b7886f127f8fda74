"""Forms of a report: Markdown, LaTeX, Parquet and figures, of everything that a page shows and of hostile names."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from made_input import made_input, without_figures
from second_study import second_study
from small_report import FLOOR, small_study

from reports.analysis import Analysis, analyse
from reports.columns import columns
from reports.figures.style import VARIABLES, recorded
from reports.forms.figure_files import figure_files, page_palette
from reports.forms.forms import FORMATS, forms
from reports.forms.latex import escaped as latex_escaped
from reports.forms.latex import latex_files
from reports.forms.markdown import escaped, report_md
from reports.forms.parquet import results_parquet
from reports.input import ReportInput
from reports.page.page import page
from reports.ranking import ranking
from reports.results_csv import COLUMNS, results_csv, written_table

HOSTILE = r"a|b_c*d `e` <f> 50% #1 {g} \h ~ ^ $i$ & — é δ 中"


@pytest.fixture(scope="module")
def given() -> ReportInput:
    return without_figures(made_input(seeds=(0, 1), cases=3, missing_row="spatial-masked"))


@pytest.fixture(scope="module")
def analysis(given: ReportInput) -> Analysis:
    return analyse(given)


@pytest.fixture(scope="module")
def hostile() -> ReportInput:
    made = second_study(cases=3)
    name = {"conv": HOSTILE}
    return replace(
        made,
        study=HOSTILE,
        rows=[replace(info, name=name.get(info.name, info.name)) for info in made.rows],
        values=[replace(v, row=name.get(v.row, v.row), unit=HOSTILE) for v in made.values],
        missing=[replace(m, row=HOSTILE, reason=HOSTILE) for m in made.missing],
        notes=[HOSTILE],
    )


def test_the_markdown_has_answer_findings_tables_and_what_is_missing(given: ReportInput, analysis: Analysis) -> None:
    text = report_md(given, analysis)
    heads = re.findall(r"^##? (.*)$", text, flags=re.M)
    assert heads[0] == "echo-memory · laptop"
    wanted = ["Answer", "Findings", "Tables", "Where the branches disagree", "What is missing", "Controls"]
    assert [head for head in heads if head in wanted] == wanted
    assert "context-k20 has the best mean" in text
    assert f" · {sum(not row.reference for row in analysis.rows)} rows · " in text.splitlines()[2]
    assert "points:mask" not in text and "(points)" in text
    assert "| spatial-masked | 0 | train | failed | out of memory at micro-batch 1: activation" in text
    assert "| memory.masked | spatial-masked |" in text
    assert re.search(r"^\| context-k20 \| .* \d+\.\d\d\^ ±\d", text, flags=re.M)
    assert (
        "; ^ is the best mean, and no more: no row is shown to be worse; worse: paired over scenes and seeds, Holm"
        in text
    )
    assert "\n\nToo few scenes to show that a row is worse: 3 of replay" in text
    assert text == report_md(given, analysis)


def test_every_table_of_the_markdown_has_as_many_cells_in_each_line(hostile: ReportInput) -> None:
    text = report_md(hostile, analyse(hostile))
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
    assert escaped("a|b\n*c* <d>") == r"a\|b \*c\* \<d\>"


def test_latex_escapes_names_and_marks_the_best_mean(given: ReportInput, analysis: Analysis) -> None:
    files = latex_files(given, analysis)
    assert set(files) == {"families.tex", "spatial.tex", "compression.tex", "state-space.tex", "context.tex", "all.tex"}
    context = files["context.tex"]
    assert context.count(r"\begin{tabular}{lr") == context.count(r"\end{tabular}") == 1
    columns = len(re.search(r"\\begin\{tabular\}\{l(r+)\}", context)[1])  # type: ignore[index]
    [line] = re.findall(r"^context-\{\}k20 .*\\\\$", context, flags=re.M)
    assert line.count("&") == columns
    assert re.search(r" \d+\.\d\\textsuperscript\{\\textasciicircum\{\}\} \{\\scriptsize \$\\pm\$ \d", line)
    assert (
        r"\textasciicircum{} is the best mean, and no more: no row is shown to be worse; worse: paired over" in context
    )
    assert r"rf\_distance $\downarrow$" in context
    assert r"\input{families.tex}" in files["all.tex"]


def test_the_best_is_bold_and_what_may_be_best_has_a_sign() -> None:
    means = {"plain": 20.0, "a": 45.0, "b": 60.0, **FLOOR}
    analysis = analyse(replace(small_study(means, {**means, "a": 60.2}), tables={"all": ["plain", "a", "b"]}))
    text = report_md(given := small_study(means, means), analysis)
    note = "bold is the best: every other row is shown to be worse; ? may be the best: it is not shown to be worse"
    assert note in text and "; worse: paired over cases and seeds, Holm within the column, p \\< 0.05. k/N" in text
    assert re.search(r"^\| b \| \*\*\d\d\.\d\*\* ±\d\.\d \| \d\d\.\d\? ±\d\.\d \|$", text, flags=re.M)
    assert "has the best mean" in text and "; every row but b is shown to be worse." in text
    table = latex_files(given, analysis)["all-table.tex"]
    assert re.search(r"^b & \\textbf\{\d\d\.\d\} .* & \d\d\.\d\\textsuperscript\{\?\} ", table, flags=re.M)
    assert f"Bold{note[4:]}" in table.replace("{}", "")


def test_no_character_of_a_name_is_latex() -> None:
    found = latex_escaped(HOSTILE)
    assert found.startswith(
        r"a\textbar{}b\_c*d \textasciigrave{}e\textasciigrave{} \textless{}f\textgreater{} 50\% \#1"
    )
    assert found.endswith(r"\textbackslash{}h \textasciitilde{} \textasciicircum{} \$i\$ \& --- é $\delta$ [U+4E2D]")


@pytest.mark.slow  # imports pyarrow
def test_parquet_has_the_values_of_the_csv(given: ReportInput) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    content = results_parquet(columns(given.values))
    table = parquet.read_table(io.BytesIO(content))
    assert tuple(table.column_names) == COLUMNS
    rows = [(*(str(row[name]) for name in COLUMNS[:-1]), row["value"]) for row in table.to_pylist()]
    known = list(written_table(results_csv(columns(given.values)), "it").values)
    assert rows == [(*(str(getattr(v, name)) for name in COLUMNS[:-1]), v.value) for v in known]
    assert results_parquet(columns(given.values[::-1])) == content
    assert results_parquet(columns([]))[:4] == b"PAR1"


@pytest.mark.slow  # every figure, three times
def test_every_figure_is_a_file_with_its_data() -> None:
    made = replace(made_input(cases=2), strips=[])
    analysis = analyse(made)
    with recorded() as drawings:
        page(made, analysis)
    files = figure_files(made, analysis, drawings, ["svg", "pdf"])
    stems = {name.rpartition(".")[0] for name in files}
    assert {"scatter", "rank-slopes", "loss-curves", "quality-against-cost", "scaling"} <= stems
    assert {*files} == {f"{stem}.{form}" for stem in stems for form in ("svg", "pdf", "csv")}
    for name, content in files.items():
        if name.endswith(".svg"):
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert not any(colour.encode() in content for colour in VARIABLES), name
        elif name.endswith(".pdf"):
            assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
        else:
            lines = list(csv.reader(io.StringIO(content.decode())))
            assert len(lines) > 1 and len({len(line) for line in lines}) == 1, name
    scatter = list(csv.DictReader(io.StringIO(files["scatter.csv"].decode())))
    assert {line["row"] for line in scatter} == {*analysis.tables[analysis.main].rows}
    assert float(scatter[0]["return score, more is better"]) == pytest.approx(
        analysis.tables[analysis.main].scores["return"][0], rel=1e-5
    )
    found = ranking(analysis)
    assert found is not None
    cost = list(csv.DictReader(io.StringIO(files["quality-against-cost.csv"].decode())))
    assert [line["row"] for line in cost] == [*found.last.order]  # those that are drawn, not of the main table alone
    assert len(list(csv.reader(io.StringIO(files["loss-curves.csv"].decode())))) == 1 + 400 * len(made.curves)
    assert figure_files(made, analysis, drawings, ["svg"])["scatter.svg"] == files["scatter.svg"]


def test_the_style_sheet_names_a_colour_for_every_placeholder() -> None:
    found = page_palette()
    assert set(found) == set(VARIABLES)
    assert len(set(found.values())) == len(found)


@pytest.mark.slow  # imports pyarrow
def test_only_forms_that_are_asked_for_are_made(given: ReportInput, analysis: Analysis) -> None:
    assert forms(given, analysis, [], []) == {}
    found: Mapping[str, bytes] = forms(given, analysis, [], ["md", "parquet", "svg"])
    assert set(found) == {"report.md", "results.parquet"}  # no drawings, no figures
    assert set(FORMATS) == {"md", "latex", "parquet", "svg", "pdf"}
