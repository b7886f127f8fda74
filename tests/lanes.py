"""Test lanes: which `make` target runs a test. Decided here, by what a test uses, and nowhere else.

    fast      make test-fast   no Ray, DeepSpeed, MLflow or SLURM, no sleeping, at most 2 s a test
    service   make test        the fast lane and these: all that needs no root
    root      make test-root   SLURM, a browser, namespaces
    long      make test-long   whole matrices, calibrations, kill rounds
    bench     make bench       measures against a peer

A test is in the fast lane unless its folder or file is named below, or it carries `@pytest.mark.slow`
(a single slow test in a fast file), `root` or `long`. Nobody has to remember to name a file: a test of the
fast lane that starts or imports a service, or naps, fails there, and one that takes longer than 2 s is reported.
"""

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FAST, SERVICE, ROOT, LONG, BENCH = "fast", "service", "root", "long", "bench"
LANES = (FAST, SERVICE, ROOT, LONG, BENCH)
FOLDERS = {
    "bench": BENCH,
    "slurm": ROOT,
    "root": ROOT,
    # Real command lines, drivers and services, one process or more a test; the longest files first.
    "services": SERVICE,
    "s3": SERVICE,
    "chaos": SERVICE,
    "training": SERVICE,
    "tracking": SERVICE,
    "cli": SERVICE,
    "host": SERVICE,
}
FILES = {
    "backends/test_what_dies_under_ray.py": SERVICE,
    "backends/test_standing_ray.py": SERVICE,
    "backends/test_ray_gangs.py": SERVICE,
    "backends/test_ray_gang_training.py": LONG,
    "backends/test_ray_head.py": SERVICE,
    "backends/test_ray_refusals.py": SERVICE,
    "backends/test_ray_doctor.py": SERVICE,
    "backends/test_nodes_apart.py": SERVICE,
    "backends/test_ray_autoscaler.py": SERVICE,
    "backends/test_ray_backend.py": SERVICE,
    "backends/test_ray_backend_contract.py": SERVICE,
    "backends/test_guide_backend.py": SERVICE,
    "docs/test_documented_runs.py": SERVICE,
    "backends/test_ray_pipe.py": SERVICE,
    # Seconds of imports, or of convolutions.
    "data/test_latents_after_damage.py": SERVICE,
    "data/test_real_pool.py": SERVICE,
    "data/test_wan_codec.py": SERVICE,
    "evaluation/test_networks.py": SERVICE,
    "evaluation/test_resume_after_damage.py": SERVICE,
    # Every row's model, built and measured again and again.
    "model/test_against_the_slow_twin.py": SERVICE,
    "model/test_footprint.py": SERVICE,
    "model/test_wan_loading.py": SERVICE,
    "model/test_wan_parity.py": SERVICE,
}
"""A file's lane comes before its folder's. What stands first in these two is run first."""
SERVICES = ("ray", "mlflow", "deepspeed", "diffusers", "transformers", "sbatch", "slurmctld")
"""Modules that the fast lane never imports, and programs that it never starts; the first are seconds of imports."""
NAP_S = 0.25
"""A single sleep of more is no look at something that is about to happen."""
LONGEST_S = 2.0
HERE = Path(__file__).parent


def lane_of_file(path: Path) -> str:
    """The lane of the tests of a file, but for those that are marked."""
    if not path.is_relative_to(HERE):
        return FAST
    inside = path.relative_to(HERE)
    return FILES.get(inside.as_posix()) or FOLDERS.get(inside.parts[0], FAST)


def lane_of(path: Path, marks: Sequence[str]) -> str:
    """The lane of one test, given its file and the names of its marks."""
    lane = lane_of_file(path)
    if lane == BENCH:
        return lane
    if LONG in marks:
        return LONG
    if ROOT in marks or lane == ROOT:
        return ROOT
    return SERVICE if "slow" in marks else lane


class Watch:
    """What a test of the fast lane starts, imports and sleeps."""

    def __init__(self) -> None:
        """Begin to look; there is one in a process, since an audit hook cannot be taken away."""
        self._broken: list[str] = []
        self._before: set[str] = set()
        self._sleep = time.sleep
        sys.addaudithook(self._audit)
        time.sleep = self._counted

    def begin(self) -> None:
        """A test begins, or a file is imported."""
        self._broken.clear()
        self._before = self._services()

    def broken(self) -> list[str]:
        """Why the test or file does not belong into the fast lane; empty: it does."""
        imported = [f"imports {name}" for name in SERVICES if name in self._services() - self._before]
        return [*dict.fromkeys(self._broken), *imported]

    @staticmethod
    def _services() -> set[str]:
        """Those that are imported; None stands for one that a test takes away."""
        return {name for name in SERVICES if sys.modules.get(name) is not None}

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "subprocess.Popen":
            return
        words = arguments[1] if isinstance(arguments[1], list | tuple) else str(arguments[1]).split()
        for word in map(str, words):
            parts = {Path(word).name, word.partition(".")[0], *word.split(".")}
            self._broken += [f"starts {' '.join(map(str, words))[:80]}" for name in SERVICES if name in parts]

    def _counted(self, seconds: float, /) -> None:
        if seconds > NAP_S and threading.current_thread() is threading.main_thread():
            self._broken.append(f"sleeps {seconds:g} s")
        self._sleep(seconds)
