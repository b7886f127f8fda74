"""`init` writes a study that can be planned, and what its comments say is true."""

import importlib
import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from orchestrator.backends.registry import backends
from orchestrator.commands.init import cluster_text, init
from orchestrator.errors import MatrixError, PlanError
from orchestrator.opening import open_study
from orchestrator.schedule.launcher import build_request
from orchestrator.spec.cluster import Cluster, load_cluster
from workloads.contract.request import request_from
from workloads.runtime.progress import Progress
from workloads.study.workload import WORKLOAD

NAMES = [name for plugin in backends().values() for name in plugin.templates]
COMMENTED = re.compile(r"( *)# ([a-z_]+: .*)")
DEFAULTS = "# With their defaults:\n"


def read(tmp_path: Path, text: str) -> Cluster:
    path = tmp_path / "read.yaml"
    path.write_text(text, encoding="utf-8")
    return load_cluster(path, tmp_path, WORKLOAD, backends())


def test_there_is_a_template_for_each_way_to_run() -> None:
    assert NAMES == ["local", "ray", "slurm", "fake"]


@pytest.mark.parametrize("name", NAMES)
def test_a_begun_study_can_be_planned(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path, backend=name)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.yaml")) == [
        f"cluster/{name}.yaml",
        "matrix.yaml",
    ]
    study = open_study(tmp_path / "matrix.yaml", cluster=Path(name))
    assert (study.plan.study, len(study.plan.cells)) == ("echo-memory", 4)
    assert study.cluster.backend == ("ray" if name == "local" else name)
    study.check_feasible(WORKLOAD.estimate(study.plan, None, study.cluster))
    assert f"echo-matrix run{'' if name == 'local' else f' --backend {name}'} " in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_each_key_in_a_comment_of_a_cluster_file_is_accepted(tmp_path: Path, name: str) -> None:
    text = cluster_text(name, "train")
    plain, lines = read(tmp_path, text), text.splitlines()
    heading = text.partition(DEFAULTS)[0].count("\n")
    found = [number for number, line in enumerate(lines) if COMMENTED.fullmatch(line)]
    assert found
    for number in found:
        changed = [COMMENTED.sub(r"\1\2", line) if number == at else line for at, line in enumerate(lines)]
        assert (read(tmp_path, "\n".join(changed)) == plain) == (number > heading), lines[number]
    for example in re.findall(r"e\.g\. (\{.*\})", text):
        assert read(tmp_path, text.replace("every: {}", f"every: {example}")) != plain


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_in_a_comment_of_a_cluster_file_are_the_defaults(tmp_path: Path, name: str) -> None:
    text = cluster_text(name, "train")
    before, heading, after = text.partition(DEFAULTS)
    assert heading or name == "fake"
    assert read(tmp_path, before + re.sub(COMMENTED, r"\1\2", after)) == read(tmp_path, text)


@pytest.mark.parametrize("name", ["local", "ray", "slurm"])
def test_the_cluster_files_of_this_repository_are_those_that_init_writes(root: Path, name: str) -> None:
    assert (root / "cluster" / f"{name}.yaml").read_text(encoding="utf-8") == cluster_text(name, "train")


def test_a_study_of_ones_own_begins_with_a_package_that_can_be_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder"
    init(folder, workload="begun_study.tables", study="pilot", backend="slurm", as_json=True)
    names = ["matrix.yaml", *(f"begun_study/{name}.py" for name in ("tables", "sample", "estimate", "__init__"))]
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "written": [str(folder / name) for name in (*names, "cluster/slurm.yaml")],
    }
    study = open_study(folder / "matrix.yaml", cluster=Path("slurm"))
    assert (study.plan.study, study.plan.workload_name) == ("pilot", "begun_study.tables")
    assert len(study.plan.cells) == 15 and len({cell.seed for cell in study.plan.cells}) == 5
    assert all(stage.seconds_guess <= 1 and not stage.preload for stage in study.plan.workload.stages)
    text = (folder / "matrix.yaml").read_text(encoding="utf-8")
    (axis,) = re.findall(r"axes: \{\} .* e\.g\. (.*)", text)
    (folder / "matrix.yaml").write_text(text.replace("axes: {}", f"axes: {{{axis}}}"), encoding="utf-8")
    assert len(open_study(folder / "matrix.yaml").plan.cells) == 30


def test_the_stages_of_such_a_package_compute_what_they_say(tmp_path: Path) -> None:
    """As a job runs them: outliers move the mean, and not the median."""
    init(tmp_path, workload="computing_study.workload")
    study = open_study(tmp_path / "matrix.yaml", overrides=["seeds=[0]"])
    errors: dict[str, float] = {}
    for job in study.plan.jobs.values():
        out = tmp_path / "done" / job.id
        out.mkdir(parents=True)
        raw = build_request(job, attempt="a1", home=tmp_path, settings=study.cluster, accumulate=1, resume=None)
        inputs = {stage: str(tmp_path / "done" / need) for stage, need in job.inputs.items()}
        request = request_from({**raw, "inputs": inputs, "out": str(out)}, "here")
        outcome = importlib.import_module(job.spec.module).run(request, Progress(out, writes=False))
        assert outcome.steps and not outcome.stopped
        if job.row is not None:
            lines = (out / "cases.jsonl").read_text(encoding="utf-8").splitlines()
            assert len(lines) == 100
            errors[job.row["family"]] = sum(json.loads(line)["value"] for line in lines) / len(lines)
    assert errors["median"] < errors["trimmed"] < errors["mean"]


