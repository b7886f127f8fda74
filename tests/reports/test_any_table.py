"""A table of any study: which columns it may have, what stands for absent ones, and what is said of a wrong one."""

from dataclasses import replace

import pytest

from reports.analysis import analyse
from reports.any_table import report_of_table
from reports.input import ReportInput, RowInfo
from reports.page.page import page
from reports.results_csv import read_table, written_table
from reports.spec import BranchSpec, ReportSpec, ScorePart

HEADER = "row,seed,axes,branch,case,metric,unit,better,value\n"
SMALL = "row,metric,value\na,accuracy,0.5\nb,accuracy,0.75\n"


def made(text: str, spec: ReportSpec | None = None) -> ReportInput:
    return report_of_table(read_table(text, "t.csv"), study="t", name="t.csv", content=text.encode(), spec=spec)


def test_three_columns_are_enough() -> None:
    given = made(SMALL)
    assert [(v.row, v.seed, v.axes, v.branch, v.case, v.unit, v.better, v.value) for v in given.values] == [
        ("a", 0, "", "results", "all", "", "high", 0.5),
        ("b", 0, "", "results", "all", "", "high", 0.75),
    ]
    assert analyse(given).means == {"results/accuracy": {"a": 0.5, "b": 0.75}}
    assert given.notes == [
        "Made from t.csv alone (sha256 8b986ce2dcc1): what was held equal, what it cost and how it was "
        "trained are not known.",
        "t.csv has no column better: every metric counts as better when high, but for those whose direction the study "
        "declares.",
        "t.csv has no column case: each value stands for a whole row and seed, so that there are no intervals over "
        "cases.",
        "t.csv has no column seed: all values are of one seed.",
    ]


def test_the_page_of_a_table_names_no_profile_and_waits_for_nothing() -> None:
    given = made(SMALL)
    text = page(given, analyse(given))
    assert "<span>table <b>t.csv</b></span>" in text and "profile <b>" not in text
    assert "What it cost and how it was trained are not known." in text
    for wrong in ("recorded yet", "All controls", "the mean of the scenes"):
        assert wrong not in text


def test_columns_in_any_order_with_families_and_gaps() -> None:
    text = "value,metric,seed,row,family,better\n1,loss,3,x,net,low\n\n2,loss,3,y,tree,low\n0.5,loss,4,x,net,\n"
    with pytest.raises(ValueError, match=r"t.csv:5: results/loss has better 'high', and 'low' in t.csv:2; allowed"):
        made(text)
    given = made(text.replace("net,\n", "net,low\n"))
    assert given.rows == [
        RowInfo(name="x", family="net", alias_of=None),
        RowInfo(name="y", family="tree", alias_of=None),
    ]
    assert given.seeds == [3, 4]
    assert [(m.row, m.seed, m.branch, m.state, m.reason) for m in given.missing] == [
        ("y", 4, "results", "absent", "no line in t.csv")
    ]


def test_a_spreadsheet_on_windows_writes_a_mark_and_other_line_ends() -> None:
    text = "\ufeff" + SMALL.replace("\n", "\r\n")
    assert [v.value for v in read_table(text, "t.csv").values] == [0.5, 0.75]


def test_a_declared_direction_stands_for_an_absent_column() -> None:
    spec = ReportSpec(branches=(BranchSpec(name="results", score=(ScorePart(metric="accuracy", better="low"),)),))
    assert {v.better for v in made(SMALL, spec).values} == {"low"}


