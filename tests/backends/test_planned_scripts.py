"""`plan --sbatch` shows what a run sends, made by the code that sends it, and needs no SLURM."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.protocol import JobQueue
from orchestrator.backends.scripts import Script, ScriptPlan
from orchestrator.backends.slurm.backend import SlurmBackend
from orchestrator.backends.slurm.core.backend import JobBackend
from orchestrator.backends.slurm.core.commands import PROGRAMS
from orchestrator.backends.slurm.pilot.pool import sbatch_pilot
from orchestrator.backends.slurm.plugin import PLUGIN as SLURM
from orchestrator.backends.slurm.settings import slurm_settings
from orchestrator.commands.options import PlanOptions, Selection
from orchestrator.commands.plan.command import plan, say_what_is_missing
from orchestrator.commands.plan.planned_scripts import planned_submissions, scripts_of, scripts_text
from orchestrator.commands.run.run_study import context_of
from orchestrator.errors import PlanError
from orchestrator.opening import open_study
from orchestrator.plan.job import Standing
from orchestrator.schedule.misfits import Misfits
from orchestrator.study import Study

PILOT = (
    "slurm.pilot={stages: [evaluate, judge, camera], cpus: 4, memory_gib: 16, minutes: 60, allocations: 2, "
    "partition: short}"
)


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / "outputs"))


@pytest.fixture
def matrix(root: Path) -> Path:
    return root / "matrix.yaml"


def slurm_study(matrix: Path, *settings: str) -> Study:
    return open_study(matrix, cluster=Path("slurm"), settings=settings, overrides=["seeds=[0,1]"])


def by_stage(found: ScriptPlan) -> dict[str, list[Script]]:
    stages: dict[str, list[Script]] = {}
    for script in found.scripts:
        stages.setdefault(script.stage, []).append(script)
    return stages


def test_arrays_hold_the_jobs_of_one_shape_that_become_ready_together(matrix: Path, tmp_path: Path) -> None:
    study = slurm_study(
        matrix, "slurm.every.account=lab", "slurm.stages.train={partition: gpu, minutes: 90, at_once: 3}"
    )
    found = scripts_of(study, study.standings())
    stages = by_stage(found)
    (data,), (latents,), (train, *_) = stages["data"], stages["latents"], stages["train"]
    assert (data.kind, data.jobs, data.needs, latents.needs) == ("job", ("data",), (), ("data",))
    assert train.kind == "array" and {job.rpartition("/")[2] for job in train.jobs} == {"s0"}
    assert train.needs == ("index/s0", "latents") and train.at_once == 3
    assert train.request == {
        "nodes": 1,
        "cpus": 1,
        "memory_mib": 2048,
        "gpus": {},
        "minutes": 92,
        "short_limit": False,
        "partition": "gpu",
        "account": "lab",
        "qos": None,
        "constraint": None,
    }
    for line in (
        "partition=gpu",
        "account=lab",
        "time=92",
        f"array=0-{len(train.jobs) - 1}%3",
        f"job-name={train.name}",
    ):
        assert f"#SBATCH --{line}\n" in train.text
    assert sum(len(script.jobs) for script in found.scripts) == len(study.plan.jobs)
    assert found.notes == (
        "the site's limits are not checked: scontrol is not on PATH; log in to a machine of the cluster, or load its "
        "module",
    )
    assert not (tmp_path / "outputs").exists(), "nothing is written"
    text = scripts_text(found)
    assert "script 1: data: 1 node with 1 cpu, 2048 MiB; 12 minutes\n  data\n" in text
    assert f"train, array of {len(train.jobs)}, at most 3 at once, needs index/s0, latents: 1 node" in text


def test_what_the_files_say_against_each_other_is_noted_without_slurm(matrix: Path) -> None:
    settings = ["slurm.pilot={stages: [train], cpus: 1, memory_gib: 64, minutes: 60}"]
    study = open_study(matrix, profile="study", cluster=Path("slurm"), settings=settings)
    notes = "\n".join(scripts_of(study, study.standings()).notes)
    assert f"{matrix}: resources.train.cpus is 4, but a node of a pilot job has 1 for jobs" in notes


def test_an_array_is_no_larger_than_the_attempts_that_may_be_in_the_queue(matrix: Path) -> None:
    study = slurm_study(matrix, "slurm.max_jobs=5")
    assert max(len(script.jobs) for script in scripts_of(study, study.standings()).scripts) == 5


def test_only_what_would_run_is_sent(matrix: Path) -> None:
    study = slurm_study(matrix)
    jobs = study.plan.jobs.values()
    states: Mapping[str, Any] = {"data": "done", "latents": "running", "train": "failed"}
    standings = {job.id: Standing(state=states.get(job.stage, "new"), reason="") for job in jobs}
    stages = by_stage(scripts_of(study, standings))
    assert set(stages) == {"index", "evaluate", "judge", "camera", "bound"}
    assert [script.needs for script in stages["index"]] == [()]


def test_what_sbatch_reads_of_this_shell_is_said(matrix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SBATCH_PARTITION", "long")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "5")
    study = slurm_study(matrix)
    used, dropped, *_ = scripts_of(study, study.standings()).notes
    assert used == "sbatch also reads of this shell, for what a script does not say: SBATCH_PARTITION"
    assert dropped.startswith("not passed to sbatch: SBATCH_TIMELIMIT: the plan decides them for each job")


def test_a_pilot_job_is_shown_with_the_jobs_that_run_in_it(matrix: Path, tmp_path: Path) -> None:
    study = slurm_study(matrix, PILOT)
    pilot, *others = scripts_of(study, study.standings()).scripts
    assert (pilot.kind, pilot.at_once, pilot.request["minutes"]) == ("pilot", 2, 60)
    assert {job.partition("/")[0] for job in pilot.jobs} == {"evaluate", "judge", "camera"}
    assert {script.stage for script in others} == {"data", "latents", "index", "train", "bound"}
    assert "pilot job, sent while jobs wait for room, at most 2 at once: 1 node with 4 cpus, 16384 MiB; 60 minutes" in (
        scripts_text(scripts_of(study, study.standings()))
    )
    slurm = slurm_settings(study.cluster)
    assert slurm.pilot is not None
    sent = sbatch_pilot(
        study.home, slurm.pilot, setup=(), description={"code": "/c"}, grace_s=60, idle_s=60, orphan_s=60
    )
    for flag in ("partition", "mem", "time"):
        assert f"#SBATCH --{flag}={sent.parameters[flag]}\n" in pilot.text


def test_jobs_over_several_nodes_are_jobs_beside_pilot_jobs(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pilot = "slurm.pilot={cpus: 4, memory_gib: 16, minutes: 60}"
    spread = ["resources.train.nodes=2", "resources.train.ranks=2"]
    study = open_study(matrix, cluster=Path("slurm"), settings=[pilot], overrides=spread)
    inside, *others = scripts_of(study, study.standings()).scripts
    assert inside.kind == "pilot" and not [job for job in inside.jobs if job.startswith("train/")]
    assert {(script.stage, script.request["nodes"]) for script in others} == {("train", 2)}
    backend = SLURM.build(context_of(study, "c", ()), study.cluster)
    assert isinstance(backend, SlurmBackend)
    needs = {job.stage: job.resources for job in study.plan.jobs.values()}
    backend.waiting_for_room({("train", needs["train"]): 1})
    (host,) = backend.hosts()  # no pilot job is sent for it: there is no sbatch here
    hosts = (host, JobQueue(name="slurm", slots=1, stages=("train",)))
    assert host.stages is not None and "train" not in host.stages
    assert {Misfits(hosts).why_unplaceable(resources, stage) for stage, resources in needs.items()} == {None}
    say_what_is_missing(study, study.standings(), may_ask=False)
    assert capsys.readouterr().err.startswith(
        f"note: {matrix}: resources.train.nodes is 2, but in a pilot job a job is"
    )


def test_json_holds_each_script_in_full(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = PlanOptions(matrix=matrix, cluster=Path("slurm"))
    plan(options=options, selection=Selection(rows="context-k5"), sbatch=True, as_json=True)
    said = json.loads(capsys.readouterr().out)
    scripts = said["sbatch"]["scripts"]
    assert sum(len(script["jobs"]) for script in scripts) == len(said["jobs"])
    assert all(script["text"].startswith("#!/bin/bash\n") for script in scripts)


@pytest.mark.parametrize("backend", ["local", "ray", "fake"])
def test_a_backend_without_scripts_is_refused(matrix: Path, backend: str) -> None:
    with pytest.raises(PlanError) as refused:
        plan(options=PlanOptions(matrix=matrix, cluster=Path(backend)), selection=Selection(), sbatch=True)
    name = "ray" if backend == "local" else backend
    assert str(refused.value) == f"--sbatch: the backend is {name}, which sends no scripts; add --backend slurm"


@pytest.mark.slow
def test_what_is_shown_is_what_is_sent(matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a SLURM whose commands say nothing, but for an sbatch that keeps what it gets."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in PROGRAMS:
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    keep = f'for last; do :; done\ncp "$last" {tmp_path}/sent-$(ls {tmp_path} | wc -l)\necho Submitted batch job 7\n'
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/sh\n{keep}")
    study = slurm_study(matrix, "slurm.max_jobs=3")
    standings = study.standings()
    shown = scripts_of(study, standings)
    planned = planned_submissions(study, standings)
    backend = JobBackend(context_of(study, "c" * 64, ()), slurm_settings(study.cluster))
    for script in shown.scripts[:6]:
        backend.submit([one.submission for one in planned if one.submission.label in script.jobs])
    code = {line for script in shown.scripts for line in script.text.splitlines() if line.startswith("cd ")}
    digest = Path(code.pop()).name
    sent = {path.read_text().replace("c" * 64, digest) for path in tmp_path.glob("sent-*")}
    assert sent == {script.text for script in shown.scripts[:6]} and len(sent) == 6
