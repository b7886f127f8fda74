"""In a busy queue a job with an estimated time limit begins ahead of its turn, and loses nothing if that was short."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from busy_queue import fill
from slurm_site import Site
from slurm_study import wait_until
from test_pilot_jobs import Study, slurm_settings
from test_slurm_backend_contract import make_backend

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))

from toy_jobs import as_submission, toy_submission

from orchestrator.backends.protocol import ExpectedTime, ExpectedWork
from orchestrator.backends.slurm.core.backend import QUEUE
from orchestrator.backends.slurm.core.time_limit import ENOUGH
from orchestrator.spec.cell import Resources


@pytest.mark.long  # a minute, most of it waiting
def test_backfill_takes_what_was_measured_to_be_short_and_the_start_of_the_rest_is_predicted(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    home = tmp_path / "toy"
    backend = make_backend(home)
    unknown, measured = (
        as_submission(toy_submission(home, "until asked", memory_gib=0.5, minutes=30), QUEUE) for _ in range(2)
    )
    measured = replace(measured, expected=ExpectedTime(seconds=5.0, observations=ENOUGH))
    busy = fill(site, minutes=8, take_s=600, then_s=1)
    try:
        wait_until(lambda: all(site.call("squeue", "-hj", one, "-o", "%T") == "RUNNING" for one in busy.running), "it")
        tickets = backend.submit([unknown, measured])
        wait_until(lambda: backend.poll()[measured.attempt].phase == "running", "the measured one begins")
        assert site.call("squeue", "-h", "-j", busy.waiting, "-o", "%T") == "PENDING"
        wait_until(lambda: "may start at 2" in backend.poll()[unknown.attempt].detail, "a predicted start")
        assert backend.poll()[unknown.attempt].phase == "waiting"
        backend.stop([unknown.attempt])

        # It takes longer than was measured: SLURM asks it to save, and the ending says that the limit was estimated.
        here = Path(str(measured.request["work"])) / "here-0"
        wait_until(here.exists, "its rank")
        site.call("scontrol", "update", f"JobId={tickets[measured.attempt]}", "EndTime=now+60")
        wait_until(lambda: backend.poll()[measured.attempt].phase == "ended", "its end")
        ended = backend.poll()[measured.attempt]
        assert (ended.ending, ended.short_limit) == ("timed_out", True)
        assert ended.detail.startswith("SIGUSR2 ahead of the job's limit: ")
    finally:
        backend.close()
        site.clear()


def test_a_pilot_job_asks_slurm_for_the_time_that_its_work_needs(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    size = Resources(cpus=1, devices=0, memory_gib=0.5, minutes=30)
    work = ExpectedWork(jobs=20, seconds=60.0, longest_s=9.0, observations=ENOUGH)
    site.call("scontrol", "update", "PartitionName=long", "State=DOWN")
    try:
        limits = {}
        for name, known in (("measured", {("data", size): work}), ("unknown", {})):
            study = Study(tmp_path / name, slurm_settings())
            study.backend.expected_work(known)
            study.backend.hosts()
            (limits[name],) = [
                line.split()[0]
                for line in site.call("squeue", "--noheader", "--format=%l %j").splitlines()
                if f"em:{name}:pilot:" in line
            ]
            study.backend.close()
        assert limits == {"measured": "4:00", "unknown": "30:00"}
    finally:
        site.call("scontrol", "update", "PartitionName=long", "State=UP")
        site.clear()
