"""1,000 jobs given to a real SLURM by one driver, beside submitit's own `submit`, on one cluster in one run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import submitit
from timing import say
from toy_study import ONE_CPU, Settings, make_job, make_plan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slurm"))

from slurm_site import DEV, Site, dev_module

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.slurm.core.backend import JobBackend
from orchestrator.backends.slurm.settings import SlurmSettings
from orchestrator.schedule.events import Event
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.run import run
from orchestrator.store.files import FilesStore
from orchestrator.store.location import StoreLocation

HAS_SLURM = all(
    dev_module().which(name) for name in ("sbatch", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "munged")
)
pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(os.geteuid() != 0, reason="the test cluster of SLURM needs root: slurmd starts jobs as users"),
    pytest.mark.skipif(not HAS_SLURM, reason="SLURM is not installed; `cluster/slurm/dev install` brings it"),
]

JOBS = 1000
PEER_JOBS = 100
"""Of submitit's, which rests 0.2 s before each."""
ARRAY = 200
"""What MaxArraySize of the test cluster allows; submitit does not cut by itself."""
BUDGET_S = 10.0


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A cluster that takes jobs and starts none, with room for all of them."""
    folder = tmp_path / "site"
    subprocess.run([str(DEV), "start", str(folder)], check=True, stdout=subprocess.DEVNULL, timeout=180)
    try:
        site = Site(folder)
        site.call("scontrol", "update", "PartitionName=long", "State=DOWN")
        site.call("sacctmgr", "-i", "modify", "account", "study", "set", f"MaxSubmitJobs={2 * JOBS}")
        monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
        yield site
    finally:
        subprocess.run([str(DEV), "stop", str(folder)], check=True, timeout=120)


def in_queue(site: Site) -> int:
    return len(site.call("squeue", "--noheader", "--array", "--Format=JobArrayID").splitlines())


def seconds_of_a_driver(home: Path) -> float:
    """From the start of a run until SLURM has all jobs: placed, booked in the ledger, handed over in arrays."""
    jobs = [
        replace(make_job("data", f"data/{n}"), resources=ONE_CPU, config={"data": {"source": "worlds", "n": n}})
        for n in range(JOBS)
    ]
    plan, store, settings = make_plan(jobs), FilesStore(home / "store"), Settings()
    submitted: list[float] = []

    def observe(event: Event) -> None:
        if event.kind == "submitted":
            submitted.append(time.perf_counter())
            if len(submitted) == JOBS:
                os.kill(os.getpid(), signal.SIGTERM)  # the driver leaves, and the jobs stay

    context = BackendContext(home=home, store=StoreLocation(folder=str(home / "store")))
    with Ledger.open(home / "ledger.sqlite") as ledger:
        began = time.perf_counter()
        run(
            plan,
            list(plan.jobs),
            home=home,
            store=store,
            ledger=ledger,
            backend_factory=lambda: JobBackend(context, SlurmSettings(max_jobs=JOBS, max_waiting=JOBS)),
            cluster=settings,
            observer=observe,
        )
        attempts = ledger.open_attempts()
    assert len({attempt.ticket for attempt in attempts if attempt.ticket}) == JOBS
    return submitted[-1] - began


def test_a_thousand_jobs_are_submitted_in_less_than_ten_seconds(site: Site, tmp_path: Path) -> None:
    ours = seconds_of_a_driver(tmp_path / "study")
    assert in_queue(site) == JOBS
    site.call("scancel", "--user", "root")

    executor = submitit.AutoExecutor(tmp_path / "submitit", cluster="slurm")
    executor.update_parameters(timeout_min=5, cpus_per_task=1, mem_gb=1, slurm_array_parallelism=ARRAY)
    began = time.perf_counter()
    for number in range(PEER_JOBS):
        executor.submit(abs, number)
    peer = time.perf_counter() - began
    assert in_queue(site) == PEER_JOBS
    began = time.perf_counter()
    for _ in range(JOBS // ARRAY):
        with executor.batch():
            for number in range(ARRAY):
                executor.submit(abs, number)
    arrays = time.perf_counter() - began
    assert in_queue(site) == PEER_JOBS + JOBS
    site.call("scancel", "--user", "root")

    say(
        f"{JOBS} jobs from a run's start until SLURM has them",
        ours,
        arrays,
        f"submitit's arrays, cut by hand at {ARRAY}",
    )
    say("a job of them", ours / JOBS, peer / PEER_JOBS, f"submitit's submit ({PEER_JOBS} jobs)")
    assert ours < BUDGET_S
