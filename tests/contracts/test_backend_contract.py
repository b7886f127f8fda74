"""The fake keeps the contract of backends; the others' tests lie beside this file."""

import itertools
from pathlib import Path

import pytest
from toy_study import Settings, make_job, make_plan

from orchestrator.backends.fake.backend import Act, FakeBackend, FakeCluster
from orchestrator.backends.protocol import Placement, Submission
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.launcher import build_request, build_submission
from orchestrator.store.files import FilesStore
from orchestrator.testing.backends import BackendContract, BackendUnderTest, LastingBackendContract, WantedEnding

ACTS = {
    "long": Act(seconds=1e9),
    "ok": Act(),
    "error": Act(script="error"),
    "bad_input": Act(script="bad_input"),
    "out_of_memory": Act(script="out_of_memory"),
}


class TestFakeBackend(BackendContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> BackendUnderTest:
        clock, store = SimulatedClock(), FilesStore(tmp_path / "store")
        script = {f"data/{wanted}-{number}": [act] for wanted, act in ACTS.items() for number in range(9)}
        numbers = itertools.count()

        def submission(wanted: WantedEnding) -> Submission:
            number = next(numbers)
            job = make_job("data", f"data/{wanted}-{number}")
            attempt = f"a001-{number:08x}"
            request = build_request(job, attempt=attempt, home=tmp_path, settings=Settings(), accumulate=1, resume=None)
            return build_submission(job, make_plan([job]), Placement(host="fake-0", cpus=1, devices=()), request)

        def make() -> FakeBackend:
            return FakeBackend(store=store, now=clock.time, script=script, cluster=self.cluster())

        return BackendUnderTest(
            backend=make(), store=store, submission=submission, rest=lambda: clock.sleep(0.1), successor=make
        )

    def cluster(self) -> FakeCluster | None:
        """None: it dies with its driver."""
        return None


class TestLastingFakeBackend(TestFakeBackend, LastingBackendContract):
    @pytest.fixture(autouse=True)
    def _farm(self) -> None:
        self.shared = FakeCluster()

    def cluster(self) -> FakeCluster | None:
        return self.shared
