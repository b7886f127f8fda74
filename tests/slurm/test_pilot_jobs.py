"""Pilot jobs on a real SLURM: many attempts in one SLURM job, whose Ray is nobody else's."""

import contextlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "host"), str(TESTS)]

from slurm_site import Site  # noqa: E402
from stranger import knock  # noqa: E402
from toy_jobs import DO, as_submission, toy_context, toy_submission, wait_until  # noqa: E402

from orchestrator.backends.protocol import Adoption, Autoscaling, Backend, HostShare, Report, Submission  # noqa: E402
from orchestrator.backends.slurm.backend import slurm_backend  # noqa: E402
from orchestrator.backends.slurm.core.backend import QUEUE  # noqa: E402
from orchestrator.backends.slurm.pilot import pool  # noqa: E402
from orchestrator.backends.slurm.pilot.backend import PENDING_HOST  # noqa: E402
from orchestrator.backends.slurm.pilot.mailbox import (  # noqa: E402
    JOB,
    JOIN,
    ORDERS,
    OVER,
    STATE,
    pilot_of,
    pilots_folder,
    read_whole,
    token_of,
)
from orchestrator.backends.slurm.pilot.pool import READ_S  # noqa: E402
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings  # noqa: E402
from orchestrator.errors import BackendError  # noqa: E402
from orchestrator.host.code import copy_code  # noqa: E402
from orchestrator.schedule.placement import targets  # noqa: E402
from orchestrator.store.files import FilesStore  # noqa: E402
from orchestrator.testing.backends import BackendUnderTest, LastingBackendContract, WantedEnding  # noqa: E402
from workloads.study.workload import WORKLOAD  # noqa: E402

pytestmark = pytest.mark.usefixtures("short_wait_for_records")
SMALL = PilotSettings(cpus=2, memory_gib=3.5, minutes=30.0, allocations=1, sbatch=("--nodelist=n1",))
FIXED = {6379, 8265, 8076, 10001, 52365, *range(10002, 20000)}
"""Ports that Ray takes where nobody tells it otherwise (ray start --help)."""


TIMES = {"grace_s": 20.0, "idle_s": 600.0, "orphan_s": 600.0}


def slurm_settings(pilot: PilotSettings | None = SMALL, poll_s: float = 0.5) -> SlurmSettings:
    return SlurmSettings(poll_s=poll_s, pilot=pilot)


def driver(home: Path, digest: str, slurm: SlurmSettings, **more: Any) -> Any:
    given = {**TIMES, "code_digest": digest, "stages": tuple(WORKLOAD.by_name), **more}
    return slurm_backend(toy_context(home, **given), slurm)


class Study:
    """Drivers of one study, one after the other."""

    def __init__(self, home: Path, slurm: SlurmSettings, **more: Any) -> None:
        self.home, self.slurm, self.more = home, slurm, more
        self.digest, _ = copy_code(home)
        self.store = FilesStore(home / "store")
        self.backend = self.next()

    def next(self) -> Backend:
        self.backend = driver(self.home, self.digest, self.slurm, **self.more)
        return self.backend

    def hosts(self, number: int = 1) -> list[HostShare]:
        """The hosts, once there are so many."""

        def there() -> list[HostShare]:
            found = [host for host in self.backend.hosts() if host.name not in (PENDING_HOST, QUEUE)]
            return found if len(found) >= number else []

        found: list[HostShare] = wait_until(there, f"{number} hosts", 180.0)
        return found

    def submission(self, do: str, host: str, **more: float) -> Submission:
        return as_submission(toy_submission(self.home, do, memory_gib=0.5, **more), host)

    def until(self, attempt: str, phase: str) -> Report:
        found: Report = wait_until(
            lambda: (report := self.backend.poll()[attempt]).phase == phase and report, f"{attempt} {phase}", 90.0
        )
        return found

    def agent(self) -> psutil.Process:
        """The agent of its newest pilot job."""
        found = [
            process
            for process in psutil.process_iter(["cmdline"])
            if "--agent" in (process.info["cmdline"] or []) and str(self.home) in " ".join(process.info["cmdline"])
        ]
        return max(found, key=lambda process: process.create_time())

    def jobs(self, site: Site) -> list[str]:
        """The numbers of its pilot jobs that SLURM has."""
        lines = site.call("squeue", "-h", "--me", "-t", "PD,R,CG", "-o", "%i %j").splitlines()
        return [line.split()[0] for line in lines if f"em:{self.home.name}:" in line]


