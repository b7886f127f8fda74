"""Tests with a real backend use the toy jobs of the host's tests; the chaos suite's references are made once."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "host")]

from proof import JOBS, Proof, taken, wrongs  # noqa: E402
from small_study import SmallStudy  # noqa: E402
from two_ranks import TWO_RANK_JOBS, two_rank_study  # noqa: E402


def undisturbed(study: SmallStudy, jobs: int) -> SmallStudy:
    """The study, run to its end."""
    study.home.mkdir()
    done = study.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert wrongs(study, jobs=jobs) == []
    return study


@pytest.fixture(scope="session")
def reference_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`outputs/{study}` of a run that nothing disturbed."""
    return undisturbed(SmallStudy(home=tmp_path_factory.mktemp("chaos") / "undisturbed"), JOBS).folder


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Proof:
    """Its results."""
    return taken(SmallStudy(home=reference_folder.parent))


@pytest.fixture(scope="session")
def two_rank_reference(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """Results of a training by two ranks that nothing disturbed."""
    study = two_rank_study(tmp_path_factory.mktemp("chaos") / "undisturbed-2")
    return taken(undisturbed(study, TWO_RANK_JOBS))
