"""What a real site does not allow is found by `doctor`, and by `run` before anything is submitted or booked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slurm_site import Site

from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.slurm.preflight.check import preflight
from orchestrator.backends.slurm.preflight.limits import Shape
from orchestrator.backends.slurm.preflight.site import read_site
from orchestrator.opening import open_study
from orchestrator.schedule.ledger.database import NAME, Ledger
from workloads.study.workload import WORKLOAD

ECHO_MATRIX = Path(sys.executable).with_name("echo-matrix")


class Folder:
    """A copy of the study with cluster/slurm.yaml beside it, on the test cluster."""

    def __init__(self, folder: Path, site: Site, root: Path) -> None:
        self.folder = folder
        self._site = site
        (folder / "cluster").mkdir()
        (folder / "matrix.yaml").write_bytes((root / "matrix.yaml").read_bytes())
        self.write("{}")

    def write(self, every: str) -> None:
        path = self.folder / "cluster" / "slurm.yaml"
        path.write_text(f"backend: slurm\nslurm: {{every: {every}}}\n", encoding="utf-8")

    def call(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(ECHO_MATRIX), *arguments, "--backend", "slurm"],
            cwd=self.folder,
            env={**self._site.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def doctor(self, level: str, **environment: str) -> list[Any]:
        done = self.call("doctor", "--json", **environment)
        found = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "slurm" and one["level"] == level]
        assert done.returncode == 1 or level != "bad" or not found
        return found

    def refused(self, **environment: str) -> str:
        """What a run says that is refused, and that nothing came of it."""
        before = self._site.jobs()
        done = self.call("run", **environment)
        assert done.returncode == 2, done.stdout + done.stderr
        assert " started " not in done.stdout  # it says what it will run, and no more
        assert self._site.jobs() <= before
        assert not (self.folder / "outputs" / "echo-memory" / "slurm").exists()
        with Ledger.read(self.folder / "outputs" / "echo-memory" / NAME) as ledger:
            assert ledger.attempts() == []
        return done.stderr.removeprefix("echo-matrix: ").removesuffix("\n")


@pytest.fixture
def folder(tmp_path: Path, site: Site, root: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    monkeypatch.delenv("ECHO_MATRIX_HOME", raising=False)
    return Folder(tmp_path, site, root)


def test_the_limits_of_the_site_are_read(folder: Folder) -> None:
    site = read_site()
    assert (site.array_size, site.submit, site.job_count, site.user) == (200, 500, 2000, "root")
    assert (site.default_partition, site.default_account, site.silent) == ("long", "study", "")
    assert {name: one.minutes for name, one in site.partitions.items()} == {"long": 1440, "short": 10}
    assert site.partitions["short"].shapes == (Shape(nodes=2, cpus=4, memory_mib=8000),)
    assert {"limits", "associations"} <= site.enforced
    assert site.signals_preempted
    assert site.version.startswith("2")


def test_a_plan_that_fits_is_well(folder: Folder) -> None:
    assert folder.doctor("bad") == []
    jobs = len(open_study(folder.folder / "matrix.yaml", look=False).plan.jobs)
    assert f"{jobs} jobs of the plan, within the site's limits" in [one["says"] for one in folder.doctor("ok")]


def test_a_partition_that_does_not_exist_is_refused_before_anything_is_submitted(folder: Folder) -> None:
    folder.write("{partition: lnog}")
    says = (
        "cluster/slurm.yaml: slurm.every.partition is 'lnog', which SLURM does not have; did you mean 'long'?; there "
        "are 'long' (default), 'short'"
    )
    assert folder.refused() == f"{says}; set it to one of them"
    assert folder.doctor("bad") == [{"check": "slurm", "level": "bad", "says": says, "remedy": "set it to one of them"}]


def test_limits_below_what_a_stage_asks_for_are_refused_each_with_its_remedy(folder: Folder) -> None:
    folder.write("{partition: short}")
    first, *others = folder.refused().splitlines()
    assert first == f"SLURM cannot run this, for {len(WORKLOAD.stages)} reasons:"
    assert others[3] == (
        "  matrix.yaml: resources.train.minutes is 30, and a job gets 2 more to record its end: 32, but partition "
        "'short' allows 10 minutes; set slurm.stages.train.minutes in cluster/slurm.yaml to at most 8 (a job whose "
        "time is over goes on from its checkpoint in another), or choose another slurm.every.partition: 'long' would do"
    )
    assert [f"  {one['says']}; {one['remedy']}" for one in folder.doctor("bad")] == others


def test_without_slurm_on_path_a_run_is_refused(folder: Folder, tmp_path: Path) -> None:
    words = "log in to a machine of the cluster, or load its module (such as `module load slurm`)"
    assert folder.refused(PATH=str(tmp_path)) == f"not on PATH: sbatch, srun, squeue, scancel, scontrol; {words}"
    (found,) = folder.doctor("bad", PATH=str(tmp_path))
    assert found["remedy"] == words


def test_a_silent_slurmctld_is_told_and_refuses_no_run_that_takes_over(folder: Folder, site: Site) -> None:
    folder.write("{partition: lnog}")
    matrix = folder.folder / "matrix.yaml"
    study = open_study(matrix, cluster=Path("slurm"))
    said: list[str] = []
    site.daemon("slurmctld", "kill")
    try:
        preflight(
            PlannedRun(
                home=study.home,
                cluster=study.cluster,
                cluster_file=study.cluster_file,
                matrix=matrix,
                jobs=study.plan.jobs.values(),
                takes_over=True,
            ),
            said.append,
        )
    finally:
        site.daemon("slurmctld", "start")
    assert len(said) == 1
    assert said[0].startswith("SLURM's limits are not checked now: scontrol show failed")
    nowhere = folder.folder / "slurm.conf"  # empty: the commands fail at once, and not after a minute
    nowhere.touch()
    (silent,) = folder.doctor("bad", SLURM_CONF=str(nowhere))
    assert silent["says"].startswith("slurmctld does not answer: scontrol show failed")


def test_an_accounting_that_is_silent_is_a_warning(folder: Folder, site: Site) -> None:
    site.daemon("slurmdbd", "kill")
    try:
        found = folder.doctor("warning")
    finally:
        site.daemon("slurmdbd", "start")
    (accounting,) = [one["says"] for one in found if one["says"].startswith("the accounting")]
    assert accounting.startswith("the accounting does not answer (sacctmgr -nP failed")
    assert "\n" not in accounting
