"""Branches that may be off, and branches that only chosen rows are evaluated on."""

import re
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError, PlanError
from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Plan
from orchestrator.plan.select import select, select_branches
from orchestrator.spec.branches import merged_branches
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Matrix
from workloads.contract.fields import plain

GOLDEN = (Path(__file__).parent.parent / "golden" / "matrix.yaml").read_text(encoding="utf-8")
ABSENCE = "absence: {cases: 2, away_deg: [45.0, 45.0], between_deg: [-30.0, 30.0], gaps: [0, 2], batch: 2}"
SENSITIVITY = (
    "sensitivity: {{cases: 2, turns_deg: [-45.0, 45.0], batch: 2, rows: {rows}, perturb: [pose], pose_deg: 5.0, "
    "noise: 0.5}}"
)


def with_branches(tmp_path: Path, *sections: str, laptop: str = "") -> Path:
    """The golden matrix, which has neither, with these."""
    path = tmp_path / "matrix.yaml"
    text = GOLDEN.replace("\ntables:", "".join(f"  {one}\n" for one in sections) + "\ntables:", 1)
    if laptop:
        text = text.replace("  laptop:\n", f"  laptop:\n    branches: {laptop}\n", 1)
    path.write_text(text, encoding="utf-8")
    return path


def planned(matrix: Matrix, *overrides: str) -> Plan:
    resolved = resolve_profile(matrix, next(iter(matrix.profiles)), overrides)
    cells = expand(resolved)
    check_controls(matrix.workload, cells, resolved.deviations)
    return build_plan(resolved, cells)


def stages(plan: Plan, row: str) -> set[str]:
    return set(plan.jobs_of[f"{row}/s0"])


@pytest.fixture(scope="module")
def golden() -> Plan:
    return planned(load_matrix(Path(__file__).parent.parent / "golden" / "matrix.yaml"))


def test_a_matrix_that_lacks_the_optional_branches_has_no_jobs_of_them(golden: Plan) -> None:
    assert golden.branches == ("replay", "loop", "return")
    assert not [job for job in golden.jobs.values() if job.branch not in (None, *golden.branches)]


def test_a_branch_that_is_added_adds_jobs_and_changes_none(golden: Plan, tmp_path: Path) -> None:
    plan = planned(load_matrix(with_branches(tmp_path, ABSENCE)))
    assert plan.branches == ("replay", "loop", "return", "absence")
    assert golden.jobs.keys() < plan.jobs.keys()
    assert {job.branch for job_id, job in plan.jobs.items() if job_id not in golden.jobs} == {"absence"}
    assert {job.stage for job in plan.jobs.values() if job.branch == "absence"} == {
        job.stage for job in plan.jobs.values() if job.branch == "return"
    }


def test_off_in_a_profile_is_the_same_as_not_there(golden: Plan, tmp_path: Path) -> None:
    matrix = load_matrix(with_branches(tmp_path, ABSENCE, laptop="{absence: null}"))
    plan = planned(matrix)
    assert (plan.jobs.keys(), plan.controls_fingerprint) == (golden.jobs.keys(), golden.controls_fingerprint)
    assert [cell.fingerprint for cell in plan.cells] == [cell.fingerprint for cell in golden.cells]
    assert planned(matrix, "branches.absence={}").branches[-1] == "absence"
    on = planned(matrix, "branches.absence.cases=1")
    assert on.cells[0].branches["absence"]["cases"] == 1
    assert on.cells[0].branches["absence"]["gaps"] == [0, 2]


def test_the_last_layer_that_names_a_branch_says_whether_it_is_on() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": {"x": 1}}
    assert merged_branches(base, {"a": None}) == {"b": {"x": 1}}
    assert merged_branches(base, {"a": None}, {"a": {}}) == base
    assert merged_branches(base, {"a": {"x": 3}, "b": None}, {"a": {"y": 4}}) == {"a": {"x": 3, "y": 4}}
    assert merged_branches({}, {"c": {"x": 1}}) == {"c": {"x": 1}}


REFUSED = [
    (
        ["branches.absence.cases=4"],
        r"command line: branches\.absence\.away_deg is missing \(also between_deg, gaps, batch\), and the branch is on "
        r"\(profile laptop\); allowed: a list",
    ),
    (["branches.absence=4"], r"command line: branches\.absence is '4', a number; allowed: a mapping"),
    (["branches.loop=null"], r"command line: branches\.loop is a section; write one key, such as branches\.loop\."),
    (
        ["branches.absence=null", "branches.absence.cases=4"],
        r"branches\.absence\.cases is given together with branches\.absence; write all of it in one of them",
    ),
    (["branches.absence={casez: 4}"], r"branches\.absence\.casez is unknown; did you mean 'cases'\?"),
]


@pytest.mark.parametrize(("overrides", "said"), REFUSED)
def test_what_cannot_be_is_refused_on_the_command_line(overrides: list[str], said: str) -> None:
    matrix = load_matrix(Path(__file__).parent.parent / "golden" / "matrix.yaml")
    with pytest.raises(MatrixError, match=said):
        resolve_profile(matrix, "laptop", overrides)


def test_a_profile_cannot_switch_off_what_is_always_on(tmp_path: Path) -> None:
    with pytest.raises(
        MatrixError,
        match=r"profiles\.laptop\.branches\.loop is null, but loop is a branch that is always on; only absence, sens",
    ):
        load_matrix(with_branches(tmp_path, laptop="{loop: null}"))


