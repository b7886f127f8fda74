"""A real SLURM for the tests of this folder, started once; `make test-slurm` installs what it needs."""

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from slurm_site import DEV, Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([str(DEV), "start", str(folder)], check=True, stdout=subprocess.DEVNULL, timeout=180)
    yield Site(folder)
    subprocess.run([str(DEV), "stop", str(folder)], check=True, timeout=120)
    assert not folder.exists()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Wait for a condition, a minute at most."""

    def wait(ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60.0
        while not ready():
            assert time.monotonic() < deadline, f"waited for {what}"
            time.sleep(0.2)

    return wait
