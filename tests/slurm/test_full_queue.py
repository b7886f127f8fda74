"""A queue that takes no more jobs of this account: attempts wait for room, and none is failed by it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_site import Site
from slurm_study import wait_until
from test_pilot_jobs import Study, slurm_settings
from test_slurm_backend_contract import make_backend

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))

from toy_jobs import as_submission, toy_submission

from orchestrator.backends.slurm.core import backend as slurm
from orchestrator.backends.slurm.core import brake, reports
from orchestrator.backends.slurm.core import submit as executor
from orchestrator.backends.slurm.pilot import pilot, pool
from orchestrator.backends.slurm.pilot.backend import PENDING_HOST
from orchestrator.backends.slurm.pilot.mailbox import CLOSED, pilots_folder


@pytest.fixture
def narrow(site: Site) -> Iterator[None]:
    """One job in the queue for the whole account: what others of it have there cannot be seen by a user."""
    site.clear()
    site.call("sacctmgr", "-i", "modify", "account", "study", "set", "GrpSubmitJobs=1")
    yield
    site.call("sacctmgr", "-i", "modify", "account", "study", "set", "GrpSubmitJobs=-1")


def test_what_the_queue_does_not_take_waits_and_is_submitted_when_there_is_room(
    tmp_path: Path, site: Site, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    monkeypatch.setattr(brake, "FIRST_S", 1.0)
    home = tmp_path / "toy"
    backend = make_backend(home)
    # The first makes room once it is asked to, not before the others have been refused.
    does = ("until asked", "write", "write")
    submissions = [as_submission(toy_submission(home, do, memory_gib=0.5), slurm.QUEUE) for do in does]
    first, *others = [submission.attempt for submission in submissions]
    tickets = backend.submit(submissions)
    assert [bool(tickets[one]) for one in (first, *others)] == [True, False, False]
    waiting = backend.poll()
    assert [waiting[one].phase for one in others] == ["waiting", "waiting"]
    assert "AssocGrpSubmitJobsLimit" in waiting[others[0]].detail
    backend.stop(others[1:])
    assert (backend.poll()[others[1]].ending, backend.poll()[others[1]].detail) == (
        "interrupted",
        "asked to end before SLURM took it",
    )
    wait_until(lambda: backend.poll()[first].phase == "running", "the first")
    backend.stop([first])
    wait_until(lambda: [backend.poll()[one].ending for one in (first, others[0])] == ["interrupted", "ok"], "both")
    backend.close()


@pytest.fixture
def refused_as_full(site: Site) -> Iterator[Callable[[int], None]]:
    """Sets how many jobs slurmctld takes, those of all users together."""
    configuration = site.folder / "slurm.conf"
    text = configuration.read_text()

    def take(jobs: int) -> None:
        configuration.write_text(text.replace("MaxJobCount=2000", f"MaxJobCount={jobs}"))
        site.daemon("slurmctld", "stop")
        site.daemon("slurmctld", "start")

    yield take
    take(2000)
    site.clear()


def test_a_slurmctld_that_takes_no_more_jobs_is_waited_for(
    tmp_path: Path, site: Site, refused_as_full: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    for module, name in ((brake, "FIRST_S"), (reports, "RECORD_S")):
        monkeypatch.setattr(module, name, 1.0)
    monkeypatch.setattr(executor, "ANSWER_S", 5)
    site.call("sbatch", "--hold", "-o", "/dev/null", "--wrap", "true")
    refused_as_full(1)
    home = tmp_path / "toy"
    backend = make_backend(home)
    submission = as_submission(toy_submission(home, "write", memory_gib=0.5), slurm.QUEUE)
    backend.submit([submission])
    wait_until(lambda: backend.poll()[submission.attempt].phase != "unknown", "what became of it")
    report = backend.poll()[submission.attempt]
    assert report.phase == "waiting" and "temporarily unable to accept job" in report.detail
    refused_as_full(2000)
    wait_until(lambda: backend.poll()[submission.attempt].ending == "ok", "its end")
    backend.close()


@pytest.mark.long
def test_a_pilot_job_that_a_full_slurmctld_does_not_take_is_no_failure_of_its_settings(
    tmp_path: Path, site: Site, refused_as_full: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    for module, name in ((pool, "RETRY_S"), (pilot, "UNCONFIRMED_S")):
        monkeypatch.setattr(module, name, 1.0)
    monkeypatch.setattr(pool, "MAX_FAILURES", 1)
    monkeypatch.setattr(executor, "ANSWER_S", 3)
    site.call("sbatch", "--hold", "-o", "/dev/null", "--wrap", "true")
    refused_as_full(1)
    study = Study(tmp_path / "toy", slurm_settings())

    def asked_in_vain() -> bool:
        assert [host.name for host in study.backend.hosts()] == [PENDING_HOST]
        return len(list(pilots_folder(study.home).glob(f"*/{CLOSED}"))) > 1

    wait_until(asked_in_vain, "two that came to nothing")
    refused_as_full(2000)
    wait_until(lambda: study.backend.hosts() and study.jobs(site), "a pilot job")
    study.backend.close()