def test_a_profile_that_switches_on_what_the_base_lacks_gives_every_key(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"matrix\.yaml:\d+: branches\.absence\.gaps is missing.*profile laptop"):
        load_matrix(with_branches(tmp_path, laptop=ABSENCE.replace("gaps: [0, 2], ", "").join("{}")))
    assert planned(load_matrix(with_branches(tmp_path, laptop=ABSENCE.join("{}")))).branches[-1] == "absence"


def test_an_axis_of_a_branch_that_is_off_is_refused(tmp_path: Path) -> None:
    path = with_branches(tmp_path, ABSENCE, laptop="{absence: null}")
    axis = "axes: {batch: {key: branches.absence.batch, values: [1, 2]}}"
    path.write_text(re.sub(r"(?m)^axes: \{\}", axis, path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(MatrixError, match=r"is branches\.absence\.batch, but branch absence is off \(profile laptop\)"):
        load_matrix(path)


def test_the_key_of_an_axis_is_refused_inside_a_mapping_too(tmp_path: Path) -> None:
    path = with_branches(tmp_path, ABSENCE)
    axis = "axes: {batch: {key: branches.absence.batch, values: [1, 2]}}"
    path.write_text(re.sub(r"(?m)^axes: \{\}", axis, path.read_text(encoding="utf-8")), encoding="utf-8")
    matrix = load_matrix(path)
    with pytest.raises(
        MatrixError, match=r"branches\.absence sets branches\.absence\.batch, the key of axis batch; wr"
    ):
        resolve_profile(matrix, "laptop", ["branches.absence={batch: 4}"])
    assert resolve_profile(matrix, "laptop", ["branches.absence={cases: 4}"]).axes["batch"].values == (1, 2)


def test_a_branch_that_is_off_is_not_selected_by_name_and_its_message_says_how_to_switch_it_on(golden: Plan) -> None:
    said = (
        r"branch absence is off in profile laptop \(on: replay, loop, return\); switch it on with "
        r"`branches\.absence=\{\}`"
    )
    with pytest.raises(PlanError, match=said):
        select(golden, branches="absence")
    with pytest.raises(PlanError, match=said):
        select_branches(golden, "abs*")
    assert select_branches(golden, "*") == ["replay", "loop", "return"]


def test_only_chosen_rows_and_their_aliases_are_evaluated(golden: Plan, tmp_path: Path) -> None:
    matrix = load_matrix(with_branches(tmp_path, SENSITIVITY.format(rows="['context-k?', spatial-text]")))
    plan = planned(matrix)
    chosen = {cell.row for cell in plan.cells if "evaluate/sensitivity" in plan.jobs_of[cell.id]}
    assert chosen == {"context-k1", "spatial-withheld", "context-k5", "spatial", "spatial-text"}
    assert golden.jobs.keys() < plan.jobs.keys()
    assert {cell.alias_of for cell in plan.cells} == {cell.alias_of for cell in golden.cells}
    job = plan.jobs[plan.jobs_of["context-k5/s0"]["evaluate/sensitivity"]]
    assert "rows" not in job.config["branch"]


def test_which_rows_are_chosen_is_in_no_fingerprint(tmp_path: Path) -> None:
    one = planned(load_matrix(with_branches(tmp_path, SENSITIVITY.format(rows="[context-k5]"))))
    more = planned(load_matrix(with_branches(tmp_path, SENSITIVITY.format(rows="[context-k5, 'family:ssm']"))))
    assert one.jobs.keys() < more.jobs.keys()
    assert one.controls_fingerprint == more.controls_fingerprint
    assert [cell.fingerprint for cell in one.cells] == [cell.fingerprint for cell in more.cells]


def test_rows_that_are_not_there_or_not_chosen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"sensitivity\.rows matches no row, 'context-k6'; did you mean"):
        load_matrix(with_branches(tmp_path, SENSITIVITY.format(rows="[context-k6]")))
    plan = planned(load_matrix(with_branches(tmp_path, SENSITIVITY.format(rows="[context-k5]"))))
    with pytest.raises(PlanError, match=r"no selected row has branch sensitivity; it has the rows context-k5"):
        select(plan, rows="spatial", branches="sensitivity")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gaps", "[2, 4]", r"branches\.absence\.gaps is \[2, 4\]; allowed: rising numbers from 0, multiples of 2"),
        ("gaps", "[0, 3]", r"branches\.absence\.gaps is \[0, 3\]; allowed: rising numbers from 0, multiples of 2"),
        ("between_deg", "[-30.0, 20.0]", r"between_deg is \[-30\.0, 20\.0\]; allowed: turns other than 0 that add up"),
        ("away_deg", "[45.0]", r"away_deg is \[45\.0\]; .*comes to 45 degrees; allowed: .*a view of 52\.67 degrees"),
        ("between_deg", "[-45.0, 45.0]", r"comes to 45 degrees"),
    ],
)
def test_an_absence_that_sees_the_source_or_does_not_come_back_is_refused(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    matrix = load_matrix(with_branches(tmp_path, ABSENCE))
    with pytest.raises(MatrixError, match=said):
        resolve_profile(matrix, "laptop", [f"branches.absence.{key}={value}"])


def test_the_shipped_profiles_have_the_branches_that_the_study_says(root: Path) -> None:
    matrix = load_matrix(root / "matrix.yaml")
    found = {
        name: {
            branch: section.get("gaps", True)
            for branch, section in plain(resolve_profile(matrix, name, []).branches).items()
            if branch in ("absence", "sensitivity")
        }
        for name in matrix.profiles
    }
    assert found["laptop"] == {}
    assert found["evening"] == {"absence": [0, 2, 4], "sensitivity": True}
    assert found["study"]["absence"] == [0, 2, 4, 8, 16]
