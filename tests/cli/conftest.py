from pathlib import Path

import pytest
from rehearsal import Rehearsal


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path / "outputs")
