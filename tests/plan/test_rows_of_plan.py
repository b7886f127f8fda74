"""Rows of the plan: those of the profile, those that were asked for, and those with results of their own."""

import json
import re
import time
from pathlib import Path

import pytest
from recorded_run import make_results, record

from orchestrator.cli import app
from orchestrator.commands.gc.garbage import find_garbage, remove_garbage
from orchestrator.commands.results import results_json
from orchestrator.errors import PlanError
from orchestrator.opening import open_study, plan_of_matrix, reopen_study
from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Plan
from orchestrator.plan.recorded import plan_document, plan_of
from orchestrator.plan.rows import left_outside, named_rows, rows_of_plan, rows_with_results
from orchestrator.plan.select import find_job, find_jobs, select
from orchestrator.results import Results
from orchestrator.spec.expand import cells_of_rows, expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.patterns import families_of
from orchestrator.store.files import FilesStore
from orchestrator.study import Study
from orchestrator.ui.scores import scores_text

FAMILY_OF = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"}
PROFILE = ("a1", "b1")
GOLDEN = Path(__file__).parents[1] / "golden" / "matrix.yaml"
LAPTOP = "  laptop:\n"
CONTEXT = ("context-k1", "context-k5", "context-k20")


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A matrix whose laptop profile has the context rows alone, in the current folder."""
    monkeypatch.delenv("ECHO_MATRIX_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    text = GOLDEN.read_text(encoding="utf-8").replace(LAPTOP, f"{LAPTOP}    rows: ['context-*']\n", 1)
    small, mark, _ = text.partition("\n  study:")
    assert mark
    path = Path("matrix.yaml")
    path.write_text(f"{small}\n", encoding="utf-8")
    return path


def whole(matrix: Path) -> Plan:
    return plan_of_matrix(
        matrix, "laptop", (), rows={cell.row for cell in open_study(matrix, profile="evening").plan.cells}
    )


def rows(plan: Plan) -> list[str]:
    return list(dict.fromkeys(cell.row for cell in plan.cells))


# The rule


def test_the_plan_has_each_row_for_its_first_reason_in_the_order_of_the_file() -> None:
    found = rows_of_plan(FAMILY_OF, PROFILE, named=["c1", "a1", "gone"], asked=["a2", "c1"], results=["a2", "a1"])
    assert list(found.items()) == [("a1", "profile"), ("a2", "asked"), ("b1", "profile"), ("c1", "named")]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (None, set()),
        ("a2", {"a2"}),
        ("a1,c1", {"a1", "c1"}),
        ("a*", set()),  # it chooses a1, which the profile has
        ("family:a", set()),
        ("*", set()),
        ("c*", {"c1"}),  # none of these is of the profile: nothing else can be meant
        ("family:c", {"c1"}),
        ("?2", {"a2", "b2"}),
        (["a*, a2", "x*"], {"a2"}),
        ("nothing", set()),
    ],
)
def test_a_name_asks_for_its_row_and_a_glob_only_where_the_profile_has_none(
    patterns: str | list[str] | None, expected: set[str]
) -> None:
    assert named_rows(patterns, FAMILY_OF, PROFILE) == expected | {row for row in expected if row in PROFILE}


# Results


def done(plan: Plan, *labels: str) -> set[str]:
    return {find_job(plan, label).fingerprint for label in labels}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("data", "latents", "index/s0"), set()),
        (("train/spatial/s0",), set()),  # of spatial-masked as well
        (("evaluate/loop/spatial/s0",), {"spatial"}),  # its other name is not run for it
        (("evaluate/loop/spatial-masked/s0", "train/spatial/s0"), {"spatial-masked"}),
        (("judge/return/ssm-hybrid/s0",), {"ssm-hybrid"}),
        (("train/ssm-hybrid/s0",), {"ssm-hybrid"}),
        # Those of spatial-withheld are those of context-k1.
        (("train/context-k1/s0", "evaluate/loop/context-k1/s0"), set()),
    ],
)
def test_a_row_has_results_when_a_job_is_done_that_no_other_computation_uses(
    matrix: Path, labels: tuple[str, ...], expected: set[str]
) -> None:
    plan = whole(matrix)
    assert rows_with_results(plan, CONTEXT, done(plan, *labels)) == expected


def test_another_name_of_a_row_that_was_asked_for_stays_out(matrix: Path) -> None:
    plan = whole(matrix)
    commits = done(plan, "evaluate/loop/spatial/s0")
    assert rows_with_results(plan, [*CONTEXT, "spatial-text"], commits) == set()


@pytest.mark.parametrize("named", [None, "spatial-text", "ssm-hybrid,spatial"])
@pytest.mark.parametrize(
    "labels",
    [
        (),
        ("data", "train/context-k1/s0"),
        ("evaluate/loop/spatial/s0",),
        ("judge/return/ssm-hybrid/s0", "data"),
        ("evaluate/loop/spatial-masked/s0", "train/spatial/s0"),
    ],
)
def test_the_plan_is_that_of_all_rows_without_those_that_nobody_needs(
    matrix: Path, monkeypatch: pytest.MonkeyPatch, labels: tuple[str, ...], named: str | None
) -> None:
    """The plan of all rows is made only where a result is of none of the planned jobs."""
    every = whole(matrix)
    commits = frozenset(done(every, *labels))
    monkeypatch.setattr(FilesStore, "commits", lambda *_: commits)
    resolved = resolve_profile(load_matrix(matrix), "laptop", ())
    asked = named_rows(named, families_of(resolved.rows), resolved.profile_rows)
    results = rows_with_results(every, asked.union(resolved.profile_rows), commits)
    found = rows_of_plan(resolved.rows, resolved.profile_rows, named=asked, results=results)
    expected = build_plan(resolved, expand(resolved, found), rows=found)
    plan = open_study(matrix, rows=named).plan
    assert (plan.cells, plan.jobs, plan.jobs_of) == (expected.cells, expected.jobs, expected.jobs_of)
    assert (plan.added, plan.outside, plan.excluded) == (expected.added, expected.outside, expected.excluded)


@pytest.mark.parametrize("planned", [("context-k1",), ("spatial-text", "spatial-masked"), ("context-k5", "ssm-hybrid")])
def test_cells_of_rows_are_those_that_expanding_these_rows_makes(matrix: Path, planned: tuple[str, ...]) -> None:
    resolved = resolve_profile(load_matrix(matrix), "laptop", ["seeds=[0,1]"])
    assert cells_of_rows(expand(resolved), planned) == expand(resolved, planned)
    assert cells_of_rows(expand(resolved), ()) == ()


# The plan


def test_a_profile_plans_its_rows_and_keeps_every_fingerprint(matrix: Path) -> None:
    every, plan = whole(matrix), open_study(matrix).plan
    assert rows(plan) == list(CONTEXT)
    assert list(plan.outside) == [row for row in rows(every) if row not in CONTEXT]
    before = {cell.id: cell for cell in every.cells}
    assert all(cell.fingerprint == before[cell.id].fingerprint for cell in plan.cells)
    assert plan.jobs.keys() <= every.jobs.keys()
    assert plan_of(json.loads(json.dumps(plan_document(plan)))).outside == plan.outside


def test_an_alias_whose_first_name_is_outside_stands_for_itself(matrix: Path) -> None:
    plan = open_study(matrix, rows="spatial-text").plan
    (cell,) = (cell for cell in plan.cells if cell.row == "spatial-text")
    (before,) = (cell for cell in whole(matrix).cells if cell.row == "spatial-text")
    assert before.alias_of == "spatial/s0" and cell.alias_of is None
    assert cell.fingerprint == before.fingerprint, "the tracker would take it for a row that was renamed"
    assert (
        find_job(plan, "train/spatial-text/s0").fingerprint == find_job(whole(matrix), "train/spatial/s0").fingerprint
    )


def run(study: Study, rows: str | None, at: float = 1.0) -> None:
    record(study, at, **({} if rows is None else {"rows": rows}))


def test_what_was_asked_for_stays_in_the_plan_until_it_is_done_and_after(matrix: Path) -> None:
    study = open_study(matrix, rows="ssm-hybrid")
    assert study.plan.added == {"ssm-hybrid": "named"}
    assert open_study(matrix).plan.added == {}, "it was only planned"
    run(study, "ssm-hybrid")
    assert open_study(matrix).plan.added == {"ssm-hybrid": "asked"}, "`run` goes on with it"
    assert open_study(matrix, overrides=["seeds=[0,1]"]).plan.added == {}, "that is another plan"
    assert open_study(matrix, profile="evening").plan.added == {}
    run(open_study(matrix), None, at=2.0)
    assert reopen_study(matrix).plan.added == {"ssm-hybrid": "asked"}
    make_results(study, "ssm-hybrid")
    with_results = open_study(matrix)
    assert rows(with_results.plan) == [*CONTEXT, "ssm-hybrid"]
    (study.home / "ledger.sqlite").unlink()  # the store alone remembers it, as for another home that shares it
    assert open_study(matrix).plan.added == {"ssm-hybrid": "results"}
    assert open_study(matrix, look=False).plan.added == {}


def test_a_test_run_asks_for_nothing(matrix: Path) -> None:
    record(open_study(matrix, rows="ssm-hybrid", smoke=True), 1.0, rows="ssm-hybrid", smoke=True)
    assert open_study(matrix).plan.added == {}
    assert open_study(matrix, smoke=True).plan.added == {"ssm-hybrid": "asked"}


def test_gc_keeps_the_results_of_a_row_that_no_profile_has(matrix: Path) -> None:
    text = matrix.read_text(encoding="utf-8").replace("  evening:\n", "  evening:\n    rows: [context-k1]\n")
    matrix.write_text(text, encoding="utf-8")
    evening = open_study(matrix, profile="evening", overrides=["seeds=[0]"], rows="ssm-hybrid")
    record(evening, time.time() - 90 * 86400.0, rows="ssm-hybrid")
    made = make_results(evening, "ssm-hybrid")
    record(open_study(matrix), time.time(), rows="context-k1")
    study = reopen_study(matrix)
    assert study.plan.profile == "laptop" and not study.plan.added
    remove_garbage(study, find_garbage(study, keep_days=0), lambda _text: None)
    assert study.store.commits() == made


# What people are told


def printed(capsys: pytest.CaptureFixture[str], *line: str) -> tuple[str, str]:
    app(list(line), standalone_mode=False)
    given = capsys.readouterr()
    return given.out, given.err


OUTSIDE = "13 rows, compress-weight, compress-length-r2, "


def test_plan_says_which_rows_it_has_and_which_it_has_not(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "plan")
    assert re.search(rf"^not in profile laptop: {OUTSIDE}.*; `--rows NAME` adds one$", out, re.M)
    assert "beside the rows" not in out and not err
    out, err = printed(capsys, "plan", "--rows", "context-k1,ssm-hybrid")
    assert "beside the rows of profile laptop: ssm-hybrid (named by --rows)\n" in out and not err
    shown = json.loads(printed(capsys, "plan", "--rows", "ssm-*", "--json")[0])
    assert shown["added"] == {"ssm-hybrid": "named", "ssm-blockwise": "named"}
    assert len(shown["outside"]) == 11
    assert {cell["row"] for cell in shown["cells"]} == {"ssm-hybrid", "ssm-blockwise"}


def test_a_glob_says_what_else_it_matches(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "plan", "--rows", "co*-k1,*-r2")
    assert "beside the rows of profile laptop: compress-length-r2, compress-hybrid-r2 (named by --rows)" in out
    assert err == ""
    out, err = printed(capsys, "plan", "--rows", "co*")
    assert {line.split("/")[1] for line in out.splitlines() if line.startswith("  train/")} == set(CONTEXT)
    assert err == (
        "echo-matrix: --rows co* also matches compress-weight, compress-length-r2, compress-length-r4, "
        "compress-length-r8, compress-hybrid-r2, compress-hybrid-r4, not in profile laptop and left out: "
        "a glob chooses among the rows of the plan; write a name to add its row\n"
    )
    assert left_outside(None, open_study(matrix).plan) == []


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            "ssm-hybird",
            r"no row 'ssm-hybird' in this matrix; did you mean 'ssm-hybrid'\? "
            r"\(rows: context-k1, context-k5, context-k20; not in profile laptop: compress-weight,",
        ),
        (
            "family:spatail",
            r"no row of family 'spatail' in this matrix; did you mean 'spatial'\? \(families: context, compress,",
        ),
        (
            "ssm-hybrid",
            r"row ssm-hybrid is in the matrix, but not in profile laptop, and nothing of its own is done; "
            r"`echo-matrix run --rows ssm-hybrid` runs it$",
        ),
        (
            "family:ssm",
            r"rows ssm-hybrid, ssm-blockwise are in the matrix, but not in profile laptop, and nothing of their own is "
            r"done; `echo-matrix run --rows ssm-hybrid,ssm-blockwise` runs them$",
        ),
    ],
)
def test_a_row_that_is_not_in_the_plan_is_told_from_one_that_is_not_in_the_matrix(
    matrix: Path, chosen: str, message: str
) -> None:
    with pytest.raises(PlanError, match=f"^{message}"):
        select(open_study(matrix).plan, chosen)


def test_a_job_of_a_row_outside_says_so(matrix: Path) -> None:
    with pytest.raises(
        PlanError, match=r"^no job 'train/spatial/s0' in this plan: row spatial is in the matrix, but not "
    ):
        find_job(open_study(matrix).plan, "train/spatial/s0")
    with pytest.raises(PlanError, match=r"^no job matches 'train/ssm-\*/s0' in this plan: rows ssm-hybrid, ssm-block"):
        find_jobs(open_study(matrix).plan, ["train/ssm-*/s0"])
    with pytest.raises(PlanError, match=r"^no job matches '\*/x/\*' in the plan of profile laptop; a glob must match"):
        find_jobs(open_study(matrix).plan, ["*/x/*"])


def test_status_and_results_are_of_the_plan_and_name_the_rest(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(open_study(matrix, rows="ssm-hybrid"), "ssm-hybrid")
    out, _ = printed(capsys, "status", "--rows", "*")
    assert "  beside the rows of profile laptop: ssm-hybrid (named by --rows of an earlier run)\n" in out
    shown = json.loads(printed(capsys, "status", "--json")[0])
    assert (shown["added"], len(shown["outside"])) == ({"ssm-hybrid": "asked"}, 12)
    assert {job["label"] for job in shown["jobs"] if job["stage"] == "train"} == {"train/ssm-hybrid/s0"}
    study = reopen_study(matrix, as_smoke=False)
    given = Results(study).values()
    assert "not in profile laptop: 12 rows, compress-weight, compress-length-r2, compress-length-r4 and 9 more" in (
        scores_text(given, 80)
    )
    shown = results_json(study, given)
    assert {one["row"] for one in shown["missing"]} == {*CONTEXT, "ssm-hybrid"}
    assert len(shown["outside"]) == 12
    assert results_json(study, Results(study).values(rows="context-k1"))["outside"] == [], "nothing else was asked for"
    out, _ = printed(capsys, "explain", "train/ssm-hybrid/s0")
    assert "train/ssm-hybrid/s0" in out
