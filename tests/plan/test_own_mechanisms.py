"""An address or a mechanism is two files and a row: beside matrix.yaml, or in the package, as the tutorial shows."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from own_study import CHECKOUT, ROWS, blocks, files, own_matrix, page, write_own_matrix, write_own_study

from orchestrator.opening import open_study
from workloads.contract.rows import RowError
from workloads.study.memory import families
from workloads.study.memory.parts import ADDRESSES, AddressSpec

AZIMUTH = {"family": "spatial", "write": "cells", "read": "text", "address": "azimuth"}


def plan_of(matrix: Path, profile: str) -> Any:
    return open_study(matrix, profile=profile, overrides=(), look=False).plan  # not of what lies in outputs/


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_the_rows_that_were_there_keep_their_fingerprints(profile: str) -> None:
    before = {job.label: job.id for job in plan_of(CHECKOUT / "matrix.yaml", profile).jobs.values()}
    after = {job.label: job.id for job in plan_of(own_matrix(), profile).jobs.values()}
    assert {label: job for label, job in after.items() if label in before} == before
    added = {label.split("/")[-2] for label in after if label not in before}
    assert added == set(ROWS)


@pytest.mark.slow
def test_an_address_is_two_files_and_a_line_of_the_workload(tmp_path: Path) -> None:
    """In a process that has never seen it, with the first workload that the page shows."""
    shown = dict(reversed(blocks()))  # of each file, what the page shows first
    for name in ("azimuth", "azimuth_turn", "workload"):
        path = tmp_path / "mystudy" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown[f"mystudy/{name}.py"], encoding="utf-8")
    rows = dict(re.findall(r"^  (spatial-azimuth[\w-]*): (\{.*\})$", page(), re.MULTILINE))
    assert set(rows) == {"spatial-azimuth", "spatial-azimuth-noyaw"}
    matrix = write_own_matrix(tmp_path, rows)
    done = plan(tmp_path)
    assert done.returncode == 0, done.stderr
    sizes = {line["row"]: line for line in json.loads(done.stdout)["sizes"]}
    assert all(sizes[row]["parameters_added"] == 0 for row in rows)

    text = matrix.read_text(encoding="utf-8").replace(
        "write: cells, read: text, address: azimuth}", "write: grid, read: text, address: azimuth}"
    )
    matrix.write_text(text, encoding="utf-8")
    done = plan(tmp_path)
    said = "address: azimuth finds nothing in what write grid keeps; allowed with it: none"
    assert done.returncode == 2 and "memory.spatial-azimuth" in done.stderr
    assert said in " ".join(done.stderr.split()) and f"`{said}`" in " ".join(page().split())


def test_an_address_of_ones_own_is_named_among_those_that_are_allowed() -> None:
    own_row = families.row_from(AZIMUTH) if plan_of(own_matrix(), "laptop") else None
    assert own_row is not None and own_row.factors == {"write": "cells", "address": "azimuth", "read": "text"}
    with pytest.raises(RowError, match=r"address is 'azimut'; allowed: .*\bazimuth, bearing\b"):
        families.row_from({**AZIMUTH, "address": "azimut"})
    with pytest.raises(
        RowError, match=r"finds nothing in what write tokens keeps; allowed with it: bearing, depths, none, ray"
    ):
        families.row_from({"family": "context", "frames": 5, "address": "azimuth"})


def test_an_address_needs_a_name_that_no_other_has() -> None:
    before = dict(ADDRESSES)
    with pytest.raises(TypeError, match=r"address 'bearing' is declared twice, by workloads\..*bearing and test_own_"):

        @dataclass(frozen=True, kw_only=True)
        class Taken(AddressSpec):
            name: ClassVar[str] = "bearing"

    with pytest.raises(TypeError, match=r"Nameless has no `name`"):

        @dataclass(frozen=True, kw_only=True)
        class Nameless(AddressSpec):
            pass

    assert before == ADDRESSES


@pytest.mark.slow
def test_they_are_planned_with_sizes_of_their_own_and_refused_with_their_own_words(tmp_path: Path) -> None:
    """In a process that has never seen them."""
    matrix = write_own_study(tmp_path)
    done = plan(tmp_path)
    assert done.returncode == 0, done.stderr
    sizes = {line["row"]: line for line in json.loads(done.stdout)["sizes"]}
    anchor = sizes["context-k1"]
    n = anchor["tokens"] // 10  # tokens of a frame: nine target frames and the anchor
    assert sizes["fading"]["tokens"] == anchor["tokens"] + n
    assert sizes["fading"]["tokens_written"] == 0 and sizes["fading"]["parameters_added"] == 0
    assert sizes["running"]["tokens"] == anchor["tokens"]
    assert sizes["running"]["tokens_written"] == 20 * n and sizes["running"]["parameters_added"] == 2
    for key in ("flops_step", "memory_bytes"):
        assert anchor[key] < sizes["fading"][key] < sizes["running"][key]

    matrix.write_text(matrix.read_text(encoding="utf-8").replace("decay: 0.8", "decay: 1.8"), encoding="utf-8")
    done = plan(tmp_path)
    assert done.returncode == 2
    assert "memory.fading" in done.stderr and "decay is 1.8; allowed: above 0 and below 1" in done.stderr


@pytest.mark.slow
def test_in_the_package_it_is_two_files_and_a_row(tmp_path: Path) -> None:
    for package in ("orchestrator", "workloads", "reports"):
        shutil.copytree(CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    moved = {"mystudy.fading_mean": "workloads.memory.fading_mean", "mystudy.fading": "workloads.study.memory.fading"}
    code = files()
    for old, new in moved.items():
        code = {name: text.replace(old, new) for name, text in code.items()}
    (tmp_path / "workloads/study/memory/fading.py").write_text(code["mystudy/fading.py"], encoding="utf-8")
    (tmp_path / "workloads/memory/fading_mean.py").write_text(code["mystudy/fading_mean.py"], encoding="utf-8")
    text = (CHECKOUT / "matrix.yaml").read_text(encoding="utf-8")
    row = f"  fading: {ROWS['fading']}\n"
    text = text.replace("  bound-truth:", f"{row}  bound-truth:", 1)
    text = text.replace("    rows: [context-k1,", "    rows: [fading, context-k1,")
    (tmp_path / "matrix.yaml").write_text(text, encoding="utf-8")
    done = plan(tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "fading" in {line["row"] for line in json.loads(done.stdout)["sizes"]}
    check = [sys.executable, "-m", "workloads.model.check", "workloads.study.workload"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [*check, '{"family": "fading", "decay": 0.8}'], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def plan(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "orchestrator.cli", "plan", "--json"]
    given = {**os.environ, "ECHO_MATRIX_HOME": str(folder / "outputs"), **environment}
    return subprocess.run(line, cwd=folder, env=given, capture_output=True, text=True)


def test_the_shipped_families_are_the_declarations_of_their_folder_in_a_fixed_order() -> None:
    assert [kind.family for kind in families.FAMILIES] == ["context", "compress", "spatial", "ssm", "bound"]
    folder = CHECKOUT / "workloads" / "study" / "memory"
    declared = {path.stem for path in folder.glob("*.py")} - {"__init__", "base", "composed", "families", "parts"}
    assert {kind.__module__.rpartition(".")[2] for kind in families.FAMILIES} == declared
