"""A real SLURM for the tests of this folder, started once; `make test-root` installs what it needs."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_site import CHAOS, DEV, Site

sys.path[:0] = [str(CHAOS), str(CHAOS.parent)]

from proof import Proof, taken, wrongs  # noqa: E402
from slurm_study import JOBS, SlurmStudy  # noqa: E402
from victims import Family  # noqa: E402

from orchestrator.backends.slurm.core import reports  # noqa: E402
from orchestrator.backends.slurm.pilot import backend as pilots  # noqa: E402


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([str(DEV), "start", str(folder)], check=True, stdout=subprocess.DEVNULL, timeout=180)
    yield Site(folder)
    subprocess.run([str(DEV), "stop", str(folder)], check=True, timeout=120)
    assert not folder.exists()


@pytest.fixture(autouse=True, scope="module")
def _nobody_before(site: Site) -> None:
    """Jobs that the tests of another file have left would hold the nodes."""
    site.clear()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Wait for a condition, a minute at most."""

    def wait(ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60.0
        while not ready():
            assert time.monotonic() < deadline, f"waited for {what}"
            time.sleep(0.2)

    return wait


@pytest.fixture
def short_wait_for_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that has left no record of its end is given up after 5 s: no network file system hides one here."""
    for module in (reports, pilots):
        monkeypatch.setattr(module, "RECORD_S", 5.0)


@pytest.fixture(scope="session")
def reference_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`outputs/{study}` of the small study under embedded Ray, which nothing disturbed."""
    study = SlurmStudy(home=tmp_path_factory.mktemp("reference"))
    done = study.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert wrongs(study, jobs=JOBS) == []
    return study.folder


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Proof:
    """Its results."""
    return taken(SlurmStudy(home=reference_folder.parent))


@pytest.fixture
def study(site: Site, tmp_path: Path) -> Iterator[SlurmStudy]:
    """The small study on the test cluster, in an empty folder; nothing of it is left in the queue."""
    study = SlurmStudy(home=tmp_path / "outputs", site=site)
    yield study
    Family(study.home).end()
    site.clear()
