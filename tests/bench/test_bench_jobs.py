"""What a job costs beside what it computes, here and with peers: each is one optimiser step of a small network.

Of a peer, the time of many jobs less that of two, over their difference: its start is not counted. Of ours, from the
first start to the last commit record of a hundred jobs.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bench_workload import WORKLOAD
from peer_environment import ENVIRONMENT, peers
from timing import cpu_seconds, say
from toy_study import drive, make_job, make_plan

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.store.files import FilesStore
from orchestrator.store.location import StoreLocation

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
JOBS = 100
FEW, MANY = 2, 8
MANY_LIGHT = 402
"""Of peers that start no process for a job: with fewer, the noise of their start is larger than all jobs."""
WHAT = "a job of one optimiser step"


def of_ours(folder: Path, stage: str, *, tell_start: bool = False) -> float:
    """Seconds a job of the Ray backend; `stage`: of `bench_workload`."""
    spec = {"spec": WORKLOAD.by_name[stage], "workload": "bench_workload"}
    jobs = [replace(make_job("data", f"{stage}/{n}"), config={"data": {"n": n}}, **spec) for n in range(JOBS)]
    plan = make_plan(jobs)
    store = FilesStore(folder / "store")
    location = StoreLocation(folder=str(folder / "store"))
    server = (sys.executable, str(HERE / "bench_server.py"))
    began = time.perf_counter()
    backend = RayBackend(BackendContext(home=folder, store=location, server=server), RaySettings())
    backend.hosts()
    if tell_start:
        say("start of Ray and a warm host", time.perf_counter() - began, group="jobs")
    outcome = drive(plan, folder, store, backend)
    assert outcome.exit_code == 0
    commits = [store.read(fingerprint) for fingerprint in store.commits()]
    return (max(c.ended for c in commits) - min(c.started for c in commits)) / JOBS


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds a job of one step."""
    return of_ours(tmp_path_factory.mktemp("ours"), "data", tell_start=True)


def test_a_job_that_computes_nothing(tmp_path: Path) -> None:
    say("a job that has imported torch", of_ours(tmp_path, "idle"), group="jobs")


def each(seconds: Callable[[int], float], many: int = MANY) -> float:
    """Seconds of each further job, where `seconds` is the time of so many."""
    few = seconds(FEW)
    found = (seconds(many) - few) / (many - FEW)
    assert found > 0, f"{many} jobs took less than {FEW}: the start varies by more than the jobs take"
    return found


def said_seconds(program: str, *arguments: object) -> float:
    """What a program of `peers/` prints."""
    command = [sys.executable, str(HERE / "peers" / program), *map(str, arguments)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    )
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def wall_seconds(command: list[str], folder: Path) -> float:
    """Seconds of a command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - began


def test_a_job_against_submitit(ours: float) -> None:
    say(WHAT, ours, each(lambda jobs: said_seconds("submitit_steps.py", jobs)), "submitit local", group="jobs")


@pytest.mark.parametrize(("name", "reuse", "many"), [("Ray Tune", 0, MANY), ("Ray Tune, actors reused", 1, MANY_LIGHT)])
def test_a_job_against_ray_tune(ours: float, name: str, reuse: int, many: int) -> None:
    say(WHAT, ours, each(lambda jobs: said_seconds("tune_steps.py", jobs, reuse), many), name, group="jobs")


def test_a_job_against_snakemake(ours: float, tmp_path: Path) -> None:
    say(
        WHAT, ours, each(lambda jobs: wall_seconds(snakemake(jobs), _folder(tmp_path, jobs))), "Snakemake", group="jobs"
    )


def test_a_job_against_hydras_joblib_launcher(ours: float, tmp_path: Path) -> None:
    found = each(lambda jobs: wall_seconds(hydra(jobs), _folder(tmp_path, jobs)), MANY_LIGHT)
    say(WHAT, ours, found, "Hydra with joblib", group="jobs")


def snakemake(jobs: int, *options: str) -> list[str]:
    """Its command for so many jobs, two at a time."""
    where = [f"python={sys.executable}", f"step={HERE / 'peers' / 'print_step.py'}", f"jobs={jobs}"]
    file = str(HERE / "peers" / "Snakefile")
    return [str(peers()), "-m", "snakemake", "-s", file, "-j", "2", "-q", *options, "--config", *where]


def hydra(jobs: int) -> list[str]:
    """Its command for so many jobs, two at a time."""
    program = str(HERE / "peers" / "hydra_steps.py")
    chosen = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"+n=range({jobs})"]
    return [str(peers()), program, "--multirun", *chosen]


@pytest.mark.parametrize("jobs", [100, 1000])
def test_snakemake_again(tmp_path: Path, jobs: int) -> None:
    for n in range(jobs):
        (tmp_path / f"{n}.txt").touch()
    taken = cpu_seconds(snakemake(jobs, "--rerun-triggers", "mtime", "--nolock"), tmp_path, 2, ENVIRONMENT)
    say("run of Snakemake", taken, group="growth", size=jobs)


def _folder(parent: Path, jobs: int) -> Path:
    path = parent / str(jobs)
    path.mkdir()
    return path
