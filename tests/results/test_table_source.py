"""`report --source FILE.csv`: statistics and page of a table, with or without a study, and files that were edited."""

import gzip
import json
from pathlib import Path

import pytest
from finished_study import finished_study

from orchestrator.cli import app
from orchestrator.errors import PlanError
from orchestrator.reporting.rebuild import DIGEST

TABLE = "row,seed,case,metric,better,value\n" + "".join(
    f"{row},{seed},c{case},error,low,{base + 0.1 * case + 0.01 * seed * (case + at):.3f}\n"
    for at, (row, base) in enumerate((("tree", 1.0), ("forest", 0.5)))
    for seed in (0, 1, 2)
    for case in range(4)
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / "home"))


def report(*words: str) -> None:
    app(["report", *words], standalone_mode=False)


@pytest.mark.slow  # a page
def test_a_table_needs_neither_matrix_nor_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open("mine.csv.gz", "wt") as file:
        file.write(TABLE)
    report("--source", "mine.csv.gz", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["study"], found["profile"], found["seeds"]) == ("mine", "mine.csv.gz", [0, 1, 2])
    assert found["columns"][0]["marks"] == {"forest": "best mean"}, "four cases show nothing"
    assert found["columns"][0]["best"] == ["forest", "tree"]
    assert found["controls"]["fingerprint"] == ""
    made = tmp_path / "home" / "report-of-mine"
    page = (made / "index.html").read_text(encoding="utf-8")
    assert "Made from mine.csv.gz alone" in page and "What was held equal is not known." in page
    assert json.loads((made / "report.json").read_text(encoding="utf-8")) == found
    # The same table gives the same bytes, wherever it is written.
    report("--source", "mine.csv.gz", "--output", "there")
    assert f"report: {Path('there/index.html')}" in capsys.readouterr().out
    assert (tmp_path / "there" / "index.html").read_bytes() == (made / "index.html").read_bytes()


@pytest.mark.slow  # two pages
def test_the_rows_of_a_study_are_reported_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = finished_study(tmp_path / "study", monkeypatch)
    report()
    written = study.report_folder / "results.csv"
    (tmp_path / "copy.csv").write_bytes(written.read_bytes())
    report("--source", str(tmp_path / "copy.csv"), "--output", str(tmp_path / "again"))
    ours, theirs = (
        json.loads((folder / "report.json").read_text(encoding="utf-8"))
        for folder in (study.report_folder, tmp_path / "again")
    )
    assert theirs["study"] == ours["study"] and theirs["rows"] == ours["rows"] and theirs["tables"] == ours["tables"]
    assert (tmp_path / "again" / "results.csv").read_bytes() == written.read_bytes()
    capsys.readouterr()
    # A name with a mistake in it makes it the table of another study, and is named.
    mistaken = (tmp_path / "copy.csv").read_text(encoding="utf-8").replace("\nconv,", "\ncnov,")
    (tmp_path / "mistaken.csv").write_text(mistaken, encoding="utf-8")
    report("--source", str(tmp_path / "mistaken.csv"), "--output", str(tmp_path / "general"))
    assert "mistaken.csv has cnov, which study digits of matrix.yaml does not have: the report is the general" in (
        capsys.readouterr().err
    )
    # Edited in place: nobody reads it as results, and `report` says so and writes it anew.
    written.write_bytes(written.read_bytes().replace(b"0.5", b"0.9", 1))
    with pytest.raises(PlanError, match=r"results.csv: was edited: its sha256 is .*, and the report beside it was wri"):
        report("--source", str(written))
    report()
    said = capsys.readouterr()
    assert (
        "results.csv was edited since it was written: it is written anew, and the edited one is results.csv.edited-"
        in (said.err)
    )
    assert written.read_bytes() == (tmp_path / "copy.csv").read_bytes()
    [kept] = study.report_folder.glob("results.csv.edited-*")
    assert kept.read_bytes() == written.read_bytes().replace(b"0.5", b"0.9", 1)
    report()
    assert capsys.readouterr().err == ""


