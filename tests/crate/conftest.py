import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from finished_study import finished_study

from orchestrator.crate.writing import write_crate
from orchestrator.study import Study

WORKLOAD = "digits_study.workload"


@pytest.fixture(scope="package")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Path]]:
    """A finished study of 19 jobs, and its crate as a folder: both only to be read."""
    with pytest.MonkeyPatch.context() as patch:
        study = finished_study(tmp_path_factory.mktemp("study"), patch)
        crate = tmp_path_factory.mktemp("crates") / "crate"
        write_crate(study, crate)
    yield study, crate


@pytest.fixture
def study(exported: tuple[Study, Path]) -> Study:
    return exported[0]


@pytest.fixture
def crate(exported: tuple[Study, Path], tmp_path: Path) -> Path:
    """A copy of the crate, to be changed."""
    shutil.copytree(exported[1], tmp_path / "crate")
    return tmp_path / "crate"
