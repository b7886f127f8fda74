"""What a workload's tables may not say: each is refused before anything is planned."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from orchestrator.errors import MatrixError, PlanError
from orchestrator.plan.build import build_plan
from orchestrator.spec.expand import expand
from orchestrator.spec.lines import Place
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.typed import unreadable
from orchestrator.spec.workload import workload_of
from workloads.contract.fields import Count, Positive
from workloads.contract.loading import table_problems
from workloads.contract.rows import Row, resolved, row_from
from workloads.contract.stage import RecordCheck, StageSpec
from workloads.contract.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Fitting:
    epochs: Count
    rate: Positive


@dataclass(frozen=True, kw_only=True)
class Sections:
    fitting: Fitting


@dataclass(frozen=True, kw_only=True)
class Measure:
    cases: Count


@dataclass(frozen=True, kw_only=True)
class Measures:
    far: Measure
    return_: Measure


@dataclass(frozen=True, kw_only=True)
class MaybeFitting:
    fitting: Fitting | None = None


@dataclass(frozen=True, kw_only=True)
class MaybeFar:
    far: Measure | None


@dataclass(frozen=True, kw_only=True)
class Layers(Row):
    family = "layers"
    widths: tuple[int, ...]
    names: tuple[str, ...] = ()
    lambda_: float = 0.5


FIT = StageSpec(name="fit", module="fit", sections=("fitting",), row="trained", seed=True)
REFERENCES_OF = StageSpec(name="lines", module="lines", row="references", branches=("far",), tracked=True)
GOOD = Workload(name="small", stages=(FIT,), controls=Sections, branches=Measures, families=(Layers,))


def with_stage(**changes: Any) -> dict[str, Any]:
    return {"stages": (replace(FIT, **changes),)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (with_stage(sections=("fitting.epcohs",)), "section 'fitting' has no 'epcohs'; allowed: epochs, rate"),
        (with_stage(checks=(RecordCheck(record="a", depends=("fitting.x",)),)), "section 'fitting' has no 'x'"),
        (with_stage(checks=(RecordCheck(record="a"),)), "stage 'fit' has `checks` or `counted` and is not `tracked`"),
        (with_stage(global_batch="fitting.x"), "section 'fitting' has no 'x'"),
        (with_stage(global_batch="fitting"), "'fitting', a whole section; allowed: section.key"),
        (with_stage(revisions={"rate": "fitting.x"}), "section 'fitting' has no 'x'"),
        (with_stage(name="fine-tune"), "stage 'fine-tune' is not a valid name; allowed: letters"),
        (with_stage(name="import"), "no keyword of Python"),
        (with_stage(name="fit_"), "stage 'fit_' is not a valid name; allowed: letters"),
        (with_stage(row="train"), "has `row` 'train'; allowed: none, trained, evaluated, references"),
        (
            {"stages": (replace(FIT, branches=("far",)), replace(FIT, name="sum", inputs=("fit",)))},
            "stage 'sum' reads 'fit', which has branches, and has none; allowed: far",
        ),
        (
            with_stage(row="references"),
            "of reference rows; allowed: branches, tracked=True, and neither seed nor curve",
        ),
        (
            {"stages": (FIT, replace(REFERENCES_OF, inputs=("fit",)))},
            "stage 'lines' is of reference rows and reads 'fit', which depends on a row; allowed: none",
        ),
        (
            {"stages": (FIT, REFERENCES_OF, replace(FIT, name="sum", inputs=("lines",), branches=("far",)))},
            "stage 'sum' reads 'lines', which is of all reference rows; allowed: fit, sum",
        ),
        (
            {"stages": (replace(FIT, performs=("fitt",)),)},
            "stage 'fit' performs 'fitt', which is no stage; allowed: fit",
        ),
        (
            {"stages": (replace(FIT, revisions={"rate": "fitting.rate"}), replace(REFERENCES_OF, performs=("fit",)))},
            "stage 'lines' performs 'fit', whose revision reads 'fitting.rate'; add that to its `sections`",
        ),
        (with_stage(resources_of="fit"), "stage 'fit' has the resources of 'fit'; allowed: a stage with its own: none"),
        ({"stages": ()}, "`stages` is empty"),
        ({"families": ()}, "`families` is empty"),
        ({"rows_key": "seeds"}, "`rows_key` is 'seeds'; allowed: letters"),
        ({"row_controls": ("fitting.x",)}, "`row_controls` names 'fitting.x'"),
        ({"name": "a b"}, "`name` is 'a b'; allowed: letters"),
        ({"controls": Fitting}, "`controls` has 'epochs' of type <class 'int'>; allowed: a dataclass"),
        ({"controls": MaybeFitting}, "`controls` has 'fitting', which may be None; allowed: sections that are always"),
        ({"branches": MaybeFar}, "`branches` has 'far', which may be None, without a default; write `far: "),
        ({"controls": int}, "`controls` is <class 'int'>; allowed: a dataclass"),
    ],
)
def test_a_table_that_cannot_be_has_a_problem(changes: dict[str, Any], said: str) -> None:
    assert list(table_problems(GOOD)) == []
    assert said in next(table_problems(replace(GOOD, **changes)), "no problem")


@dataclass(frozen=True, kw_only=True)
class Readable:
    choice: Literal["a", "b"] | None
    number: Literal[1, 2]
    pair: tuple[float, str]
    many: tuple[Count, ...] = ()


@pytest.mark.parametrize("hint", [list[int], dict[str, int], int | str, object, Fitting, Literal[1, "a"]])
def test_a_type_that_no_yaml_is_read_as_is_found(hint: Any) -> None:
    assert unreadable(Readable) == "" == unreadable(Layers)
    odd: Any = dataclass(type("Odd", (), {"__annotations__": {"key": hint}}))
    assert unreadable(odd).startswith("Odd.key has type ")


def test_a_row_keeps_the_types_of_its_parameters() -> None:
    row = Layers(widths=(64, 32), names=("a", "b"), lambda_=0.25)
    plain = resolved(row)
    assert plain == {"family": "layers", "widths": [64, 32], "names": ["a", "b"], "lambda": 0.25}
    assert all(type(width) is int for width in plain["widths"])
    assert row_from({"layers": Layers}, plain) == row


SMALL = """
from dataclasses import dataclass
from typing import Literal
from workloads.contract.fields import Count
from workloads.contract.rows import Row
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload

