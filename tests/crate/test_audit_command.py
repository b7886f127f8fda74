"""`export` and `audit` as they are typed: what they print, and how they end."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_study import finished_study
from forging import forge_value

from orchestrator.cli import app
from orchestrator.errors import CrateError, PlanError
from orchestrator.plan.select import find_job
from orchestrator.study import Study

Called = Callable[..., tuple[int, str]]
WORKLOAD = "--workload=digits_study.workload"


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Called:
    def call(*arguments: str) -> tuple[int, str]:
        code = app(arguments, prog_name="echo-matrix", standalone_mode=False)
        return int(code or 0), capsys.readouterr().out

    return call


@pytest.mark.slow  # two reports
def test_a_crate_is_written_and_found_right(called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_study(tmp_path, monkeypatch)
    code, said = called("export", "--json")
    made = json.loads(said)
    assert (code, made["path"], made["done"]) == (0, "digits-laptop.crate.zip", 19)
    code, said = called("audit", "digits-laptop.crate.zip", WORKLOAD, "--expect", made["digest"][:12])
    lines = said.splitlines()
    assert code == 0, said
    assert lines[0] == "digits-laptop.crate.zip: digits, profile laptop"
    assert "right   report: 96 values; 3 of 3 files made again byte for byte" in lines
    assert lines[-1] == "everything is right: 10 checks"


def test_what_differs_is_printed_with_what_was_expected(called: Called, crate: Path, study: Study) -> None:
    path = forge_value(crate, find_job(study.plan, "evaluate/clean/mlp/s0"), 0.99)
    code, said = called("audit", str(crate))
    place = path.relative_to(crate)
    assert code == 1
    assert f" files against size and sha256 in ro-crate-metadata.json\n        {place}\n" in said
    assert "          expected sha256 " in said and "this is not what evaluate/clean/mlp/s0 has written" in said
    # No code of the study was imported, and what needs it is said to be unchecked.
    assert "OPEN    plan: " in said and "names the workload 'digits_study.workload'" in said
    assert said.splitlines()[-1] == "2 differences; 3 things could not be checked"


def test_json_has_every_check(called: Called, crate: Path) -> None:
    code, said = called("audit", str(crate), "--json")
    found = json.loads(said)
    assert (code, found["right"], found["study"]) == (1, False, "digits")
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert verdicts == {
        "files": "right",
        "commit records": "right",
        "chain of inputs": "right",
        "artifacts": "right",
        "fingerprints": "right",
        "environment": "right",
        "plan": "open",
        "code": "right",
        "controls": "open",
        "report": "open",
    }


def test_control_characters_of_a_crate_are_not_printed(called: Called, crate: Path) -> None:
    (crate / "\x1b[2Jextra").write_text("x", encoding="utf-8")
    _, said = called("audit", str(crate))
    assert "\x1b" not in said and "\\x1b[2Jextra" in said


@pytest.mark.slow  # a report
def test_a_dry_run_says_what_would_run_and_what_it_took(
    called: Called, crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = called("audit", str(crate), WORKLOAD, "--rerun", "--dry-run", "--job", "evaluate/clean/mlp/s0")
    assert code == 0
    where = tmp_path / "outputs"
    assert f"--rerun would run 3 jobs in {where}/audit-" in said
    assert "they took 9 s when they were recorded, one after the other\n        split\n        train/mlp/s0\n" in said


def test_what_belongs_to_a_rerun_is_refused_without_it(called: Called, crate: Path) -> None:
    with pytest.raises(PlanError, match="are for --rerun; add it"):
        called("audit", str(crate), "--dry-run")
    with pytest.raises(PlanError, match="the matrix of the crate cannot be planned here"):
        called("audit", str(crate), "--rerun")


def test_bad_input_is_told(called: Called, tmp_path: Path) -> None:
    with pytest.raises(CrateError, match="no such crate"):
        called("audit", str(tmp_path / "nothing.zip"))


def test_a_forgotten_file_is_named(called: Called, crate: Path) -> None:
    shutil.rmtree(crate / "report")
    code, said = called("audit", str(crate))
    assert code == 1 and "report/results.csv" in said and "found    no such file" in said
