"""Which cells: `exclude` and `include` of matrix.yaml."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError
from orchestrator.plan.build import build_plan
from orchestrator.plan.diff import standings
from orchestrator.plan.gaps import gaps
from orchestrator.plan.job import Plan
from orchestrator.plan.select import selected_part
from orchestrator.plan.show import plan_json, plan_text
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile

SITE = "axes: {site: {key: controls.action.site, values: [pre_qkv, pre_norm]}}"
CLIP = "axes: {clip: {key: controls.training.clip, values: [1.0, null, 0.5]}}"
WIDTH = (
    "axes: {width: {key: controls.backbone.width, values: [1024, 1536]}, "
    "heads: {key: controls.backbone.heads, values: [2, 3]}}"
)
"""3 heads do not divide a width of 1024."""
SSM = {f"ssm-{name}/site=pre_norm/s0" for name in ("hybrid", "blockwise")}

Planner = Callable[..., Plan]


@pytest.fixture
def planned(root: Path, tmp_path: Path) -> Planner:
    """Plan a matrix with these axes and, from the next line on, these entries."""

    def plan(
        axes: str, entries: str = "", *overrides: str, profile: str = "laptop", matrix: str = "tests/golden/matrix.yaml"
    ) -> Plan:
        text = (root / matrix).read_text(encoding="utf-8")
        before = next(line for line in text.splitlines() if line.startswith("axes:"))
        path = tmp_path / "matrix.yaml"
        path.write_text(text.replace(before, f"{axes}\n{entries}"), encoding="utf-8")
        resolved = resolve_profile(load_matrix(path), profile, overrides)
        return build_plan(resolved, expand(resolved))

    return plan


def cells(plan: Plan) -> set[str]:
    return {cell.id for cell in plan.cells}


@pytest.mark.parametrize(
    ("entries", "left_out"),
    [
        ("exclude: [{rows: 'ssm-*', site: pre_norm}]", SSM),
        ("exclude: [{rows: family:ssm, site: 'pre_n*'}]", SSM),
        ("exclude: [{rows: 'context-k1, context-k5', site: [pre_norm], seeds: 0}]",
         {"context-k1/site=pre_norm/s0", "context-k5/site=pre_norm/s0"}),
        ("exclude: [{rows: [context-k1], site: pre_norm}, {rows: context-k5, site: pre_qkv}]",
         {"context-k1/site=pre_norm/s0", "context-k5/site=pre_qkv/s0"}),
        ("exclude: [{rows: 'ssm-*', site: pre_norm}]\ninclude: [{rows: ssm-hybrid, site: pre_norm, seeds: 0}]",
         {"ssm-blockwise/site=pre_norm/s0"}),
        ("exclude: [{rows: 'ssm-*', site: pre_norm, seeds: '[12]'}]", set()),
    ],
)  # fmt: skip
def test_cells_that_match_all_keys_of_an_entry_are_left_out(planned: Planner, entries: str, left_out: set[str]) -> None:
    whole, part = planned(SITE), planned(SITE, entries)
    assert cells(whole) - cells(part) == left_out == {one.id for one in part.excluded}
    assert cells(part) < cells(whole) or not left_out


def test_no_fingerprint_of_a_cell_or_job_that_stays_changes(planned: Planner) -> None:
    whole = planned(SITE, "", "seeds=[0,1]")
    part = planned(SITE, "exclude: [{rows: spatial, site: pre_norm}, {rows: context-k1, seeds: 0}]", "seeds=[0,1]")
    before = {cell.id: cell for cell in whole.cells}
    for cell in part.cells:
        assert cell.fingerprint == before[cell.id].fingerprint
        jobs, own = whole.jobs_of[cell.id], part.jobs_of[cell.id]
        assert {name: part.jobs[job].fingerprint for name, job in own.items()} == {
            name: whole.jobs[job].fingerprint for name, job in jobs.items()
        }
    alias = {cell.id: cell.alias_of for cell in part.cells}
    assert alias["spatial-text/site=pre_norm/s0"] is None, "the row that it repeats is excluded there"
    assert alias["spatial-text/site=pre_qkv/s0"] == "spatial/site=pre_qkv/s0"


def test_a_number_a_null_and_a_list_of_values_are_read_by_the_type_of_the_axis(planned: Planner) -> None:
    part = planned(CLIP, "exclude: [{rows: 'ssm-*', clip: [null, 0.50]}]")
    assert {one.id for one in part.excluded} == {
        f"ssm-{name}/clip={clip}/s0" for name in ("hybrid", "blockwise") for clip in ("null", "0.5")
    }


def test_controls_that_cannot_be_are_allowed_where_they_are_excluded(planned: Planner) -> None:
    for entries in ("", "exclude: [{width: 1024, heads: 3, rows: 'context-*'}]"):
        with pytest.raises(MatrixError, match="heads"):
            planned(WIDTH, entries)
    plan = planned(WIDTH, "exclude: [{width: 1024, heads: 3}]")
    assert {tuple(text for _, text in cell.axes) for cell in plan.cells} == {
        ("1024", "2"),
        ("1536", "2"),
        ("1536", "3"),
    }


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("exclude: {rows: x}", r"matrix.yaml:84: exclude is a mapping; allowed: a list, \[{rows: ROW, AXIS: VALUE}\]"),
        ("exclude: [context-k1]", r"matrix.yaml:84: exclude\[0\] is the text 'context-k1'; allowed: a mapping"),
        ("exclude: [{}]", r"exclude\[0\] is empty, which is every cell; write at least one key; allowed: rows, seeds"),
        ("exclude: [{sites: pre_norm}]",
         r"matrix.yaml:84: exclude\[0\].sites is no axis; did you mean 'site'\?; allowed: rows, seeds, site"),
        ("exclude:\n  - {rows: 'ssm-*'}\n  - {rows: 'smm-*', site: pre_norm}",
         r"matrix.yaml:86: exclude\[1\].rows matches no row, 'smm-\*'.*; allowed: context-k1, context-k5"),
        ("exclude: [{rows: family:ssn}]", r"names no family of a row, 'ssn'; did you mean 'ssm'\?; allowed: context"),
        ("exclude: [{site: pre_nrom}]",
         r"exclude\[0\].site is 'pre_nrom'; did you mean 'pre_norm'\?; allowed: post_attention, pre_norm"),
        ("exclude: [{site: post_attention}]",
         r"exclude\[0\].site matches no value of axis site, 'post_attention'.*; allowed: pre_qkv, pre_norm"),
        ("exclude: [{rows: context-k1, seeds: 3}]", r"exclude\[0\].seeds matches no seed, '3'; allowed: 0, 1, 2"),
        ("exclude: [{rows: context-k1, seeds: []}]", r"exclude\[0\].seeds is an empty list"),
        ("exclude: [{rows: context-k1}]",
         r"matrix.yaml:84: exclude\[0\] leaves row context-k1 without any cell; remove the row, or exclude less"),
        ("exclude: [{site: pre_norm}]",
         r"exclude\[0\] leaves site=pre_norm without any cell; remove the value from axes.site.values"),
        ("include: [{rows: context-k1, site: pre_norm}]",
         r"matrix.yaml:84: include\[0\] includes context-k1/site=pre_norm/s0, which is in the matrix anyway"),
        ("exclude: [{rows: 'ssm-*', site: pre_norm}]\n"
         "include: [{rows: ssm-hybrid, site: pre_norm}, {rows: 'ssm-h*', seeds: 0, site: pre_norm}]",
         r"matrix.yaml:85: include\[1\] includes ssm-hybrid/site=pre_norm/s0, as include\[0\] does; remove one"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_is_refused_with_its_line_and_what_is_allowed(
    planned: Planner, entries: str, message: str
) -> None:
    with pytest.raises(MatrixError, match=message):
        planned(SITE, entries)


def test_an_axis_that_is_named_as_a_key_of_entries_is_refused(planned: Planner) -> None:
    with pytest.raises(MatrixError, match=r"exclude\[0\] is ambiguous: an axis is named seeds; rename axes.seeds"):
        planned(SITE.replace("site:", "seeds:"), "exclude: [{rows: context-k1}]")


def test_a_seed_that_only_another_profile_has_is_no_mistake(planned: Planner) -> None:
    entries = "exclude: [{rows: 'ssm-*', seeds: [1, 2]}]"
    assert not planned(SITE, entries).excluded
    evening = planned(SITE, entries, profile="evening")
    assert Counter(one.row for one in evening.excluded) == {"ssm-hybrid": 4, "ssm-blockwise": 4}


def test_what_cannot_be_compared_is_warned_of(planned: Planner) -> None:
    entries = """exclude:
  - {rows: ssm-hybrid, site: pre_norm}
  - {rows: ssm-blockwise, site: pre_qkv}
  - {rows: context-k1, seeds: 0}
  - {rows: bound-truth, site: pre_norm}
