"""What the user's shell says to SLURM's commands is kept, but for what would change answers or each job's shape."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.protocol import Placement, Submission
from orchestrator.backends.slurm.core.commands import client_environment, dropped_words
from orchestrator.backends.slurm.core.submit import job_environment, sbatch_job, script_options
from orchestrator.backends.slurm.preflight.check import NEEDED, preflight
from orchestrator.backends.slurm.preflight.limits import Qos
from orchestrator.backends.slurm.preflight.site import Site
from orchestrator.backends.slurm.settings import SlurmSettings, SlurmStage
from orchestrator.errors import SiteError
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import BUILT_IN
from workloads.runtime.masking import mask, secrets_of

SHELL = {
    "PATH": "/bin",
    "SBATCH_PARTITION": "gpu",
    "SBATCH_ACCOUNT": "lab",
    "SBATCH_RESERVATION": "course",
    "SLURM_CONF": "/etc/slurm.conf",
    "SLURM_JWT": "not-a-real-token-of-anybody",
    "SBATCH_WAIT": "1",
    "SBATCH_ARRAY_INX": "0-9",
    "SQUEUE_FORMAT": "%i",
    "SCANCEL_STATE": "PENDING",
    "SLURM_TIME_FORMAT": "relative",
}


def test_outside_a_job_the_users_wishes_for_sbatch_are_kept() -> None:
    kept = client_environment(SHELL)
    assert kept == {name: value for name, value in SHELL.items() if name in list(SHELL)[:6]}
    assert dropped_words(SHELL) == (
        "not passed to sbatch: SBATCH_ARRAY_INX, SBATCH_WAIT: the plan decides them for each job; "
        "slurm.every in the cluster file says what all jobs get"
    )
    assert dropped_words({"PATH": "/bin", "SBATCH_PARTITION": "gpu"}) == ""


def test_in_a_job_they_may_be_that_jobs_and_it_is_said_that_they_are_dropped() -> None:
    inside = {**SHELL, "SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "1000"}
    assert set(client_environment(inside)) == {"PATH", "SLURM_CONF", "SLURM_JWT"}
    said = dropped_words(inside)
    assert "SBATCH_ACCOUNT" in said and "SBATCH_PARTITION" in said and "this shell is in SLURM job 7" in said


def test_a_job_gets_what_the_shell_has_but_no_credential_that_its_work_does_not_use() -> None:
    shell = {**SHELL, "HF_TOKEN": "a", "JUDGE_KEY": "b", "LAB_POOL": "c", "BASH_FUNC_module%%": "() { :; }", "_": "d"}
    found = job_environment(shell, ("JUDGE_*",))
    assert shell.keys() - found.keys() == {"HF_TOKEN", *(shell.keys() - client_environment(shell).keys())}
    assert found["SLURM_JWT"] == SHELL["SLURM_JWT"], "sbatch itself needs it"


def test_all_commands_ask_the_cluster_that_sbatch_submits_to() -> None:
    assert client_environment({"SLURM_CLUSTERS": "one"})["SLURM_CLUSTERS"] == "one"
    assert client_environment({"SLURM_CLUSTERS": "one", "SBATCH_CLUSTERS": "two"})["SLURM_CLUSTERS"] == "two"


def test_a_token_is_a_secret() -> None:
    assert mask(f"refused {SHELL['SLURM_JWT']}", secrets_of(SHELL)) == "refused ***"


def test_what_the_cluster_file_says_counts_for_more_than_the_shell() -> None:
    """Sbatch takes a variable for more than a line of its script, and an argument for more than a variable."""
    script = "#!/bin/bash\n#SBATCH --job-name='em:a study'\n#SBATCH --requeue\n\n# command\n#SBATCHING\nsrun true\n"
    assert script_options(script) == ["--job-name=em:a study", "--requeue"]


def test_preflight_looks_where_sbatch_will_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = {"SBATCH_PARTITION": "gpu", "SBATCH_ACCOUNT": "lab", "SBATCH_QOS": "long"}
    site = Site(array_size=1, submit=1.0, partitions={}, qos={"long": Qos(name="long")}, chosen=shell)
    assert (site.default_partition, site.default_account) == ("gpu", "lab")
    assert site.qos_of(SlurmStage()) is site.qos["long"]
    assert Site(array_size=1, submit=1.0, partitions={}).default_partition is None


def test_what_setup_loads_stays_behind_our_code_and_the_step_gets_it() -> None:
    submission = Submission(
        attempt="a1",
        job="train/0",
        label="train/x/s0",
        request={"stage": "train", "work": "/work"},
        inputs={},
        resources=Resources(cpus=1, devices=0, memory_gib=1.0, minutes=1),
        placement=Placement(host="slurm", cpus=1, devices=()),
    )
    slurm = SlurmSettings(setup=("module load torch",))
    given = sbatch_job([submission], home=Path("/home"), slurm=slurm, code=Path("/a code"), grace_s=60).parameters
    assert given["setup"][0] == "module load torch"
    assert given["setup"][1] == "export PYTHONPATH='/a code'${PYTHONPATH:+:$PYTHONPATH}"
    assert shlex.split(given["setup"][2]) == ["cd", "/a code"]
    assert "--export=ALL" in given["srun_args"]


GONE = """#!/bin/sh
echo "scontrol: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host" >&2
echo "scontrol: error: fetch_config: DNS SRV lookup failed" >&2
echo "scontrol: fatal: Could not establish a configuration source" >&2
exit 1
"""


def test_a_silent_slurm_is_waited_for_only_where_it_may_run_attempts_of_an_earlier_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in NEEDED:
        (tmp_path / name).write_text(GONE, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    cluster = replace(BUILT_IN, backend="slurm")
    run = PlannedRun(home=tmp_path, cluster=cluster, cluster_file=Path(), matrix=Path(), jobs=())
    said: list[str] = []
    why = "scontrol show failed: Could not establish a configuration source"
    with pytest.raises(SiteError) as refused:
        preflight(run, said.append)
    assert str(refused.value) == (
        f"SLURM does not answer: {why}; nothing was started; see `scontrol ping`, then `run` again, or run it "
        "elsewhere (`--backend local`)"
    )
    assert refused.value.exit_code == 2 and said == []
    preflight(replace(run, takes_over=True), said.append)
    assert said == [f"SLURM's limits are not checked now: {why}"]
