"""The fake keeps the contract of backends; the others' tests lie beside this file."""

import itertools
from pathlib import Path

import pytest
from backend_contract import BackendContract, LastingBackendContract, Stage, Wanted
from toy_study import Settings, make_job, make_plan

from orchestrator.backends.fake import Act, FakeBackend, Farm
from orchestrator.backends.protocol import Placement, Submission
from orchestrator.backends.registry import backend_class
from orchestrator.errors import BackendError
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.launcher import build_submission
from orchestrator.store.files import FilesStore

ACTS = {
    "long": Act(seconds=1e9),
    "ok": Act(),
    "error": Act(script="error"),
    "bad_input": Act(script="bad_input"),
    "out_of_memory": Act(script="out_of_memory"),
}


class TestFakeBackend(BackendContract):
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Stage:
        clock, store = SimulatedClock(), FilesStore(tmp_path / "store")
        script = {f"data/{wanted}-{number}": [act] for wanted, act in ACTS.items() for number in range(9)}
        numbers = itertools.count()

        def submission(wanted: Wanted) -> Submission:
            number = next(numbers)
            job = make_job("data", f"data/{wanted}-{number}")
            return build_submission(
                job,
                make_plan([job]),
                Placement(host="fake-0", cpus=1, devices=()),
                attempt=f"a001-{number:08x}",
                home=tmp_path,
                settings=Settings(),
                accumulate=1,
                resume=None,
            )

        def make() -> FakeBackend:
            return FakeBackend(store=store, now=clock.time, script=script, farm=self.farm())

        return Stage(backend=make(), store=store, submission=submission, rest=lambda: clock.sleep(0.1), successor=make)

    def farm(self) -> Farm | None:
        """None: it dies with its driver."""
        return None


class TestLastingFakeBackend(TestFakeBackend, LastingBackendContract):
    @pytest.fixture(autouse=True)
    def _farm(self) -> None:
        self.shared = Farm()

    def farm(self) -> Farm | None:
        return self.shared


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(BackendError, match=r"'ray', 'slurm', 'fake'"):
        backend_class("rya")
