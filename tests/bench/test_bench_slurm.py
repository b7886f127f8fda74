"""1,000 jobs given to a real SLURM by one driver, beside submitit's own `submit`; and short jobs in a busy queue."""

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
from toy_study import ONE_CPU, Settings, make_duration, make_job, make_plan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slurm"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))

from busy_queue import GAP_CPUS, fill
from slurm_site import DEV, Site, dev_module
from toy_jobs import toy_context, wait_until
from toy_workload import WORKLOAD as TOY

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Backend
from orchestrator.backends.slurm.backend import slurm_backend
from orchestrator.backends.slurm.core.backend import JobBackend
from orchestrator.backends.slurm.core.time_limit import ENOUGH
from orchestrator.backends.slurm.preflight.site import read_site
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, SlurmStage
from orchestrator.host.code import copy_code
from orchestrator.schedule.events import Event
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.run import run
from orchestrator.spec.cell import Resources
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

SHORT_JOBS = 16
MINUTES = 30
"""What one of them may take."""
MEASURED_S = 3.0
"""What they have taken before."""
TAKE_S, THEN_S = 120, 45
"""What the jobs of others take that leave a gap, and the one that waits for all."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A cluster with room for all jobs."""
    folder = tmp_path / "site"
    subprocess.run([str(DEV), "start", str(folder)], check=True, stdout=subprocess.DEVNULL, timeout=180)
    try:
        site = Site(folder)
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
    site.call("scontrol", "update", "PartitionName=long", "State=DOWN")  # takes jobs and starts none
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


def make_backend(home: Path, slurm: SlurmSettings, *, one_by_one: bool) -> Backend:
    """With `one_by_one`, each job is a submission of its own."""
    digest, _ = copy_code(home)
    context = toy_context(home, stages=("data",), code_digest=digest, idle_s=20.0)
    if not one_by_one:
        return slurm_backend(context, slurm)
    backend = JobBackend(context, slurm)
    backend._site = replace(read_site(), array_size=1)
    return backend


def seconds_in_a_busy_queue(site: Site, home: Path, slurm: SlurmSettings, *, one_by_one: bool = False) -> float:
    """From the start of a run of short jobs until the last has its result, in a queue that others have filled."""
    size = Resources(cpus=1, devices=0, memory_gib=0.5, minutes=MINUTES)
    jobs = [
        replace(
            make_job("data", f"data/{n}"),
            spec=TOY.by_name["data"],
            workload="toy_workload",
            resources=size,
            config={"data": {"do": "compute", "n": n}},
        )
        for n in range(SHORT_JOBS)
    ]
    plan = replace(make_plan(jobs), workload_name="toy_workload", workload=TOY)
    known = make_duration(profile=plan.profile, backend="slurm", kind="cpu", seconds=MEASURED_S)
    site.clear()
    busy = fill(site, minutes=10, take_s=TAKE_S, then_s=THEN_S)
    wait_until(
        lambda: all(site.call("squeue", "-hj", one, "-o", "%T") == "RUNNING" for one in busy.running), "others", 60
    )
    with Ledger.open(home / "ledger.sqlite") as ledger:
        for number in range(ENOUGH):
            ledger.record_duration(replace(known, fingerprint=f"{number:064x}"))
        began = time.perf_counter()
        ended = run(
            plan,
            list(plan.jobs),
            home=home,
            store=FilesStore(home / "store"),
            ledger=ledger,
            backend_factory=lambda: make_backend(home, slurm, one_by_one=one_by_one),
            cluster=Settings(backend="slurm"),
        )
    assert ended.counts == {"done": SHORT_JOBS}
    return time.perf_counter() - began


def test_short_jobs_find_gaps_in_a_busy_queue(site: Site, tmp_path: Path) -> None:
    as_written = SlurmStage(least_minutes=MINUTES)
    pilot = PilotSettings(cpus=GAP_CPUS, memory_gib=3.5, minutes=60.0, allocations=2)
    alone = seconds_in_a_busy_queue(
        site, tmp_path / "alone", SlurmSettings(every=as_written, poll_s=1.0), one_by_one=True
    )
    shaped = seconds_in_a_busy_queue(site, tmp_path / "shaped", SlurmSettings(poll_s=1.0))
    packed = seconds_in_a_busy_queue(site, tmp_path / "packed", SlurmSettings(poll_s=1.0, pilot=pilot))
    what = f"{SHORT_JOBS} short jobs in a busy queue, to the last result"
    say(f"{what}: estimated limits", shaped, alone, "one job a submission, limits as written")
    say(f"{what}: in pilot jobs", packed, alone, "one job a submission, limits as written")
    assert packed < alone
