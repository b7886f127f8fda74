"""Packed mode on a real SLURM: many attempts in one allocation, whose Ray is nobody else's."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "contracts"), str(TESTS)]

from backend_contract import LastingBackendContract, Stage, Wanted  # noqa: E402
from slurm_site import Site  # noqa: E402
from toy_jobs import SERVER, as_submission, toy_submission, wait_until  # noqa: E402

from orchestrator.backends.protocol import HostShare, Report, Submission  # noqa: E402
from orchestrator.backends.slurm.packed.backend import PROMISE, PackedBackend  # noqa: E402
from orchestrator.host.code import copy_code  # noqa: E402
from orchestrator.spec.slurm import Packed, Slurm  # noqa: E402
from orchestrator.store.registry import make_store  # noqa: E402

pytestmark = [pytest.mark.slurm]

DO = {"ok": "write", "error": "fail", "bad_input": "refuse", "out_of_memory": "no memory", "long": "until asked"}
SMALL = Packed(cpus=2, memory_gib=4.0, minutes=30.0, allocations=1)


@dataclass
class Cluster:
    """What the backend takes from cluster/slurm.yaml."""

    packed: Packed = SMALL
    grace_s: float = 20.0
    idle_s: float = 600.0
    orphan_s: float = 600.0
    slurm: Slurm = field(init=False)

    def __post_init__(self) -> None:
        self.slurm = Slurm(poll_s=0.5, packed=self.packed)


class Study:
    """Drivers of one study, one after the other."""

    def __init__(self, home: Path, cluster: Cluster) -> None:
        self.home, self.cluster = home, cluster
        self.digest, _ = copy_code(home)
        self.store = make_store("files", home / "store")
        self.backend = self.next()

    def next(self) -> PackedBackend:
        self.backend = PackedBackend(self.home, "files", self.home / "store", self.cluster, self.digest, server=SERVER)
        return self.backend

    def hosts(self, number: int = 1) -> list[HostShare]:
        """The hosts, once there are so many."""

        def there() -> list[HostShare]:
            found = [host for host in self.backend.hosts() if host.name != PROMISE]
            return found if len(found) >= number else []

        found: list[HostShare] = wait_until(there, f"{number} hosts", 90.0)
        return found

    def submission(self, do: str, host: str, **more: float) -> Submission:
        return as_submission(toy_submission(self.home, do, memory_gib=0.5, **more), host)

    def until(self, attempt: str, phase: str) -> Report:
        found: Report = wait_until(
            lambda: (report := self.backend.poll()[attempt]).phase == phase and report, f"{attempt} {phase}", 90.0
        )
        return found

    def jobs(self, site: Site) -> list[str]:
        """The numbers of its allocations that SLURM has."""
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
    made = Study(tmp_path_factory.mktemp("toy"), Cluster())
    yield made
    made.backend.close()
    if jobs := made.jobs(site):
        site.call("scancel", *jobs)


class TestPackedBackend(LastingBackendContract):
    """All in one allocation: each test has a driver of its own."""

    @pytest.fixture
    def stage(self, study: Study) -> Iterator[Stage]:
        backend = study.next()
        host = study.hosts()[0].name

        def submission(wanted: Wanted) -> Submission:
            return study.submission(DO[wanted], host)

        made = Stage(
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
