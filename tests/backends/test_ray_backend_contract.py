"""The Ray backend keeps the contract of backends, with real processes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_jobs import DO, as_submission, toy_context, toy_submission

from orchestrator.backends.protocol import Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.store.files import FilesStore
from orchestrator.testing.backends import BackendContract, BackendUnderTest, WantedEnding


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def backend(home: Path) -> Iterator[RayBackend]:
    made = RayBackend(toy_context(home), RaySettings(cpus=3))
    yield made
    made.close()


def test_a_host_has_the_cpus_that_are_configured(backend: RayBackend) -> None:
    assert [host.cpus for host in backend.hosts()] == [3]


class TestRayBackend(BackendContract):
    @pytest.fixture
    def case(self, home: Path, backend: RayBackend) -> BackendUnderTest:
        host = backend.hosts()[0].name

        def submission(wanted: WantedEnding) -> Submission:
            return as_submission(toy_submission(home, DO[wanted]), host)

        return BackendUnderTest(
            backend=backend,
            store=FilesStore(home / "store"),
            submission=submission,
            rest=lambda: time.sleep(0.1),
        )
