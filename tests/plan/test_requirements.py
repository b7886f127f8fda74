"""What a command needs of the machine: libraries of the extras, and Linux; whatever only looks needs neither."""

import dataclasses
import io
import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.commands.libraries import libraries_of, require_libraries_of
from orchestrator.commands.status.command import status_text
from orchestrator.errors import RequirementError
from orchestrator.opening import open_study
from orchestrator.plan.show import plan_text
from orchestrator.provenance import version, version_of
from orchestrator.requirements import (
    EXTRAS,
    install_command,
    missing_libraries,
    platform_problem,
    require_libraries,
    require_platform,
)
from orchestrator.schedule.lease_holder import NAME as DRIVER
from orchestrator.schedule.lease_holder import is_held, this_process
from orchestrator.store.location import StoreLocation
from orchestrator.store.registry import make_store
from orchestrator.study import Study

INSTALLED = "0.1.0+g0123456ab"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Study:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    return open_study(root / "matrix.yaml")


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As in an installation that does not have these libraries."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_run_without_its_libraries_names_them_and_the_command(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert libraries_of(study, study.plan.workload.stages) == (
        "ray", "numpy", "PIL", "safetensors", "torch", "deepspeed", "av"
    )  # fmt: skip
    require_libraries_of(study, study.plan.workload.stages)
    without(monkeypatch, "ray", "torch")
    with pytest.raises(RequirementError) as caught:
        require_libraries_of(study, study.plan.workload.stages)
    assert str(caught.value) == (
        "`run` with backend 'ray' needs ray, torch, which are not installed here; pip install 'echo-matrix[local]'; "
        "or run them where they are: `--backend slurm`, or on a machine that has them"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("backend", ["slurm", "fake"])
def test_a_backend_whose_jobs_run_elsewhere_needs_no_library_of_theirs(
    study: Study, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    without(monkeypatch, "ray", "torch", "deepspeed", "mlflow")
    elsewhere = dataclasses.replace(study, cluster=dataclasses.replace(study.cluster, backend=backend))
    require_libraries_of(elsewhere, elsewhere.plan.workload.stages)


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (["ray"], "pip install 'echo-matrix[ray]'"),
        (["mlflow", "ray"], "pip install 'echo-matrix[mlflow,ray]'"),
        (["ray", "torch"], "pip install 'echo-matrix[local]'"),
        (["torch", "sklearn"], "pip install 'echo-matrix[local]' sklearn"),
        (["sklearn"], "pip install sklearn"),
    ],
)
def test_the_command_that_installs(names: list[str], command: str) -> None:
    assert install_command(names) == command


def test_a_library_that_is_there_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "mlflow")
    assert missing_libraries(["json", "mlflow", "mlflow", "no_such_library"]) == ("mlflow", "no_such_library")
    with pytest.raises(RequirementError, match=r"^`ui` needs mlflow, which is not installed here; pip install"):
        require_libraries(["mlflow"], "`ui`")


def test_the_core_has_no_library_that_computes_and_each_extra_brings_what_it_says(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert not {"torch", "deepspeed", "ray", "mlflow", "boto3"} & set(project["dependencies"])
    assert extras["local"] == ["echo-matrix[jobs,mlflow,ray]"]
    brought = {"local": extras["jobs"], **{name: extras[name] for name in ("mlflow", "parquet", "ray", "s3")}}
    for module, extra in EXTRAS.items():
        assert {"PIL": "pillow"}.get(module, module) in brought[extra]


def test_a_store_on_s3_needs_boto3_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = StoreLocation(kind="s3", folder=str(tmp_path), url="s3://my-bucket/study")
    without(monkeypatch, "boto3")
    with pytest.raises(RequirementError) as caught:
        make_store(location)
    assert str(caught.value) == (
        "the store s3://my-bucket/study needs boto3, which is not installed here; pip install 'echo-matrix[s3]'"
    )
    assert install_command(["torch", "ray", "boto3"]) == "pip install 'echo-matrix[local,s3]'"


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("darwin", "jobs run on Linux, and this is macOS: "),
        ("win32", "use the other commands in WSL2, on a Linux machine"),
        ("freebsd14", "this is freebsd14: "),
    ],
)
def test_jobs_run_on_linux_only(platform: str, words: str) -> None:
    assert words in platform_problem(platform)
    assert "plan, status, results and report work here" in platform_problem(platform)
    with pytest.raises(RequirementError, match="jobs run on Linux"):
        require_platform(platform)
    assert platform_problem("linux") == ""


def test_what_only_looks_works_without_linux(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.home.mkdir(parents=True)
    holder = dataclasses.replace(this_process(), host="a-linux-machine")
    (study.home / DRIVER).write_text(json.dumps(dataclasses.asdict(holder)), encoding="utf-8")

    def no_such_file(path: object, *_: object, **__: object) -> object:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    def without_kernel(real: Callable[..., object]) -> Callable[..., object]:
        def call(path: object, *values: object, **options: object) -> object:
            kernel = isinstance(path, str | Path) and str(path).startswith(("/proc", "/sys"))
            return (no_such_file if kernel else real)(path, *values, **options)

        return call

    for name in ("readlink", "listdir", "scandir"):
        monkeypatch.setattr(os, name, without_kernel(getattr(os, name)))
    monkeypatch.setattr(io, "open", without_kernel(io.open))
    monkeypatch.delattr(os, "sched_getaffinity")
    with pytest.raises(FileNotFoundError):
        Path("/proc/stat").read_text(encoding="ascii")
    assert f"{len(study.plan.jobs)} new" in plan_text(study.plan, study.standings())
    assert f"{len(study.plan.jobs)} new" in status_text(study)
    assert is_held(study.home)  # it may run, on the machine that is named


@pytest.mark.parametrize(
    ("commit", "expected"),
    [
        ("", INSTALLED),
        ("unknown (the folder of another user)", INSTALLED),
        ("8dd02c2260123456789012345678901234567890", "0.1.0+g8dd02c226"),
        ("8dd02c2260123456789012345678901234567890-dirty", "0.1.0+g8dd02c226.dirty"),
    ],
)
def test_a_version_has_the_commit_that_runs(commit: str, expected: str) -> None:
    assert version_of(INSTALLED, commit) == expected


def test_this_checkout_has_a_version() -> None:
    assert version()[0].isdigit()
