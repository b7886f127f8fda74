"""What all tests share: golden files, and one thread."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden files that the chosen tests compare with; review the diff",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares a whole text with tests/golden/NAME; a missing file fails."""
    update = bool(request.config.getoption("--update-golden"))

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"{path} is missing; write it with --update-golden and review it")
        assert path.read_text(encoding="utf-8") == text, (
            f"{path} differs; raise a revision in workloads/study/stages.py if the meaning changed, "
            "then rewrite it with --update-golden"
        )

    return compare


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT
