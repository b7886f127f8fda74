"""Cells: what each reads, which are one computation, and what names them."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError
from orchestrator.spec.cell import Deviation
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Axis, Matrix


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "matrix.yaml")


def test_cells_are_rows_times_axes_times_seeds_in_file_order(matrix: Matrix) -> None:
    resolved = replace(
        resolve_profile(matrix, "laptop", ["seeds=[3, 1]"]),
        axes={"site": Axis(key="controls.action.site", values=("pre_qkv", "pre_norm"))},
    )
    cells = expand(resolved)
    assert len(cells) == len(matrix.rows) * 2 * 2
    assert [cell.id for cell in cells[:4]] == [
        "context-k1/site=pre_qkv/s3",
        "context-k1/site=pre_qkv/s1",
        "context-k1/site=pre_norm/s3",
        "context-k1/site=pre_norm/s1",
    ]
    assert cells[2].controls["action"] == {"site": "pre_norm"}
    assert cells[2].axes == (("site", "pre_norm"),)


def test_a_cell_holds_only_the_memory_controls_that_its_computation_reads(matrix: Matrix) -> None:
    resolved = resolve_profile(matrix, "laptop", [])
    cells = {cell.row: cell for cell in expand(resolved, resolved.profile_rows)}
    held = {
        row: {key for key in ("grid", "grid_tokens", "recurrent_every") if key in cell.controls["backbone"]}
        for row, cell in cells.items()
    }
    assert held["context-k5"] == set()
    assert held["compress-weight"] == set()
    assert held["spatial"] == {"grid", "grid_tokens"}
    assert held["ssm-hybrid"] == {"recurrent_every"}
    assert held["spatial-withheld"] == set()
    without = {row for row, cell in cells.items() if "frames" not in cell.controls["evidence"]}
    assert {row for row in without if not cells[row].reference} == {
        "context-k1",
        "context-k5",
        "context-k20",
        "context-k20-bearing",
        "spatial-withheld",
    }
    assert {row for row, cell in cells.items() if cell.reference} < without


def test_aliases_are_the_first_cell_with_the_same_computation(matrix: Matrix) -> None:
    cells = expand(resolve_profile(matrix, "laptop", ["seeds=[0, 1]"]))
    aliases = {cell.id: cell.alias_of for cell in cells if cell.alias_of}
    assert aliases == {
        "spatial-text/s0": "spatial/s0",
        "spatial-text/s1": "spatial/s1",
        "spatial-withheld/s0": "context-k1/s0",
        "spatial-withheld/s1": "context-k1/s1",
    }


def test_an_axis_of_a_memory_control_makes_aliases_of_rows_that_do_not_read_it(matrix: Matrix) -> None:
    resolved = replace(
        resolve_profile(matrix, "laptop", []),
        axes={"k": Axis(key="controls.evidence.frames", values=(5, 20))},
    )
    cells = {cell.id: cell for cell in expand(resolved)}
    assert cells["context-k5/k=20/s0"].alias_of == "context-k5/k=5/s0"
    assert cells["compress-weight/k=20/s0"].alias_of is None


def test_every_cell_has_its_own_fingerprint_and_keeps_it_when_its_row_is_renamed(matrix: Matrix) -> None:
    resolved = resolve_profile(matrix, "laptop", ["seeds=[0, 1]"])
    renamed = replace(resolved, rows={f"x-{name}": row for name, row in resolved.rows.items()}, deviations=())
    before, after = expand(resolved), expand(renamed)
    assert len({cell.fingerprint for cell in before}) == len(before)
    assert [cell.fingerprint for cell in before] == [cell.fingerprint for cell in after]


def test_a_deviation_holds_for_its_rows_alone(matrix: Matrix) -> None:
    deviation = Deviation(key="controls.training.rate", rows=("context-k1",), reason="as in the paper", value=1e-4)
    resolved = replace(resolve_profile(matrix, "laptop", []), deviations=(deviation,))
    cells = {cell.row: cell for cell in expand(resolved)}
    assert {row for row, cell in cells.items() if cell.controls["training"]["rate"] == 1e-4} == {"context-k1"}
    assert cells["spatial-withheld"].alias_of is None


def test_axis_values_that_cannot_be_together_are_refused(matrix: Matrix) -> None:
    resolved = replace(
        resolve_profile(matrix, "laptop", []), axes={"heads": Axis(key="controls.backbone.heads", values=(2, 5))}
    )
    with pytest.raises(MatrixError, match=r"heads is 5, but backbone\.width is 64.*profile laptop, .*heads=5"):
        expand(resolved)


def test_equal_sections_are_the_same_objects(matrix: Matrix) -> None:
    cells = expand(resolve_profile(matrix, "laptop", ["seeds=[0, 1, 2]"]))
    assert len({id(cell.controls["data"]) for cell in cells}) == 1
    assert len({id(cell.controls) for cell in cells}) == 6


def test_every_cell_has_all_fields_and_none_besides(matrix: Matrix) -> None:
    for cell in expand(resolve_profile(matrix, "laptop", [])):
        assert list(vars(cell)) == [field.name for field in fields(cell)]
        assert replace(cell) == cell