"""
    assert gaps(planned(SITE)) == []
    assert gaps(planned(SITE, entries, matrix="matrix.yaml")) == [
        "row context-k1 has no cell in profile laptop",
        "reference row bound-truth is excluded in 1 place where other rows have cells, as bound-truth/site=pre_norm/s0",
        *(
            f"table {table} does not compare ssm-hybrid and ssm-blockwise: they have no cell with the same axis values "
            "and seed"
            for table in ("families", "state-space")
        ),
    ]


def test_the_plan_counts_and_lists_what_is_excluded(planned: Planner) -> None:
    plan = planned(SITE, "exclude: [{rows: 'ssm-*', site: pre_norm}]")
    now = standings(plan, frozenset(), {}, {})
    text = plan_text(plan, now)
    assert "profile laptop: 30 cells (2 excluded), " in text
    assert "\nexcluded\n  2 cells by /" in text
    assert "/matrix.yaml:84: exclude[0]: rows: ssm-*, site: pre_norm\n" in text
    shown = plan_json(plan, now)
    assert [one["id"] for one in shown["excluded"]] == [f"ssm-{n}/site=pre_norm/s0" for n in ("hybrid", "blockwise")]
    assert shown["excluded"][0]["axes"] == {"site": "pre_norm"}
    part = selected_part(plan, rows="context-*")
    assert not part.excluded
