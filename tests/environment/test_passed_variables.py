"""Children get the variables that they need: what belongs to whom, and that the driver's secrets go nowhere else."""

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from orchestrator.host.children import child_environment
from orchestrator.host.code import CHECKOUT
from orchestrator.host.environment import (
    EVERYBODY,
    SLURM,
    JobVariables,
    credentials_in,
    passed,
    withheld,
)
from orchestrator.tracking.mlflow.environment import mlflow_environment
from workloads.contract.workload import Workload
from workloads.runtime.numerics import OVERRIDES, READ_AT_LOAD, READ_LATER
from workloads.study.workload import WORKLOAD

CREDENTIALS = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "GITHUB_TOKEN", "OPENAI_API_KEY", "SSH_AUTH_SOCK"),
    *("ECHO_MATRIX_JUDGE_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "SLURM_JWT", "RAY_AUTH_TOKEN"),
    *(
        "WANDB_API_KEY",
        "PGPASSWORD",
        "KRB5CCNAME",
        "SECRET_KEY_BASE",
        "VAULT_TOKEN_PATH",
        "CONDA_TOKEN",
        "NVIDIA_API_KEY",
    ),
)
NEEDED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "PYTHONPATH", "VIRTUAL_ENV"),
    # What `module load` sets and later calls of `module` read: Environment Modules, Lmod, EasyBuild, Spack.
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "MODULEPATH", "MODULEPATH_ROOT", "LOADEDMODULES", "_LMFILES_", "LMOD_CMD"),
    *("__LMOD_REF_COUNT_PATH", "_ModuleTable001_", "BASH_FUNC_module%%", "BASH_FUNC_ml%%", "BASH_ENV"),
    *("EBROOTCUDA", "EBVERSIONCUDA", "CUDA_HOME", "CUDNN_PATH", "MKLROOT", "HDF5_DIR", "GCC_ROOT", "OPENBLAS_BASE"),
    *("CC", "CXX", "CFLAGS", "CPATH", "LIBRARY_PATH", "C_INCLUDE_PATH", "CMAKE_PREFIX_PATH", "PKG_CONFIG_PATH"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NCCL_IB_HCA", "NCCL_IB_PKEY", "UCX_TLS", "FI_PROVIDER"),
    *("GLOO_SOCKET_IFNAME", "ROCR_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_HOME", "TRITON_CACHE_DIR"),
    *("https_proxy", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HF_HOME", "HF_HUB_OFFLINE"),
    *("TOKENIZERS_PARALLELISM", "ECHO_MATRIX_HOME"),
)


def test_what_programs_need_is_passed_and_no_credential() -> None:
    shell = dict.fromkeys((*NEEDED, *CREDENTIALS), "value")
    assert withheld(shell) == sorted(CREDENTIALS)
    assert sorted(passed(shell)) == sorted(NEEDED)


def test_what_decides_the_bits_of_a_result_is_passed() -> None:
    """Otherwise a variable of the shell would change nothing, and nobody would be told."""
    assert withheld(dict.fromkeys((*READ_AT_LOAD, *READ_LATER, *OVERRIDES), "1")) == []


def test_a_named_variable_is_passed_whatever_its_name_looks_like() -> None:
    shell = {"HF_TOKEN": "a", "DATA_ROOT": "b", "LAB_POOL": "c", "LAB_KEY": "d", "LABEL": "e"}
    assert passed(shell, ("HF_TOKEN", "LAB_*")).keys() == {"HF_TOKEN", "DATA_ROOT", "LAB_POOL", "LAB_KEY"}
    assert credentials_in(withheld(shell)) == ["HF_TOKEN", "LAB_KEY"]


def test_the_judges_key_reaches_the_jobs_that_judge_alone() -> None:
    variables = JobVariables(every=("LAB",), stages={one.name: one.environment for one in WORKLOAD.stages})
    shell = {"ECHO_MATRIX_JUDGE_KEY": "k", "ECHO_MATRIX_JUDGE_URL": "u", "LAB": "l"}
    found = {stage.name: sorted(passed(shell, variables.of(stage.name))) for stage in WORKLOAD.stages}
    assert found.pop("judge") == found.pop("bound") == sorted(shell)
    assert set(map(tuple, found.values())) == {("LAB",)}
    assert passed(shell, variables.of_any) == shell, "a host has it to give"
    assert isinstance(WORKLOAD, Workload)


def test_the_description_of_a_host_carries_the_patterns() -> None:
    variables = JobVariables(every=("A", "B_*"), stages={"judge": ("C",)})
    assert JobVariables.from_json(json.loads(json.dumps(variables.as_json()))) == variables


@pytest.mark.parametrize(
    ("uri", "more"),
    [
        (None, ()),
        ("sqlite:////somewhere/mlflow.db", ()),
        ("https://mlflow.example", ("AWS_SECRET_ACCESS_KEY", "PGPASSWORD")),
    ],
)
def test_the_tracking_process_gets_credentials_of_mlflow_and_of_a_servers_bucket(
    uri: str | None, more: tuple[str, ...]
) -> None:
    shell = dict.fromkeys((*CREDENTIALS, "MLFLOW_RUN_ID"), "v")
    found = mlflow_environment(shell, uri)
    assert {"MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", *more} <= found.keys()
    others = set(CREDENTIALS) - {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"}
    assert {name for name in others if name in found} == {"MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"}
    assert bool(more) == ("PGPASSWORD" in found)
    assert "LAB" in mlflow_environment({"LAB": "l"}, uri, ("LAB",))


def test_a_shell_function_of_environment_modules_survives() -> None:
    """`module` in `slurm.setup`, or in a program that a job starts, is a function that bash exports."""
    shell = {"PATH": os.environ["PATH"], "BASH_FUNC_module%%": "() { echo loaded $1; }"}
    done = subprocess.run(["bash", "-c", "module cuda"], env=passed(shell), capture_output=True, text=True)
    assert done.stdout == "loaded cuda\n"


def test_python_starts_in_it_and_finds_our_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import orchestrator, os; print(os.environ.get('OPENAI_API_KEY'))"],
        env=child_environment(CHECKOUT, passed({**os.environ, "OPENAI_API_KEY": "sk-1"})),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


def test_patterns_have_one_star_at_one_end() -> None:
    patterns = [pattern for group in (*EVERYBODY.values(), SLURM) for pattern in group]
    assert all(pattern.strip("*") and pattern.strip("*").count("*") == 0 for pattern in patterns)
    assert len(set(patterns)) == len(patterns)


def test_what_runs_in_a_job_of_slurm_knows_the_name_of_its_node() -> None:
    here = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURP": "1"}
    kept = [name for name in here if any(fnmatchcase(name, pattern) for pattern in SLURM)]
    assert kept == ["SLURM_JOB_ID", "SLURMD_NODENAME"]
