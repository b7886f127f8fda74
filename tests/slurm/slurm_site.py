"""The test cluster as the tests see it."""

import importlib.machinery
import importlib.util
import subprocess
import time
from pathlib import Path
from types import ModuleType

DEV = Path(__file__).resolve().parents[2] / "cluster" / "slurm" / "dev"
CHAOS = Path(__file__).resolve().parents[1] / "chaos"
"""The small study and the proof of its results."""


class Site:
    """The test cluster: client commands and daemons to kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = dev_module().environment(folder)

    def call(self, *command: str) -> str:
        """What a client command prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def daemon(self, name: str, act: str) -> None:
        """Start, stop or kill one daemon."""
        subprocess.run([str(DEV), "daemon", name, act, str(self.folder)], check=True, timeout=90)

    def clear(self) -> None:
        """Cancel all jobs until none is left: a slurmctld that is killed forgets what it was told last."""
        deadline = time.monotonic() + 120.0
        while self.call("squeue", "--noheader"):
            assert time.monotonic() < deadline, "jobs that cannot be cancelled"
            self.call("scancel", "--user=root")
            time.sleep(0.5)

    def jobs(self) -> set[str]:
        """The ids of all jobs that slurmctld remembers: the ended ones of earlier tests too, for a while."""
        return set(self.call("squeue", "--noheader", "--states=all", "--format=%A").split())

    def state(self, job: str) -> str:
        """The accounting's word for a job; empty while it has none."""
        return self.call("sacct", "-nXP", "-j", job, "-o", "state")


def dev_module() -> ModuleType:
    """`cluster/slurm/dev`, which has no suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader("slurm_dev", str(DEV))
    spec = importlib.util.spec_from_loader("slurm_dev", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
