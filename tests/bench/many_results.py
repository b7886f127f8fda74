"""A finished study of any number of jobs: the shipped matrix with as many seeds, driven through on the fake backend.

Its artifacts are small and real: every evaluation has cases of a few metrics and an image, every training a curve.
"""

import json
import random
import struct
import zlib
from pathlib import Path

from recorded_run import record
from toy_study import commit_of

from orchestrator.backends.fake.backend import FakeBackend
from orchestrator.backends.protocol import HostShare
from orchestrator.opening import open_study
from orchestrator.plan.job import Job
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.run import RunResult, run
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Commit
from orchestrator.study import Study
from workloads.contract.metrics import CASES, METRICS

CASES_OF_A_BRANCH = 8
STEPS = 50
MEASURED = (("psnr_truth_last", "dB", "high"), ("ssim_truth_last", "1", "high"), ("psnr", "dB", "high"))


def finished_of(matrix: Path, seeds: int) -> Study:
    """The study of `matrix` with so many seeds, all jobs done, its plan recorded; `ECHO_MATRIX_HOME` says where."""
    study = open_study(matrix, overrides=[seeds_override(seeds)])
    drive(study)
    return record(study, 1.0)


def seeds_override(seeds: int) -> str:
    """The argument of the command line."""
    return f"seeds=[{','.join(map(str, range(seeds)))}]"


def drive(study: Study) -> RunResult:
    """Run everything that is missing, with as many processors as there are jobs."""
    store = _WithFiles(study)
    with Ledger.open(study.home / NAME, rebuild=rebuilder(study.home, store)) as ledger:
        clock = SimulatedClock()
        host = HostShare(name="fake-0", cpus=1000, devices=0, memory_gib=1e6)
        return run(
            study.plan,
            list(study.plan.jobs),
            home=study.home,
            store=store,
            ledger=ledger,
            backend_factory=lambda: FakeBackend(store=store, now=clock.monotonic, hosts=[host]),
            cluster=study.cluster,
            clock=clock,
        )


def change_one(study: Study, change: str) -> None:
    """Make the last evaluation again, with other values; `change`: names the attempt, and decides the values."""
    job = next(job for job in reversed(study.plan.jobs.values()) if job.spec.images and job.branch is not None)
    study.store.withdraw(job.fingerprint)
    folder = study.store.prepare(job.stage, job.fingerprint, change)
    write_results(job, folder, change)
    assert study.store.commit(commit_of(job, change), folder)


class _WithFiles(FilesStore):
    """A store that adds to an artifact what a job of its stage would have written."""

    def __init__(self, study: Study) -> None:
        super().__init__(Path(study.store_location.folder))
        self._jobs = {job.fingerprint: job for job in study.plan.jobs.values()}

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        """See `FilesStore`."""
        write_results(self._jobs[commit_without_manifest.fingerprint], folder)
        return super().commit(commit_without_manifest, folder)


def write_results(job: Job, folder: Path, change: str = "") -> None:
    """What a finished job leaves, with values that depend on its fingerprint and on `change`."""
    values = random.Random(job.fingerprint + change)
    if job.spec.curve:
        lines = [
            {"step": step, "name": job.spec.curve, "value": 1 / step + values.random(), "wall": float(step)}
            for step in range(1, STEPS + 1)
        ]
        _write_lines(folder / METRICS, lines)
    for part in job.parts if job.branch is not None else ():
        place = folder / part
        place.mkdir(exist_ok=True)
        cases = [
            {
                "case": f"worlds/held-{case:04d}/0",
                "metric": f"{name}_{job.stage}",
                "unit": unit,
                "better": better,
                "value": values.gauss(10),
            }
            for case in range(CASES_OF_A_BRANCH)
            for name, unit, better in MEASURED
        ]
        _write_lines(place / CASES, cases)
        if job.spec.images:
            (place / job.spec.images).mkdir()
            (place / job.spec.images / "worlds_held-0000_0.png").write_bytes(grey_png(values.randrange(256)))


def _write_lines(path: Path, lines: list[dict[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def grey_png(shade: int, side: int = 16) -> bytes:
    """A square of one shade of grey."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes([shade]) * 3 * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