@dataclass(frozen=True, kw_only=True)
class Fitting:
    depth: Literal[1, 2]
    pair: tuple[float, str]

@dataclass(frozen=True, kw_only=True)
class Controls:
    fitting: Fitting

@dataclass(frozen=True, kw_only=True)
class Branches:
    pass

@dataclass(frozen=True, kw_only=True)
class Layers(Row):
    family = "layers"
    widths: tuple[int, ...]
    scale: float = 1.0

    def __post_init__(self):
        if sum(self.widths) > 9:
            raise ValueError("too wide")

WORKLOAD = Workload(name="small", controls=Controls, branches=Branches, families=(Layers,), stages=(
    StageSpec(name="fit", module="NAME", sections=("fitting",), row="trained", revisions={"depth": "fitting.depth"}),
), revisions={"depth/2": 1})

def run(request, progress): ...
"""

MATRIX = """
study: small
workload: NAME
seeds: [0]
controls:
  fitting: {depth: 2, pair: [1, x]}
rows:
  a: {family: layers, widths: [3, 4]}
axes: {}
branches: {}
tables: {}
deviations: []
profiles:
  laptop:
    resources: {fit: {cpus: 1, devices: 0, memory_gib: 1.0, minutes: 5}}
"""


def written(folder: Path, name: str, old: str = "", new: str = "") -> Path:
    """A study of a single file; each test gives the file another name, for a process imports a name once."""
    (folder / f"{name}.py").write_text(SMALL.replace("NAME", name), encoding="utf-8")
    matrix = folder / "matrix.yaml"
    matrix.write_text(MATRIX.replace("NAME", name).replace(old, new), encoding="utf-8")
    return matrix


def test_a_study_of_a_single_file_without_branches_is_planned(tmp_path: Path) -> None:
    resolved_matrix = resolve_profile(load_matrix(written(tmp_path, "small_planned")), "laptop", [])
    (job,) = build_plan(resolved_matrix, expand(resolved_matrix)).jobs.values()
    assert job.config == {"fitting": {"depth": 2, "pair": [1.0, "x"]}}
    assert job.row == {"family": "layers", "widths": [3, 4], "scale": 1.0}


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("small_value", "[3, 4]", "[8, 9]", "rows.a is not valid: ValueError: too wide"),
        ("small_lacks", ", widths: [3, 4]", "", "rows.a is missing a parameter of layers; not given: widths"),
        ("small_literal", "depth: 2", "depth: 3", "controls.fitting.depth is 3; allowed: 1, 2"),
        ("small_missing", "depth: 2, ", "", "controls.fitting.depth is missing; allowed: 1, 2"),
    ],
)
def test_what_a_study_forbids_is_refused_with_the_line(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    with pytest.raises(MatrixError) as refused:
        load_matrix(written(tmp_path, name, old, new))
    assert said in str(refused.value) and "matrix.yaml:" in str(refused.value)


def test_a_revision_that_there_is_not_is_refused(tmp_path: Path) -> None:
    resolved_matrix = resolve_profile(
        load_matrix(written(tmp_path, "small_revision", "depth: 2", "depth: 1")), "laptop", []
    )
    with pytest.raises(PlanError, match="`revisions` has no line 'depth/1', which stage 'fit' reads"):
        build_plan(resolved_matrix, expand(resolved_matrix))


def test_a_module_that_ends_the_process_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small_script.py").write_text("raise SystemExit(0)", encoding="utf-8")
    with pytest.raises(MatrixError, match="cannot be imported: SystemExit"):
        workload_of("small_script", tmp_path / "matrix.yaml", Place("matrix.yaml", 3))
