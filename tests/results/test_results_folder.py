"""A results folder: what `report --export` keeps in a repository, and the report that `--source` makes of it."""

import gzip
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from finished_study import finished_study
from made_input import made_input

from orchestrator.cli import app
from orchestrator.errors import PlanError
from orchestrator.plan.job import Plan
from orchestrator.reporting import results_folder
from orchestrator.reporting.results_folder import (
    FINGERPRINTS,
    INPUT,
    SAME,
    SAME_AT_LAST,
    STRIPS,
    VALUES,
    read_results_folder,
    write_results_folder,
)
from reports.columns import columns
from reports.excerpt import CURVE_POINTS, excerpt
from reports.input import Curve, ReportInput, Video
from reports.results_csv import results_csv, written_table
from reports.thinning import thinned

MOST_IN_THE_REPOSITORY = 8_000_000
"""Bytes of a folder below docs/results."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        return finished_study(tmp_path_factory.mktemp("study"), patch).plan


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> ReportInput:
    made = made_input(tmp_path_factory.mktemp("images"), cases=2)
    film = tmp_path_factory.mktemp("videos") / "film.mp4"
    film.write_bytes(b"film")
    case = "worlds/open-00-0/0"
    videos = [Video(row=row.name, seed=0, axes="", branch="return", case=case, path=str(film)) for row in made.rows]
    odd = [replace(made.values[0], case=case) for case in ("=1+1", "'=1", 'it\'s, "this"\nand that', "'plain")]
    lost = replace(made.curves[0], values=[math.nan, *made.curves[0].values[1:]])
    rows = [replace(row, factors={"write": "grid"}, sizes={"": {"kept": 5.0}}) for row in made.rows]
    tables = {**made.tables, "later": ["context-k1", "not-in-profile"]}
    curves, outside = [lost, *made.curves[1:]], ["not-in-profile"]
    changed = {"curves": curves, "rows": rows, "tables": tables, "outside": outside, "videos": videos}
    return replace(made, values=[*made.values, *odd], defaults={"site": "pre_qkv"}, **changed)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, given: ReportInput, plan: Plan) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_results_folder(folder, given, plan, frozenset())
    return folder


def comparable(given: ReportInput) -> dict[str, str]:
    """Every field but the specification, as text: sequences of any kind alike, images by their bytes."""
    strips, videos = (
        [(one.row, one.seed, one.branch, one.case, Path(one.path).read_bytes()) for one in files]
        for files in (given.strips, given.videos)
    )
    values = sorted(given.values, key=lambda v: repr(vars(v)))
    seen = replace(given, strips=[], videos=[], values=values)
    found = {f.name: _text(getattr(seen, f.name)) for f in fields(seen) if f.name != "spec"}
    return {**found, "strips": repr(strips), "videos": repr(videos)}


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, int) and not isinstance(value, bool):
        return repr(float(value))
    return _text(vars(value)) if hasattr(value, "__dataclass_fields__") else repr(value)


def test_a_folder_gives_back_what_was_kept(tmp_path: Path, given: ReportInput, plan: Plan) -> None:
    size = write_results_folder(tmp_path / "kept", given, plan, frozenset())
    assert size == sum(path.stat().st_size for path in (tmp_path / "kept").rglob("*.*"))
    found = read_results_folder(tmp_path / "kept", plan)
    assert comparable(found) == comparable(excerpt(given))
    # All but strips and curves is as it was given.
    whole, kept = comparable(given), comparable(found)
    assert {name for name in whole if whole[name] != kept[name]} == {"strips", "curves", "videos"}
    assert [video.row for video in found.videos] == ["context-k20", "compress-hybrid-r2"], "the best and the middle one"


def test_nothing_of_the_input_is_forgotten() -> None:
    """A field that is lost changes the page: without `outside` a table of the matrix names unknown rows."""
    anew = {"values", "strips", "videos", "curves", "spec"}
    assert {field.name for field in fields(ReportInput)} == {*SAME, *SAME_AT_LAST, *anew}


def test_a_folder_is_about_the_branches_that_were_on(tmp_path: Path, written: Path, plan: Plan) -> None:
    kept = json.loads((written / INPUT).read_text(encoding="utf-8"))
    assert plan.branches and kept["branches"] == list(plan.branches)
    folder = tmp_path / "kept"
    shutil.copytree(written, folder)
    with_key(branches=[])(folder)
    assert list(read_results_folder(folder, plan).spec.branches) == []


def test_the_same_results_give_the_same_bytes(tmp_path: Path, given: ReportInput, plan: Plan) -> None:
    for folder, values in (("one", given.values), ("two", given.values[::-1])):
        write_results_folder(tmp_path / folder, replace(given, values=values), plan, frozenset())
    write_results_folder(tmp_path / "two", given, plan, frozenset())  # over itself
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))}
        for name in ("one", "two")
    )
    assert one == two and len(one) > 10


def test_an_excerpt_keeps_strips_of_the_best_the_middle_and_ten_ranks(given: ReportInput) -> None:
    kept = excerpt(given)
    by_branch = {b: [s.row for s in kept.strips if s.branch == b] for b in ("replay", "loop", "return")}
    assert len(by_branch["replay"]) == len(by_branch["loop"]) == 2 and len(by_branch["return"]) == 10
    assert "context-k20" in by_branch["return"] and "spatial-text" not in by_branch["return"]
    assert len({strip.case for strip in kept.strips if strip.branch == "return"}) == 1


def test_a_curve_is_thinned_to_means() -> None:
    curve = Curve(row="a", seed=0, axes="", steps=range(1, 1001), values=[float(i) for i in range(1000)])
    thin = thinned(curve, CURVE_POINTS)
    assert len(thin.steps) == len(thin.values) == CURVE_POINTS
    assert (thin.steps[0], thin.values[0], thin.steps[-1], thin.values[-1]) == (10, 4.5, 1000, 994.5)
    empty = thinned(replace(curve, steps=[], values=[]), 5)
    assert empty.steps == empty.values == []


def test_values_are_read_as_they_were_written(given: ReportInput) -> None:
    text = results_csv(columns(given.values))
    assert results_csv(columns(written_table(text, "it").values)) == text
    assert {v.case for v in written_table(text, "it").values} == {v.case for v in given.values}
    for damaged, said in [
        ("row,seed\n", "it:1: the first line is not row,seed,axes"),
        (text.replace(",high,", ",up,", 1), "better is 'up'; allowed: high, low"),
        (text + "a,b\n", "not enough values to unpack"),
        (text.replace(",0,", ",zero,", 1), "it:2: seed is 'zero'; allowed: a whole number"),
    ]:
        with pytest.raises(ValueError, match="it:") as refused:
            written_table(damaged, "it")
        assert said in str(refused.value)


def edited(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        [path] = folder.glob(name)
        path.write_bytes(change(path.read_bytes()))

    return edit


def with_key(**keys: object) -> Callable[[Path], None]:
    return edited(INPUT, lambda content: json.dumps({**json.loads(content), **keys}).encode())


def linked(folder: Path) -> None:
    [path] = folder.glob(f"{STRIPS}/00-*.png")
    path.rename(folder / "elsewhere.png")
    path.symlink_to(folder / "elsewhere.png")


STRIP = {"row": "a", "seed": 0, "axes": "", "branch": "b", "case": "c", "file": "../../x.png", "sha256": ""}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (with_key(version=2), "input.json: version is '2'; this echo-matrix reads version 1; use the one that wrote"),
        (with_key(workload="other.study"), "results of workload 'other.study', and the matrix has 'digits_study"),
        (with_key(seeds=["0"]), "input.json.seeds[0]: is '0'; allowed: a whole number"),
        (with_key(notes="one"), "input.json.notes: is 'one'; allowed: a list"),
        (with_key(extra=1), "has 'extra', which is unknown"),
        (with_key(strips=[STRIP]), "'../../x.png' is no name of a file in strips/"),
        (edited(INPUT, lambda content: content[:-9]), "input.json: not JSON"),
        (edited(VALUES, lambda content: content[:-30]), "results.csv.gz: ends early"),
        (edited(VALUES, lambda content: b"row" + content), "results.csv.gz: is no gzip file"),
        (edited(VALUES, lambda content: gzip.compress(b"row,seed\n")), "results.csv.gz: is not the file that"),
        (edited(f"{STRIPS}/00-*.png", lambda content: content + b"."), "is not the file that input.json was written"),
        (lambda folder: (folder / VALUES).unlink(), "No such file or directory"),
        (linked, "Too many levels of symbolic links"),
    ],
)
def test_a_folder_that_is_not_as_it_was_written_is_refused(
    tmp_path: Path, written: Path, plan: Plan, damage: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "kept"
    shutil.copytree(written, folder)
    damage(folder)
    with pytest.raises(PlanError) as refused:
        read_results_folder(folder, plan)
    assert said in str(refused.value)


def test_values_that_would_fill_the_memory_are_refused(
    written: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_folder, "MOST_VALUES", 100)
    with pytest.raises(PlanError, match="has more than 100 bytes"):
        read_results_folder(written, plan)


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path, given: ReportInput, plan: Plan) -> None:
    (tmp_path / "notes.md").write_text("mine", encoding="utf-8")
    with pytest.raises(PlanError, match=r"exists and has no input.json; allowed: a new folder, or one of --export"):
        write_results_folder(tmp_path, given, plan, frozenset())


@pytest.mark.slow  # two pages
def test_the_report_of_a_folder_is_that_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = finished_study(tmp_path / "study", monkeypatch)
    app(["report", "--export", str(tmp_path / "kept")], standalone_mode=False)
    assert f"exported: {tmp_path / 'kept'}, 0.0 MB" in capsys.readouterr().out
    jobs = json.loads((tmp_path / "kept" / FINGERPRINTS).read_text(encoding="utf-8"))["jobs"]
    assert jobs == {job.label: job.fingerprint for job in study.plan.jobs.values()}
    for job in study.plan.jobs.values():
        study.store.withdraw(job.fingerprint)  # nothing of the store is needed
    app(["report", "--source", str(tmp_path / "kept")], standalone_mode=False)
    made = study.home / "report-of-kept"
    assert f"report: {made / 'index.html'}" in capsys.readouterr().out
    for name in ("report.json", "results.csv", "index.html"):
        assert (made / name).read_bytes() == (study.report_folder / name).read_bytes(), name
    with_key(tables={"one": ["nowhere"]})(tmp_path / "kept")
    with pytest.raises(PlanError, match=r"--source .*kept: table 'one' names \['nowhere'\]"):
        app(["report", "--source", str(tmp_path / "kept")], standalone_mode=False)


def test_other_sources_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_study(tmp_path, monkeypatch)
    with pytest.raises(PlanError, match=r"allowed: study, published, or a folder that --export wrote"):
        app(["report", "--source", "nothing"], standalone_mode=False)
    with pytest.raises(PlanError, match="it takes no --source"):
        app(["report", "--source", str(tmp_path), "--export", "kept"], standalone_mode=False)


def test_a_source_elsewhere_needs_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch)
    text = study.matrix.read_text(encoding="utf-8")
    study.matrix.write_text(text.replace("  laptop:\n", "  laptop:\n    rows: [mlp]\n"), encoding="utf-8")

    def away(location: object) -> None:
        raise AssertionError("the store is asked for rows with results")

    monkeypatch.setattr("orchestrator.study.make_store", away)
    with pytest.raises(PlanError, match="allowed: study, published, or a folder"):
        app(["report", "--source", "nothing"], standalone_mode=False)


def test_what_is_committed_is_small_and_can_be_read(root: Path) -> None:
    for folder in sorted((root / "docs" / "results").glob("*/")):
        assert sum(path.stat().st_size for path in folder.rglob("*")) <= MOST_IN_THE_REPOSITORY, folder
        if (folder / INPUT).exists():
            version = json.loads((folder / INPUT).read_text(encoding="utf-8"))["version"]
            assert version == results_folder.VERSION, folder
