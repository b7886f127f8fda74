"""Rows as plain objects: what enters requests and fingerprints."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from workloads.contract.fields import LATER
from workloads.contract.rows import Row, resolved, row_from


@dataclass(frozen=True, kw_only=True)
class Grid(Row):
    family: ClassVar[str] = "grid"

    side: int
    address: Annotated[str, LATER] = "none"


def test_a_later_parameter_is_left_out_at_its_default_alone() -> None:
    assert resolved(Grid(side=2)) == {"family": "grid", "side": 2}
    assert resolved(Grid(side=2, address="bearing")) == {"family": "grid", "side": 2, "address": "bearing"}


def test_a_row_comes_back_from_its_plain_object() -> None:
    for row in (Grid(side=2), Grid(side=2, address="bearing")):
        assert row_from({"grid": Grid}, resolved(row)) == row