def test_what_a_study_says_of_its_rows_is_used() -> None:
    rows = [RowInfo(name=name, family="f", alias_of=alias) for name, alias in (("c", None), ("b", "c"), ("a", "b"))]
    given = report_of_table(
        read_table(SMALL, "t.csv"),
        study="s",
        name="t.csv",
        content=b"",
        spec=ReportSpec(),
        rows=rows,
        tables={"two": ["b", "c", "a"], "none": ["c"]},
    )
    assert [(info.name, info.family, info.alias_of) for info in given.rows] == [("b", "f", None), ("a", "f", "b")]
    assert given.tables == {"two": ["b", "a"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t.csv:0: there is no column 'row'; allowed: row, seed, axes, branch, case, metric, unit, better, value"),
        ("row,metric\n", "t.csv:1: there is no column 'value'; allowed: row, seed"),
        ("row;metric;value\n", "unknown column 'row;metric;value'; allowed: row, seed, axes, branch, case, metric, un"),
        ("row,metric,value,sead\n", "t.csv:1: unknown column 'sead'; allowed: row, seed"),
        ("row,row,metric,value\n", "t.csv:1: column 'row' is there twice"),
        (SMALL + "c,accuracy\n", "t.csv:4: not enough values to unpack: 2 fields, and the header has 3"),
        (SMALL + "c,accuracy,1,2\n", "t.csv:4: too many values to unpack: 4 fields, and the header has 3"),
        (SMALL + "c,accuracy,\n", "t.csv:4: value is ''; allowed: a number; leave the line out where a value is missi"),
        (SMALL + "c,accuracy,'1,5'\n", "t.csv:4: too many values"),
        (SMALL + 'c,accuracy,"1,5"\n', "t.csv:4: value is '1,5'; allowed: a number; with a point for decimals"),
        (
            f"row,seed,metric,value\na,{10**25},accuracy,1\n",
            f"t.csv:2: seed is '{10**25}'; allowed: a whole number of no more than 9223372036854775807 in size",
        ),
        (SMALL + "c,accuracy,nan\n", "t.csv:4: results/accuracy of row 'c', seed 0, case 'all' is nan; allowed: a fin"),
        (SMALL + "c,accuracy,1e300\n", "t.csv:4: results/accuracy of row 'c', seed 0, case 'all' is 1e+300; allowed: "),
        (SMALL + "a,accuracy,0.5\n", "t.csv:4: two values of results/accuracy for row 'a', seed 0, case 'all': 0.5 he"),
        (SMALL + ",accuracy,1\n", "t.csv:4: row is empty; allowed: a name"),
        (SMALL + "a/b,accuracy,1\n", "t.csv:4: row is 'a/b'; allowed: a name without '/'; write 'a_b'"),
        (SMALL + '"a,accuracy,1\n', "t.csv:4: unexpected end of data"),
        (HEADER + "a,x,,b,c,m,,high,1\n", "t.csv:2: seed is 'x'; allowed: a whole number"),
        (HEADER + "a,0,k,b,c,m,,high,1\n", "t.csv:2: axes is 'k'; allowed: KEY=VALUE;KEY=VALUE without '/', or nothi"),
        (HEADER + "a,0,,b,c,m,,up,1\n", "t.csv:2: better is 'up'; allowed: high, low"),
        (
            HEADER + "a,0,,b,c,m,s,high,1\nb,0,,b,c,m,ms,high,1\n",
            "t.csv:3: b/m has unit 'ms', and 's' in t.csv:2; allow",
        ),
        (HEADER + 'a,0,,b,"c\nd",m,,high,1\nb,0,,b,e,m,,high,1\n', "t.csv:4: b: row 'b' shares no case with row 'a'"),
        (
            "row,family,metric,value\na,f,m,1\na,g,n,1\n",
            "t.csv:3: row 'a' has family 'g', and 'f' before; allowed: one",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        made(text)
    assert said in str(refused.value)


def test_our_own_files_have_all_columns_in_order() -> None:
    text = HEADER + "a,0,,b,c,m,,high,1\n"
    assert len(written_table(text, "r.csv").values) == 1
    with pytest.raises(ValueError, match=r"r\.csv:1: the first line is not row,seed,axes"):
        written_table(SMALL, "r.csv")
    with pytest.raises(ValueError, match=r"t.csv:2: two values of b/m for row 'a'.* in t.csv:1000"):
        table = read_table(text + "b,0,,b,c,m,,high,1\n", "t.csv")
        replace(table, values=[table.values[0]] * 2, lines=[1000, 2]).check()
