"""`rows` of a profile: names, globs and families, in the file and on the command line."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError
from orchestrator.opening import open_study
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.overrides import read_overrides
from orchestrator.spec.schema import Matrix

MATRIX = (Path(__file__).parent.parent / "golden" / "matrix.yaml").read_text(encoding="utf-8")
LAPTOP = "  laptop:\n"
CONTEXT = ("context-k1", "context-k5", "context-k20")


def with_rows(folder: Path, written: str) -> Path:
    path = folder / "matrix.yaml"
    path.write_text(MATRIX.replace(LAPTOP, f"{LAPTOP}    rows: {written}\n", 1), encoding="utf-8")
    return path


def rows(matrix: Matrix, *overrides: str, profile: str = "laptop") -> tuple[str, ...]:
    return resolve_profile(matrix, profile, overrides).profile_rows


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[ssm-hybrid, context-k1]", ("context-k1", "ssm-hybrid")),
        ("['context-*']", CONTEXT),
        ("[family:ssm, context-k?]", ("context-k1", "context-k5", "ssm-hybrid", "ssm-blockwise")),
        ("[context-k1, 'context-*']", CONTEXT),
    ],
)
def test_names_globs_and_families_are_rows_in_the_order_of_the_file(
    tmp_path: Path, written: str, expected: tuple[str, ...]
) -> None:
    matrix = load_matrix(with_rows(tmp_path, written))
    assert rows(matrix) == expected
    assert rows(matrix, profile="evening") == tuple(matrix.rows), "a profile without the key has all rows"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "[context-k1,\n           contxt-k5]",
            r"matches no row, 'contxt-k5'; did you mean 'context-k5'\?; allowed: con",
        ),
        ("[family:ssn]", r"names no family of a row, 'ssn'; did you mean 'ssm'\?; allowed: context, compress"),
        ("[context-k1, context-k1]", r"lists 'context-k1' twice; remove one"),
        ("[]", r"lists no row; write names, globs or family:NAME, or no key for all rows; allowed: context-k1,"),
        ("context-k1", r"is the text 'context-k1'; allowed: a list, \[a, b\]"),
        ("{context-k1: 1}", r"is a mapping; allowed: a list"),
        ("[1]", r"is 1, which YAML does not read as text; write \"1\""),
    ],
)
def test_a_list_that_cannot_be_is_refused_whichever_profile_is_used(tmp_path: Path, written: str, message: str) -> None:
    path = with_rows(tmp_path, written)
    with pytest.raises(MatrixError) as refused:
        load_matrix(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(i for i, text in enumerate(lines, 1) if text.startswith("    rows: ")) + written.count("\n")
    assert re.match(rf"{re.escape(str(path))}:{at}: profiles\.laptop\.rows(\[0\])? {message}", str(refused.value)), str(
        refused.value
    )


def test_the_command_line_comes_before_the_profile(tmp_path: Path) -> None:
    matrix = load_matrix(with_rows(tmp_path, "['context-*']"))
    assert rows(matrix, "rows=[ssm-hybrid, context-k1]") == ("context-k1", "ssm-hybrid")
    assert rows(matrix, 'rows=["*"]') == tuple(matrix.rows)
    assert resolve_profile(matrix, "laptop", ["rows=[context-k1]"]).overrides == ("rows=[context-k1]",)
    with pytest.raises(
        MatrixError, match=r"^command line: rows matches no row, 'ssm-hybird'; did you mean 'ssm-hybrid'\?"
    ):
        rows(matrix, "rows=[ssm-hybird]")


def test_rows_of_the_profile_and_parameters_of_rows_may_be_given_together() -> None:
    matrix = load_matrix(Path(__file__).parent.parent / "golden" / "matrix.yaml")
    named = replace(matrix, workload=replace(matrix.workload, rows_key="rows"))
    found = read_overrides(["rows=[context-k1]", "rows.context-k5.frames=6"], named)
    assert found.profile_rows == ("context-k1",) and found.rows == {"context-k5": {"frames": 6}}


def test_the_shipped_profiles_list_their_rows_so_that_nobody_pays_for_rows_unasked(root: Path) -> None:
    profiles = load_matrix(root / "matrix.yaml").profiles
    assert [name for name, profile in profiles.items() if profile.rows is None] == []


def test_the_store_that_was_asked_for_rows_with_results_stays_open(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a bucket another one would be a second client, which lists all commit records again."""
    monkeypatch.setenv("ECHO_MATRIX_HOME", "/nonexistent")
    study = open_study(root / "matrix.yaml")
    assert len(study.plan.outside) > 0 and "store" in vars(study)
    assert study.changed(notice="other").store is study.store