def test_a_table_beside_another_input_is_refused(tmp_path: Path) -> None:
    Path("results.csv").write_text(TABLE)
    Path("input.json").write_text(json.dumps({"values_sha256": "0" * 64}))
    with pytest.raises(
        PlanError, match=r"results.csv: was edited: its sha256 is .*, and input.json was written with 00"
    ):
        report("--source", "results.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t.csv:0: there is no column 'row'"),
        (b"row,metric,value\n", "t.csv: has no values; allowed: a header and a line for each value"),
        (b"row,metric,value\na,m,1\n\xff,m,1\n", "t.csv:3: is not UTF-8; save the table as UTF-8"),
        (b"\x1f\x8bno gzip", "t.csv: is a damaged gzip file"),
        (gzip.compress(b"row,metric,value\na,m,1\n", mtime=0)[:-4], "t.csv: ends early"),
        (b"row,metric,value\na,m,inf\n", "t.csv:2: results/m of row 'a', seed 0, case 'all' is inf; allowed: a finite"),
    ],
)
def test_a_file_that_is_no_table_is_refused(content: bytes, said: str) -> None:
    Path("t.csv").write_bytes(content)
    with pytest.raises(PlanError) as refused:
        report("--source", "t.csv")
    assert said in str(refused.value) and refused.value.exit_code == 2


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    Path("t.csv").write_text(TABLE)
    Path("mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for words, said in [
        (("--source", "nothing.csv"), "--source is 'nothing.csv'; allowed: study, published, or a folder that --expor"),
        (("--source", "mine"), "--source is 'mine'; allowed: study, published, or a folder"),
        (("--source", "t.csv", "--output", "mine"), "mine exists and has no report; allowed: a new folder, or one"),
        (("--source", "t.csv", "--formats", "md,doc"), "--formats is 'md,doc'; allowed: md, latex, parquet, svg, pdf"),
        (("--source", "t.csv", "--against", "nothing"), "--against is 'nothing'; allowed: study, published, or a fold"),
        (("--source", "published", "--against", "t.csv"), "give it as --against published"),
        (("--source", "published", "--formats", "md"), "prints JSON and writes nothing; it takes no --output and no"),
        (("--source", "t.csv", "--export", "kept"), "--export writes results of the study; it takes no --source t.cs"),
    ]:
        with pytest.raises(PlanError) as refused:
            report(*words)
        assert said in str(refused.value), words


@pytest.mark.slow  # pages
def test_a_matrix_that_cannot_be_planned_is_said_and_not_needed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text(TABLE)
    Path("matrix.yaml").write_text("workload: [")
    report("--source", "t.csv", "--output", "out", "--formats", "md")
    assert "matrix.yaml cannot be planned" in capsys.readouterr().err
    assert "forest has the best mean" in Path("out/report.md").read_text(encoding="utf-8")
    # What was asked for once is kept up to date, and what is there no more is removed.
    note = json.loads((Path("out") / DIGEST).read_text(encoding="utf-8"))
    assert note["formats"] == ["md"] and "report.md" in note["files"]


@pytest.mark.slow  # a page
def test_two_tables_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.csv").write_text(TABLE)
    Path("old.csv").write_text(TABLE.replace("forest,2,c3,error,low,0", "forest,2,c3,error,low,9"))
    report("--source", "new.csv", "--against", "old.csv")
    out = capsys.readouterr().out
    assert "new.csv against old.csv" in out
    assert "tree    results error" in out and "the same" in out
    assert "1 the same, 1 not told apart" in out
    made = tmp_path / "home" / "report-of-new-against-old"
    assert f"report: {made / 'index.html'}" in out
    assert "What differs from old.csv" in (made / "index.html").read_text(encoding="utf-8")
    report("--source", "new.csv", "--against", str(made / "report.json"), "--json")
    found = json.loads(capsys.readouterr().out)
    assert {(c["how"], c["verdict"], c["effect"]) for c in found["changes"]} == {("means only", "no verdict", 0.0)}
