"""What all tests share: lanes, golden files, and one thread."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lanes import FAST, FILES, FOLDERS, LONGEST_S, Watch, lane_of, lane_of_file

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Torch and pytest hold millions of objects that stay, and each collection of garbage looks through them again:
# collecting rarely takes a fifth of the CPU time away.
gc.set_threshold(20_000, 20, 50)

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
WATCH = pytest.StashKey[Watch]()
NOT_FAST = "not of the fast lane ({}): give it its lane in tests/lanes.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden files that the chosen tests compare with; review the diff",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Look at what tests start where the fast lane runs alone."""
    if config.option.markexpr == FAST:
        config.stash[WATCH] = Watch()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Folders and files of other lanes are not even imported by the fast one: some import DeepSpeed."""
    inside = collection_path.suffix == ".py" or collection_path.name in FOLDERS
    return True if config.option.markexpr == FAST and inside and lane_of_file(collection_path) != FAST else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its lane; run the fast lane first, then the longest files and folders.

    A process that has used DeepSpeed keeps its patches of torch: model tests after training tests measured them.
    """
    for item in items:
        item.add_marker(lane_of(item.path, [mark.name for mark in item.iter_markers()]))
    order = {name: place for place, name in enumerate(("slurm", *FILES, *FOLDERS))}

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.parent.name
        names = (f"{folder}/{item.path.name}", folder)
        return lane_of_file(item.path) != FAST, min(order.get(name, len(order)) for name in names)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """A file of the fast lane that imports a service is an error."""
    watch = collector.config.stash.get(WATCH, None)
    if watch is None or not isinstance(collector, pytest.Module):
        return (yield)
    watch.begin()
    report = yield
    if broken := watch.broken():
        report.outcome, report.longrepr = "failed", NOT_FAST.format("; ".join(broken))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test of the fast lane that starts a service or sleeps fails."""
    watch = item.config.stash.get(WATCH, None)
    if watch is None:
        return (yield)
    watch.begin()
    result = yield
    if broken := watch.broken():
        pytest.fail(NOT_FAST.format("; ".join(broken)), pytrace=False)
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report tests of the fast lane that are slow."""
    for report in terminalreporter.getreports("passed"):
        if FAST in report.keywords and report.duration > LONGEST_S:
            terminalreporter.write_line(
                f"fast lane: {report.nodeid} ({report.when}) took {report.duration:.1f} s, more than {LONGEST_S:g} s: "
                "make it faster, or mark it slow"
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