def test_the_axis_in_a_comment_of_the_matrix_is_accepted(tmp_path: Path) -> None:
    init(tmp_path)
    path = tmp_path / "matrix.yaml"
    text = path.read_text(encoding="utf-8")
    (axis,) = re.findall(r"axes: \{\} .* e\.g\. (.*)", text)
    path.write_text(text.replace("axes: {}", f"axes: {{{axis}}}"), encoding="utf-8")
    assert len(open_study(path).plan.cells) == 8


@pytest.mark.parametrize("there", ["matrix.yaml", "cluster/local.yaml", "ourstudy/estimate.py"])
def test_nothing_is_overwritten_and_then_nothing_is_written(tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("nowhere")
    with pytest.raises(PlanError) as refused:
        init(tmp_path, workload="ourstudy.workload")
    assert str(refused.value) == f"{path}: exists; nothing was written: name another FOLDER, or move it away"
    assert [one for one in tmp_path.rglob("*") if not one.is_dir()] == [path]


def test_a_cluster_file_is_added_to_a_study_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path, workload="addedstudy.workload")  # imported below, so of a name of its own
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(before := matrix.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    capsys.readouterr()
    init(tmp_path, backend="slurm")
    cluster = tmp_path / "cluster" / "slurm.yaml"
    assert capsys.readouterr().out.startswith(f"left {matrix} as it is\nwrote {cluster}\n\nnext:\n")
    assert matrix.read_text(encoding="utf-8") == before
    assert cluster.read_text(encoding="utf-8") == cluster_text("slurm", "estimate")
    with pytest.raises(PlanError) as refused:
        init(tmp_path, backend="slurm")
    assert str(refused.value).startswith(f"{matrix}, {cluster}: exists; nothing was written")
    for options in ({"study": "other"}, {"workload": "other.workload"}):
        with pytest.raises(PlanError, match=r"matrix\.yaml: exists; nothing was written"):
            init(tmp_path, backend="ray", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "cluster" / "ray.yaml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "slrum"}, "--backend is 'slrum'; did you mean 'slurm'?; allowed: local, ray, slurm, fake"),
        ({"workload": "ourstudy"}, "--workload is 'ourstudy'; allowed: PACKAGE.MODULE, such as mystudy.workload"),
        ({"workload": "my-study.work"}, "--workload is 'my-study.work'; allowed: PACKAGE.MODULE, such as"),
        ({"workload": "a.b.c"}, "--workload is 'a.b.c'; allowed: PACKAGE.MODULE"),
        ({"workload": "../x.y"}, "--workload is '../x.y'; allowed: PACKAGE.MODULE"),
        ({"workload": "ourstudy.class"}, "--workload is 'ourstudy.class'; allowed: PACKAGE.MODULE"),
        ({"workload": "ourstudy.sample"}, "--workload is 'ourstudy.sample', but a stage's module has this name; write"),
        ({"workload": "json.nothing"}, "--workload: workload cannot be used: workload 'json.nothing': no module"),
        ({"study": "a b"}, "--study: the study is named 'a b'; allowed: letters, digits"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises((MatrixError, PlanError)) as refused:
        init(tmp_path, **options)  # type: ignore[arg-type]
    assert str(refused.value).startswith(message)
    assert refused.value.exit_code == 2 and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"file/matrix\.yaml: cannot be written: .*; name another FOLDER"):
        init(tmp_path / "file")


def test_the_templates_are_part_of_an_installed_package(root: Path) -> None:
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    places = {place for plugin in backends().values() for place in plugin.templates.values()}
    assert WORKLOAD.template is not None
    places |= {WORKLOAD.template}
    places |= {
        ("workloads.contract", f"skeleton/{path.name}") for path in (root / "workloads/contract/skeleton").iterdir()
    }
    for package, file in places:
        path = root / package.replace(".", "/") / file
        assert path.is_file()
        assert any(
            fnmatch(path.relative_to(root / parent.replace(".", "/")).as_posix(), pattern)
            for parent, patterns in listed.items()
            if path.is_relative_to(root / parent.replace(".", "/"))
            for pattern in patterns
        ), path


def test_the_built_in_study_begins_with_rows_of_the_shipped_matrix(root: Path, tmp_path: Path) -> None:
    """With the same controls, and so the same results: who changes matrix.yaml changes the template too."""
    init(tmp_path)
    begun, shipped = (
        {cell.id: cell.fingerprint for cell in open_study(folder / "matrix.yaml").plan.cells}
        for folder in (tmp_path, root)
    )
    assert begun.items() <= shipped.items()
