"""The SLURM backend keeps the contract of backends that outlive drivers, on a real SLURM."""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "contracts")]

from backend_contract import LastingBackendContract, Stage, Wanted  # noqa: E402
from slurm_site import Site  # noqa: E402
from toy_jobs import SERVER, as_submission, toy_submission  # noqa: E402

from orchestrator.backends.protocol import Adoption, Submission  # noqa: E402
from orchestrator.backends.slurm.core.backend import HOST, SlurmBackend  # noqa: E402
from orchestrator.spec.slurm import Slurm  # noqa: E402
from orchestrator.store.registry import make_store  # noqa: E402
from workloads.contract.json_files import read_object  # noqa: E402

DO = {"ok": "write", "error": "fail", "bad_input": "refuse", "out_of_memory": "no memory", "long": "until asked"}


@dataclass
class Cluster:
    """What the backend takes from cluster/slurm.yaml."""

    slurm: Slurm = field(default_factory=lambda: Slurm(poll_s=0.5))
    grace_s: float = 20.0


def make_backend(home: Path) -> SlurmBackend:
    return SlurmBackend(home, "files", home / "store", Cluster(), server=SERVER)


class TestSlurmBackend(LastingBackendContract):
    @pytest.fixture
    def stage(self, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Stage:
        monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
        home = tmp_path / "toy"

        def submission(wanted: Wanted) -> Submission:
            return as_submission(toy_submission(home, DO[wanted], memory_gib=0.5), HOST)

        return Stage(
            backend=make_backend(home),
            store=make_store("files", home / "store"),
            submission=submission,
            rest=lambda: time.sleep(0.2),
            successor=lambda: make_backend(home),
        )

    def test_an_attempt_that_is_taken_out_of_the_queue_makes_no_other_unknown(self, stage: Stage, site: Site) -> None:
        """A scancel fails over a job that has ended, which says nothing of SLURM."""
        running, waiting = stage.submission("long"), stage.submission("long")
        stage.backend.submit([running])
        stage.until(running.attempt, "running")
        site.call("scontrol", "update", "PartitionName=long", "State=DOWN")
        try:
            stage.backend.submit([waiting])
            stage.until(waiting.attempt, "waiting")
            stage.backend.stop([waiting.attempt])
            assert stage.backend.poll()[running.attempt].phase == "running"
            assert stage.backend.hosts()
            assert stage.until(waiting.attempt, "ended").ending == "interrupted"
        finally:
            site.call("scontrol", "update", "PartitionName=long", "State=UP")
        stage.backend.kill([running.attempt])
        stage.until(running.attempt, "ended")

    def test_a_job_is_found_by_its_name_whatever_the_label(self, stage: Stage, site: Site) -> None:
        """A driver that dies between sbatch and the ticket leaves nothing but the name."""
        label = "train/row/controls.sizes=[1,2]/" + "an.axis=1/" * 30 + "s0"
        one = replace(stage.submission("long"), label=label)
        stage.backend.submit([one])
        stage.until(one.attempt, "running")
        assert stage.successor is not None
        later = stage.successor()
        later.adopt([Adoption.of(one)])
        assert later.poll()[one.attempt].phase == "running"
        stage.backend.kill([one.attempt])
        stage.until(one.attempt, "ended")
        (jobs,) = Path(str(one.request["work"])).parents[2].glob("slurm/*/jobs.json")
        name = read_object(jobs)["name"]
        assert site.call("sacct", "-nXP", "--format=JobName", f"--name={name}") == name

    @pytest.mark.parametrize("now", [False, True], ids=["gently", "now"])
    def test_an_end_that_was_asked_for_while_slurm_was_away_is_asked_for_again(
        self, stage: Stage, site: Site, now: bool
    ) -> None:
        full = site.call("sbatch", "--parsable", "-n", "8", "-o", "/dev/null", "--wrap", "sleep 600")
        waiting = stage.submission("long")
        try:
            stage.backend.submit([waiting])
            stage.until(waiting.attempt, "waiting")
            site.daemon("slurmctld", "stop")
            try:
                (stage.backend.kill if now else stage.backend.stop)([waiting.attempt])
            finally:
                site.daemon("slurmctld", "start")
            assert stage.until(waiting.attempt, "ended").ending == "interrupted"
            assert site.call("squeue", "--noheader", f"--jobs={full}")
        finally:
            site.clear()