@pytest.fixture(autouse=True, scope="module")
def _client(site: Site) -> Iterator[None]:
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = site.environment["SLURM_CONF"]
    yield
    del os.environ["SLURM_CONF"]
    if before is not None:
        os.environ["SLURM_CONF"] = before


@pytest.fixture(scope="module")
def study(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    made = Study(tmp_path_factory.mktemp("toy"), slurm_settings())
    yield made
    made.backend.close()
    if jobs := made.jobs(site):
        site.call("scancel", *jobs)


class TestPilotBackend(LastingBackendContract):
    """All in one pilot job: each test has a driver of its own."""

    @pytest.fixture
    def case(self, study: Study) -> Iterator[BackendUnderTest]:
        backend = study.next()
        host = study.hosts()[0].name

        def submission(wanted: WantedEnding) -> Submission:
            return study.submission(DO[wanted], host)

        made = BackendUnderTest(
            backend=backend,
            store=study.store,
            submission=submission,
            rest=lambda: time.sleep(0.1),
            successor=study.next,
        )
        yield made
        left = [attempt for attempt, report in made.backend.poll().items() if report.phase != "ended"]
        made.backend.kill(left)
        wait_until(lambda: all(made.backend.poll()[one].phase in ("ended", "missing") for one in left), "an empty host")
        made.backend.close()


@pytest.fixture(scope="module")
def other(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    made = Study(tmp_path_factory.mktemp("other"), slurm_settings())
    yield made
    made.backend.close()
    if jobs := made.jobs(site):
        site.call("scancel", *jobs)


def ray_of(study: Study) -> list[psutil.Process]:
    """Agent, head, raylet and all else of a study's Ray."""
    agent = study.agent()
    return [agent, *agent.children(recursive=True)]


def ports_of(processes: list[psutil.Process]) -> set[int]:
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {one.laddr.port for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN}
    return found


def temporary_of(study: Study) -> Path:
    """Ray's folder on the node: the agent's last argument, in the private one."""
    return Path(study.agent().cmdline()[-1]).parent


def test_two_studies_on_one_node_do_not_meet(study: Study, other: Study) -> None:
    """Each has ports, folders and a token of its own, and who has not the token is refused."""
    study.next()
    hosts = [one.hosts()[0].name for one in (study, other)]
    assert {host.partition(".")[2] for host in hosts} == {"n1"} and hosts[0] != hosts[1]
    ports = [ports_of(ray_of(one)) for one in (study, other)]
    assert all(len(of) >= 3 for of in ports) and not ports[0] & ports[1]
    assert not (ports[0] | ports[1]) & FIXED
    folders = [temporary_of(one) for one in (study, other)]
    assert folders[0] != folders[1]
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)
    pilots = [pilots_folder(one.home) / pilot_of(host) for one, host in zip((study, other), hosts, strict=True)]
    tokens = [token_of(pilot, 0).read_text() for pilot in pilots]
    assert tokens[0] != tokens[1] and all(stat.S_IMODE(token_of(pilot, 0).stat().st_mode) == 0o600 for pilot in pilots)
    address = read_whole(pilots[0] / JOIN)["address"]
    assert knock(address, token_of(pilots[0], 0)) == "", "its own token opens it"
    assert "nauthenticated" in knock(address, token_of(pilots[1], 0))
    assert "nauthenticated" in knock(address, None)


def test_a_disk_that_fails_for_a_moment_ends_no_pilot_job(study: Study) -> None:
    (host,) = study.hosts()
    folder = pilots_folder(study.home) / pilot_of(host.name)
    (folder / ORDERS).rename(folder / "away")
    before = read_whole(folder / STATE)["counter"]
    wait_until(lambda: read_whole(folder / STATE)["counter"] > before + 1 or read_whole(folder / OVER), "its agent")
    (folder / "away").rename(folder / ORDERS)
    done = study.submission("write", host.name)
    study.backend.submit([done])
    assert study.until(done.attempt, "ended").ending == "ok"


def test_a_driver_that_died_before_it_recorded_its_pilot_job_is_succeeded(
    site: Site, study: Study, other: Study, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By what the agent says where there is one, else by the name of the job: nothing is asked for twice."""
    (host,) = study.hosts()
    (pilots_folder(study.home) / pilot_of(host.name) / JOB).unlink()
    study.next()
    assert study.hosts() == [host] and len(study.jobs(site)) == 1
    other.hosts()  # now the node is full
    late = Study(tmp_path_factory.mktemp("late"), slurm_settings())
    wait_until(lambda: late.backend.hosts() and late.jobs(site), "one that waits in the queue")
    (folder,) = pilots_folder(late.home).iterdir()
    (folder / JOB).unlink()
    successor = late.next()
    successor.poll()  # before anything has looked for room
    for _ in range(8):
        assert [one.name for one in successor.hosts()] == [PENDING_HOST]
        time.sleep(0.25)
    assert len(late.jobs(site)) == 1 and len(list(pilots_folder(late.home).iterdir())) == 1
    successor.close()
    wait_until(lambda: not late.jobs(site), "the end of one that nobody needs any more")


def test_an_agent_that_is_killed_loses_its_attempts_for_nothing(site: Site, other: Study) -> None:
    (host,) = other.hosts()
    long = other.submission("until asked", host.name)
    other.backend.submit([long])
    other.until(long.attempt, "running")
    processes, folder = ray_of(other), temporary_of(other)
    other.agent().kill()
    report = other.until(long.attempt, "ended")
    assert report.ending == "node_lost" and "ended with -9" in report.detail, report
    assert not folder.exists() and not any(map(alive, processes))


def test_a_pilot_job_that_is_cancelled_from_outside_costs_its_attempts_nothing(
    site: Site, study: Study, other: Study
) -> None:
    (host,) = other.hosts()
    neighbour = study.submission("until asked", study.hosts()[0].name)
    study.backend.submit([neighbour])
    long = other.submission("until asked", host.name)
    other.backend.submit([long])
    other.until(long.attempt, "running")
    processes, folder = ray_of(other), temporary_of(other)
    site.call("scancel", *other.jobs(site))
    report = other.until(long.attempt, "ended")
    assert report.ending == "interrupted", report
    wait_until(lambda: not folder.exists() and not any(map(alive, processes)), "nothing of its Ray on the node", 30.0)
    wait_until(lambda: other.backend.hosts()[0].name != host.name, "the end of the first", 30.0)
    (again,) = other.hosts()
    done = other.submission("write", again.name)
    other.backend.submit([done])
    assert other.until(done.attempt, "ended").ending == "ok"
    assert study.backend.poll()[neighbour.attempt].phase == "running", "the other pilot job was not touched"
    study.backend.kill([neighbour.attempt])
    study.until(neighbour.attempt, "ended")


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.long
def test_a_pilot_job_that_is_requeued_comes_back_as_another_ray(site: Site, other: Study) -> None:
    (host,) = other.hosts()
    long = other.submission("until asked", host.name)
    other.backend.submit([long])
    other.until(long.attempt, "running")
    (job,) = other.jobs(site)
    site.call("scontrol", "requeue", job)
    report = other.until(long.attempt, "ended")
    assert report.ending in ("interrupted", "preempted"), report
    wait_until(lambda: "PENDING" in site.call("squeue", "-h", "-j", job, "-o", "%T"), "the requeue", 30.0)
    site.call("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM would wait two minutes
    (again,) = other.hosts()
    assert again.name == f"{host.name}.r1" and other.jobs(site) == [job]
    done = other.submission("write", again.name)
    other.backend.submit([done])
    assert other.until(done.attempt, "ended").ending == "ok"
    assert other.backend.poll()[long.attempt] == report


def test_a_pilot_job_whose_time_is_nearly_over_lets_its_attempts_save(site: Site, other: Study) -> None:
    (host,) = other.hosts()
    long = other.submission("until asked", host.name)
    other.backend.submit([long])
    other.until(long.attempt, "running")
    site.call("scancel", "--signal=USR2", *other.jobs(site))
    report = other.until(long.attempt, "ended")
    assert report.ending == "interrupted" and "exit 3" in report.detail, report
    wait_until(lambda: not other.jobs(site), "the pilot job's end", 20.0)


def test_a_job_that_waits_is_taken_up_by_a_driver_whose_stages_all_use_pilot_jobs(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The cluster file has changed in between: the job would begin beside another attempt."""
    home = tmp_path_factory.mktemp("changed")
    site.call("scontrol", "update", "PartitionName=long", "State=DOWN")
    try:
        first = Study(home, slurm_settings(None))
        submission = first.submission("write", QUEUE)
        tickets = first.backend.submit([submission])
        first.backend.close()
        successor = driver(home, first.digest, slurm_settings())
        successor.adopt([Adoption.of(submission, tickets[submission.attempt])])
        assert successor.poll()[submission.attempt].phase == "waiting"
        successor.kill([submission.attempt])
        wait_until(lambda: successor.poll()[submission.attempt].phase == "ended", "the end of the job")
        assert [host.name for host in successor.hosts()] == [PENDING_HOST]
        successor.close()
    finally:
        site.call("scontrol", "update", "PartitionName=long", "State=UP")
        site.clear()


@pytest.mark.long
def test_an_attempt_in_a_pilot_job_is_adopted_by_a_driver_without_pilot_settings(other: Study) -> None:
    """The cluster file has changed in between: no cancel would reach it, and one not yet begun would be done twice."""
    host = other.hosts()[0].name
    long = other.submission("until asked", host)
    tickets = other.backend.submit([long])
    other.until(long.attempt, "running")
    other.backend.close()
    successor = driver(other.home, other.digest, slurm_settings(None))
    successor.adopt([Adoption.of(long, tickets[long.attempt])])
    wait_until(lambda: successor.poll()[long.attempt].phase == "running", "the attempt")
    assert [one.name for one in targets(successor) if one.stages is None or "data" in one.stages] == [QUEUE]
    successor.stop([long.attempt])
    wait_until(lambda: successor.poll()[long.attempt].phase == "ended", "its end")
    successor.close()
    other.next()


def test_slurm_is_asked_once_for_jobs_and_pilot_jobs_together(
    site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.clear()
    home, counting = tmp_path_factory.mktemp("both"), tmp_path_factory.mktemp("bin") / "squeue"
    counting.write_text(f'#!/bin/sh\necho asked >> {home}/asked\nexec {shutil.which("squeue")} "$@"\n')
    counting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{counting.parent}:{os.environ['PATH']}")
    study = Study(home, slurm_settings(replace(SMALL, stages=("data",)), poll_s=600.0))
    for _ in range(4):
        assert [one.name for one in targets(study.backend)] == [QUEUE, PENDING_HOST]
        study.backend.poll()
        time.sleep(READ_S)
    assert len(study.jobs(site)) == 1, "a pilot job was submitted"
    assert (home / "asked").read_text() == "asked\n"
    study.backend.close()
    site.clear()


def test_a_pilot_job_in_which_no_warm_server_starts_is_given_no_attempt(
    site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes to nothing, and says why: an attempt would be charged for it."""
    site.clear()
    monkeypatch.setattr(pool, "MAX_FAILURES", 1)
    home = tmp_path_factory.mktemp("cold")
    server = (sys.executable, "-c", "raise ImportError('no torch here')")
    backend = driver(home, "", slurm_settings(), server=server)
    deadline = time.monotonic() + 120.0
    with pytest.raises(BackendError, match="no warm server starts in it: ImportError: no torch here"):
        while time.monotonic() < deadline:
            assert [host.name for host in backend.hosts()] == [PENDING_HOST]
            time.sleep(0.1)
    backend.close()


def test_a_queue_that_takes_no_more_jobs_is_waited_for(
    site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the study's other stages may be what fills it."""
    site.clear()
    monkeypatch.setattr(pool, "RETRY_S", 0.5)
    study = Study(tmp_path_factory.mktemp("full"), slurm_settings())
    limit = ("sacctmgr", "-i", "modify", "account", "study", "set")
    held = site.call("sbatch", "--parsable", "--hold", "-o", "/dev/null", "--wrap", "true")
    site.call(*limit, "GrpSubmitJobs=1")
    try:
        for _ in range(8):
            assert [host.name for host in study.backend.hosts()] == [PENDING_HOST]
            time.sleep(0.5)
        assert isinstance(study.backend, Autoscaling)
        assert study.backend.pending_hosts().startswith("SLURM takes no pilot job now: error: AssocGrpSubmitJobsLimit")
        assert list(pilots_folder(study.home).iterdir()) == []
        site.call("scancel", held)
        wait_until(lambda: study.backend.hosts() and study.jobs(site), "a pilot job")
        assert "AssocGrpSubmitJobsLimit" not in study.backend.pending_hosts()
    finally:
        site.call(*limit, "GrpSubmitJobs=-1")
        study.backend.close()
        site.clear()


def test_two_nodes_are_two_hosts_and_nothing_is_left_once_they_have_idled(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Beside them the jobs of other stages are jobs of SLURM."""
    pilot = PilotSettings(cpus=2, memory_gib=3.5, minutes=30.0, nodes=2, allocations=1, stages=("data",))
    study = Study(tmp_path_factory.mktemp("two"), slurm_settings(pilot), idle_s=8.0)
    (plain, promised) = targets(study.backend)
    assert (plain.name, promised.name, promised.stages) == (QUEUE, PENDING_HOST, ("data",))
    assert plain.stages is not None and "data" not in plain.stages and "train" in plain.stages
    job = study.submission("write", QUEUE)
    study.backend.submit([job])
    hosts = study.hosts(2)
    assert sorted(host.name.partition(".")[2] for host in hosts) == ["n1", "n2"]
    assert [(host.cpus, host.memory_gib) for host in hosts] == [(2, 1.5), (2, 1.5)]
    submissions = [study.submission("write", host.name) for host in hosts]
    study.backend.submit(submissions)  # at once: the pilot job ends after seconds without an attempt
    processes, folder = ray_of(study), temporary_of(study)
    assert [study.until(one.attempt, "ended").ending for one in submissions] == ["ok", "ok"]
    assert study.until(job.attempt, "ended").ending == "ok"
    wait_until(lambda: not study.jobs(site), "the end of a pilot job that nobody needs")
    wait_until(lambda: not folder.exists() and not any(map(alive, processes)), "nothing of its Ray on the nodes", 30.0)
    assert not [line for line in Path("/proc/net/unix").read_text().splitlines() if str(folder) in line]
    study.backend.poll()
    assert [one.name for one in targets(study.backend)] == [QUEUE, PENDING_HOST]
    study.backend.close()
    wait_until(lambda: not study.jobs(site), "the end of one that was asked for and never begun")
