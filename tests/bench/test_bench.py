"""Ratios against peers, taken in one run on one machine; `make bench` prints them. No absolute time is asserted."""

import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import submitit
from bench_workload import WORKLOAD
from one_step import step
from recorded_run import run as record_run
from recorded_run import write_matrix
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from timing import say, seconds
from toy_study import Settings, make_job, make_plan

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.plan.build import build_plan
from orchestrator.plan.diff import standings
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.run import run
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.store.files import FilesStore
from orchestrator.store.location import StoreLocation
from orchestrator.study import open_study
from workloads.evaluation.psnr_ssim import psnr, ssim

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
JOBS = 100
PEER_JOBS = 8


@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 16), (32, 32), (64, 64)])
def test_psnr_and_ssim_of_a_clip_against_scikit_image(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (33, height, width, 3), dtype=np.uint8)
    b = np.clip(a.astype(int) + rng.integers(-20, 21, a.shape), 0, 255).astype(np.uint8)

    def peer() -> list[tuple[float, float]]:
        return [
            (peak_signal_noise_ratio(x, y, data_range=255), structural_similarity(x, y, channel_axis=2, data_range=255))
            for x, y in zip(a, b, strict=True)
        ]

    expected = np.array(peer())
    assert np.abs(psnr(a, b) - expected[:, 0]).max() < 1e-4
    assert np.abs(ssim(a, b) - expected[:, 1]).max() < 1e-4
    ours = seconds(lambda: (psnr(a, b), ssim(a, b)), 25)
    say(f"PSNR + SSIM of 33 frames of {height}x{width}", ours, seconds(peer, 5), "scikit-image")


def test_expand_and_plan_ten_thousand_cells() -> None:
    matrix = load_matrix(HERE.parents[1] / "matrix.yaml")
    seeds = ",".join(str(seed) for seed in range(715))
    resolved = resolve_profile(matrix, "laptop", [f"seeds=[{seeds}]"])
    plan = build_plan(resolved, expand(resolved))
    say(
        f"expand and plan {len(plan.cells)} cells, {len(plan.jobs)} jobs",
        seconds(lambda: build_plan(resolved, expand(resolved)), 3),
    )
    done = frozenset(job.fingerprint for job in plan.jobs.values())
    say("where they stand, all done", seconds(lambda: standings(plan, done, {}, {}), 3))


def test_cpu_of_help_and_of_status_on_a_finished_study(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path / "matrix.yaml")
    record_run(open_study(matrix), 1.0, "*")
    bare = cpu_seconds([sys.executable, "-c", "pass"], tmp_path)
    program = [sys.executable, "-m", "orchestrator.cli"]
    for line in (["--help"], ["status"], ["status", "--json"], ["plan"]):
        taken = cpu_seconds([*program, *line], tmp_path)
        say(f"CPU of echo-matrix {' '.join(line)}", taken, bare, "python -c pass")


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a command, the least of five."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def test_orchestration_of_a_job_against_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"spec": WORKLOAD.by_name["data"], "workload": "bench_workload"}
    jobs = [replace(make_job("data", f"data/{n}"), config={"data": {"n": n}}, **ours) for n in range(JOBS)]
    plan = make_plan(jobs)
    store = FilesStore(tmp_path / "store")
    server = (sys.executable, str(HERE / "bench_server.py"))
    began = time.perf_counter()
    backend = RayBackend(
        BackendContext(home=tmp_path, store=StoreLocation(folder=str(tmp_path / "store")), server=server), RaySettings()
    )
    backend.hosts()
    say("start of Ray and a warm host", time.perf_counter() - began)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        outcome = run(
            plan,
            list(plan.jobs),
            home=tmp_path,
            store=store,
            ledger=ledger,
            backend_factory=lambda: backend,
            cluster=Settings(),
        )
    assert outcome.exit_code == 0
    commits = [store.read(fingerprint) for fingerprint in store.commits()]
    each = (max(c.ended for c in commits) - min(c.started for c in commits)) / JOBS

    monkeypatch.setenv("PYTHONPATH", str(HERE))  # submitit imports the step by name
    executor = submitit.LocalExecutor(tmp_path / "submitit")
    executor.update_parameters(timeout_min=5)
    began = time.perf_counter()
    results = [job.result() for job in [executor.submit(step) for _ in range(PEER_JOBS)]]
    assert len(results) == PEER_JOBS
    say("a job, first start to last COMMIT", each, (time.perf_counter() - began) / PEER_JOBS, "submitit local")
