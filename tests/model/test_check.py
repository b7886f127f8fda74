"""`python -m workloads.model.check`: what a declaration says against what its model takes."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
from own_study import CHECKOUT, ROWS, own_matrix

from orchestrator.spec.load import load_matrix
from workloads.contract.rows import resolved
from workloads.model.check import compare, main
from workloads.study.memory.base import REGISTERED, BackboneSizes, BlockPass, MemoryRow
from workloads.study.memory.composed import ComposedRow, Parts
from workloads.study.memory.families import row_from
from workloads.study.memory.spatial import Spatial

OWN = {name: load_matrix(own_matrix()).rows[name] for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_all_that_the_guides_mechanisms_declare_is_so(name: str) -> None:
    row = OWN[name]
    assert isinstance(row, MemoryRow)
    found = compare(row)
    assert [line for line in found if not line.agrees] == []
    assert {line.what.split(",")[0] for line in found} >= {"parameters added", "shapes of the state", "bytes kept"}


@pytest.mark.parametrize(
    "row",
    [
        {"family": "spatial", "write": "cells", "read": "text", "address": "bearing", "cells": [4, 12]},
        {"family": "ssm", "tau": [1.0, 128.0], "rho": [0.1, 0.2], "address": "place", "cells": [4, 12]},
        {"family": "ssm", "kernel": 3, "expand": 2, "address": "place", "cells": [4, 12]},
    ],
)
def test_flops_of_frames_with_more_rows_than_there_are_cells_are_as_declared(row: dict[str, object]) -> None:
    found = [line for line in compare(row_from(row)) if line.what.startswith("FLOPs")]
    assert len(found) == 2 and [line for line in found if not line.agrees] == []


def test_a_declaration_that_says_less_differs(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Modest(ComposedRow):
        family: ClassVar[str] = "modest"

        @property
        def parts(self) -> Parts:
            return Spatial(write="grid", read="readout").parts

        def parameters(self, s: BackboneSizes) -> int:
            return 0

        def flops_block(self, s: BackboneSizes, at: BlockPass) -> int:
            return 0

        def activations_block(self, s: BackboneSizes, at: BlockPass, wide: int) -> int:
            return 0

    try:
        differing = {line.what for line in compare(Modest()) if not line.agrees}
        assert main(["mystudy.workload", json.dumps(resolved(Modest()))]) == 1
    finally:
        del REGISTERED["modest"]
    assert {"parameters added", "FLOPs of a forward", "bytes kept, float32"} <= differing
    assert "DIFFERS  parameters added: declared 0, real 28527" in capsys.readouterr().out


def test_a_row_that_carries_a_state_but_does_not_read_where_is_refused_in_words() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Nowhere(MemoryRow):
        family: ClassVar[str] = "nowhere"
        carries_state: ClassVar[bool] = True

    del REGISTERED["nowhere"]
    assert Nowhere().reads == ("evidence.frames", "backbone.recurrent_every")
    sizes = dict.fromkeys(BackboneSizes.__dataclass_fields__, 0)
    with pytest.raises(ValueError, match=r"`reads` must name backbone\.recurrent_every"):
        Nowhere().recurrent(BackboneSizes(**{**sizes, "site": "pre_qkv"}))  # type: ignore[arg-type]


@pytest.mark.slow
def test_as_a_command_it_runs_beside_matrix_yaml() -> None:
    line = [sys.executable, "-m", "workloads.model.check", "mystudy.workload", '{"family": "fading", "decay": 0.8}']
    done = subprocess.run(line, cwd=own_matrix().parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "agrees   frames of context tokens: declared 2, real 2\n" in done.stdout
    assert re.search(r"FLOPs of a forward: declared \d+, real \d+, allowed difference 2%\n", done.stdout)


@pytest.mark.parametrize(
    ("workload", "row", "said"),
    [
        ("mystudy.workload", '{"family": "fading", "decay": 2}', "decay is 2; allowed: above 0 and below 1"),
        ("mystudy.workload", '{"family": "fadding"}', "family is 'fadding'; allowed: context, compress, spatial, ssm"),
        ("mystudy.workload", '{"family": "bound", "shows": "truth"}', "family bound generates nothing"),
        ("mystudy.workload", "[]", "is no row"),
        ("yourstudy.workload", "{}", "no module 'yourstudy'"),
    ],
)
def test_it_names_what_is_wrong(workload: str, row: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([workload, row]) == 2
    assert said in capsys.readouterr().err


def test_the_guide_shows_that_command_for_an_address_and_a_mechanism() -> None:
    guide = (CHECKOUT / "docs" / "tutorials" / "add-a-mechanism.md").read_text(encoding="utf-8")
    shown = re.findall(r"python -m workloads\.model\.check mystudy\.workload '(.*?)'", guide)
    assert [row_from(json.loads(row)) for row in shown] == [OWN["spatial-azimuth"], OWN["fading"]]
