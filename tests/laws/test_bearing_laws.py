"""What holds for the rows that find a place by where the camera looks (study.md section 5, "Write, address, read")."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_rows import BATCH, NAMES, awake, evidence, history_of, rows_named, slots_of, target, turns

from workloads.memory.interface import Slots, Stored, placed
from workloads.model.world_model import WorldModel
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.composed import ComposedRow


def address_of(name: str) -> str:
    """As its factor is called: without yaw it is another one."""
    return dict(rows_named(name).factors).get("address", "none")


ADDRESSED = [name for name in NAMES if address_of(name) not in ("none", "learned")]
SEEING = [name for name in ADDRESSED if not address_of(name).endswith("without yaw")]
BLIND = [name for name in ADDRESSED if name not in SEEING]
CELLED = [name for name in SEEING if rows_named(name).factors["write"] == "cells" or address_of(name) == "place"]
CELL = 2 * math.pi / 28


def turn(yaw: float) -> Tensor:
    """Pose (b, 12) of a turn on the spot."""
    return turns(torch.full((BATCH,), yaw))


def as_if_turned(model: WorldModel, yaw: float) -> WorldModel:
    """The model, whose address is told every pose as if where all started had looked `yaw` further."""
    address: Any = model.mechanism.address
    inner = address.looks
    address.__dict__["looks"] = lambda poses: inner(placed(turn(yaw)[: len(poses)], poses))
    return model


def said(model: WorldModel, row: MemoryRow) -> Tensor:
    given = evidence(slots_of(row), missing=(2, 0))
    with torch.no_grad():
        out: Tensor = model(**target(), slots=given, history=history_of(row))
    return out


@pytest.mark.parametrize("yaw", [0.4, 2.9, -1.7])
@pytest.mark.parametrize("name", [name for name in SEEING if name not in CELLED])
def test_where_bearings_count_from_does_not_matter(name: str, yaw: float) -> None:
    row = rows_named(name)
    torch.testing.assert_close(said(as_if_turned(awake(row), yaw), row), said(awake(row), row), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cells", [1, -9, 14])
@pytest.mark.parametrize("name", CELLED)
def test_which_cell_is_the_first_does_not_matter(name: str, cells: int) -> None:
    row = rows_named(name)
    turned = said(as_if_turned(awake(row), cells * CELL), row)
    torch.testing.assert_close(turned, said(awake(row), row), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SEEING)
def test_where_a_camera_looks_changes_what_it_reads(name: str) -> None:
    """So that the two above say something: a quarter turn of the evidence alone is seen."""
    row = rows_named(name)
    model = awake(row)
    address: Any = model.mechanism.address
    inner, before = address.looks, said(model, row)

    def looks(poses: Tensor) -> Any:
        moved = placed(turn(math.pi / 2)[: len(poses)], poses)
        return inner(torch.cat([poses[:, :1], moved[:, 1:]], 1))

    address.__dict__["looks"] = looks
    assert (said(model, row) - before).abs().max() > 1e-4


@pytest.mark.parametrize("name", ADDRESSED)
def test_there_is_no_seam_where_the_circle_closes(name: str) -> None:
    row = rows_named(name)
    model, given = awake(row), evidence(slots_of(row))
    out = []
    for side in (1e-7, -1e-7):
        back = turn(math.pi)[:, None].expand(-1, given.actions.shape[1], -1).clone()
        back[..., 3], back[..., 1] = side, -side
        with torch.no_grad():
            out.append(model(**target(), slots=replace(given, actions=back), history=history_of(row)))
    torch.testing.assert_close(out[1], out[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in ADDRESSED if rows_named(name).factors["write"] == "cells"])
def test_cells_that_were_never_written_have_no_influence(name: str) -> None:
    row = rows_named(name)
    model, before = awake(row), said(awake(row), row)
    inner, empty = model.mechanism.store, []

    def store(tokens: Tensor, slots: Slots) -> Stored:
        made = inner(tokens, slots)
        assert made.valid is not None
        empty.append(int((~made.valid).sum()))
        return replace(made, tokens=torch.where(made.valid[..., None], made.tokens, 1e3))

    model.mechanism.__dict__["store"] = store
    torch.testing.assert_close(said(model, row), before, atol=1e-6, rtol=0)
    assert 0 < empty[0] < BATCH * 2 * 28


@pytest.mark.parametrize("name", BLIND)
def test_a_row_without_yaw_has_its_row_and_is_blind_to_where_the_camera_looks(name: str) -> None:
    row = rows_named(name)
    assert isinstance(row, ComposedRow)
    assert any(rows_named(other) == replace(row, yaw=True) for other in SEEING)
    assert torch.equal(said(as_if_turned(awake(row), 1.3), row), said(awake(row), row))


def test_each_family_has_a_row_with_an_address_and_its_control() -> None:
    families = {rows_named(name).family for name in SEEING}
    assert families == {"context", "spatial", "ssm"} == {rows_named(name).family for name in BLIND}
