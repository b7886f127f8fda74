"""The SLURM backend keeps the contract of backends that outlive drivers, on a real SLURM."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "host")]

from slurm_site import Site  # noqa: E402
from toy_jobs import DO, as_submission, toy_context, toy_submission, wait_until  # noqa: E402

from orchestrator.backends.protocol import Adoption, Backend, Submission  # noqa: E402
from orchestrator.backends.slurm.core.backend import QUEUE, JobBackend  # noqa: E402
from orchestrator.backends.slurm.settings import SlurmSettings, SlurmStage  # noqa: E402
from orchestrator.schedule.placement import targets  # noqa: E402
from orchestrator.store.files import FilesStore  # noqa: E402
from orchestrator.testing.backends import BackendUnderTest, LastingBackendContract, WantedEnding  # noqa: E402
from workloads.contract.json_files import read_object  # noqa: E402

pytestmark = pytest.mark.usefixtures("short_wait_for_records")


def make_backend(home: Path) -> JobBackend:
    return JobBackend(toy_context(home), SlurmSettings(poll_s=0.5))


def phases(backend: Backend) -> set[str]:
    """Of all attempts."""
    return {report.phase for report in backend.poll().values()}


class TestSlurmBackend(LastingBackendContract):
    @pytest.fixture
    def case(self, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> BackendUnderTest:
        monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
        home = tmp_path / "toy"

        def submission(wanted: WantedEnding) -> Submission:
            return as_submission(toy_submission(home, DO[wanted], memory_gib=0.5), QUEUE)

        return BackendUnderTest(
            backend=make_backend(home),
            store=FilesStore(home / "store"),
            submission=submission,
            rest=lambda: time.sleep(0.2),
            successor=lambda: make_backend(home),
        )

    def test_an_attempt_that_is_taken_out_of_the_queue_makes_no_other_unknown(
        self, case: BackendUnderTest, site: Site
    ) -> None:
        """A scancel fails over a job that has ended, which says nothing of SLURM."""
        running, waiting = case.submission("long"), case.submission("long")
        case.backend.submit([running])
        case.until(running.attempt, "running")
        site.call("scontrol", "update", "PartitionName=long", "State=DOWN")
        try:
            case.backend.submit([waiting])
            case.until(waiting.attempt, "waiting")
            case.backend.stop([waiting.attempt])
            assert case.backend.poll()[running.attempt].phase == "running"
            assert targets(case.backend)
            assert case.until(waiting.attempt, "ended").ending == "interrupted"
        finally:
            site.call("scontrol", "update", "PartitionName=long", "State=UP")
        case.backend.kill([running.attempt])
        case.until(running.attempt, "ended")

    def test_what_the_users_shell_says_to_sbatch_holds_where_the_cluster_file_says_nothing(
        self, case: BackendUnderTest, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        for name, value in {"PARTITION": "short", "EXPORT": "NONE", "ARRAY_INX": "0-9", "TIMELIMIT": "1"}.items():
            monkeypatch.setenv(f"SBATCH_{name}", value)
        chosen = JobBackend(
            toy_context(tmp_path / "toy"), SlurmSettings(every=SlurmStage(partition="long"), poll_s=0.5)
        )
        for backend, partition, number in ((case.backend, "short", 2), (chosen, "long", 1)):
            several = [case.submission("long") for _ in range(number)]
            tickets = backend.submit(several)
            wait_until(lambda b=backend: phases(b) == {"running"}, "they run", 60)  # type: ignore[misc]
            listed = site.call("squeue", "--noheader", "--array", "--format=%i %P %l").split("\n")
            assert {f"{ticket} {partition} 7:00" for ticket in tickets.values()} <= set(listed)
            backend.kill([one.attempt for one in several])
            wait_until(lambda b=backend: phases(b) == {"ended"}, "they end", 60)  # type: ignore[misc]

    def test_a_job_is_found_by_its_name_whatever_the_label(self, case: BackendUnderTest, site: Site) -> None:
        """A driver that dies between sbatch and the ticket leaves nothing but the name."""
        label = "train/row/controls.sizes=[1,2]/" + "an.axis=1/" * 30 + "s0"
        one = replace(case.submission("long"), label=label)
        case.backend.submit([one])
        case.until(one.attempt, "running")
        assert case.successor is not None
        later = case.successor()
        later.adopt([Adoption.of(one)])
        assert later.poll()[one.attempt].phase == "running"
        case.backend.kill([one.attempt])
        case.until(one.attempt, "ended")
        (jobs,) = Path(str(one.request["work"])).parents[2].glob("slurm/*/jobs.json")
        name = read_object(jobs)["name"]
        # Accounting hears of a job some seconds after slurmctld.
        asked = ("sacct", "-nXP", "--format=JobName", f"--name={name}")
        assert wait_until(lambda: site.call(*asked), "accounting knows the job by its name") == name

    @pytest.mark.parametrize("now", [False, True], ids=["gently", "now"])
    def test_an_end_that_was_asked_for_while_slurm_was_away_is_asked_for_again(
        self, case: BackendUnderTest, site: Site, now: bool
    ) -> None:
        full = site.call("sbatch", "--parsable", "-n", "8", "-o", "/dev/null", "--wrap", "sleep 600")
        waiting = case.submission("long")
        try:
            case.backend.submit([waiting])
            case.until(waiting.attempt, "waiting")
            site.daemon("slurmctld", "stop")
            try:
                (case.backend.kill if now else case.backend.stop)([waiting.attempt])
            finally:
                site.daemon("slurmctld", "start")
            assert case.until(waiting.attempt, "ended").ending == "interrupted"
            assert site.call("squeue", "--noheader", f"--jobs={full}")
        finally:
            site.clear()
