"""The orchestrator knows a study through its `Workload` alone."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from toy_study import make_job

from orchestrator.commands.reshard import convert
from orchestrator.errors import MatrixError, PlanError
from orchestrator.opening import open_study
from orchestrator.provenance import commits_of
from orchestrator.spec.lines import Place
from orchestrator.spec.workload import package_of, workload_of
from orchestrator.study import Study
from workloads.contract.fields import key_of
from workloads.study.workload import WORKLOAD

STUDY = (
    {stage.name for stage in WORKLOAD.stages}
    | set(WORKLOAD.branch_names)
    | set(WORKLOAD.family)
    | {key_of(field.name) for field in fields(WORKLOAD.controls)}
)
"""Names of stages, branches, families and sections of controls."""

PLAIN = {
    "orchestrator/host/job.py": {"index"},  # a node's number
    "orchestrator/crate/metadata.py": {"context"},  # of JSON-LD
    "orchestrator/tracking/mlflow/case_tables.py": {"data"},  # a key of MLflow's tables
}
"""Where a name of the study's stands for something else."""


def constants(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of the string constants of a file that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def test_no_file_of_the_orchestrator_names_what_is_the_studys(root: Path) -> None:
    found = []
    for path in sorted((root / "orchestrator").rglob("*.py")):
        place = str(path.relative_to(root))
        for line, text in constants(path):
            found += [f"{place}:{line}: {word!r}" for word in named_in(text) - PLAIN.get(place, set())]
    assert not found, "\n".join(found)


def named_in(text: str) -> set[str]:
    """The study's names in a text: as all of it, or as part of a path, label or key; `train` in a sentence is none."""
    found = {text} & STUDY
    for token in text.replace("index.html", "").split():
        parts = re.split(r"[/:.]", token.strip("'\"`,;()"))
        if len(parts) > 1:
            found |= set(parts) & STUDY
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("train", {"train"}),
        ("e.g. 'train/context-*'", {"train"}),
        ("family:spatial", {"spatial"}),
        ("resources.train.devices", {"train"}),
        ("we train a model", set()),
    ],
)
def test_a_name_is_found_where_it_is_one(text: str, names: set[str]) -> None:
    assert named_in(text) == names


def test_no_file_of_the_orchestrator_imports_the_study(root: Path) -> None:
    runtime = ("masking", "secret_names", "secret_forms", "fault_points")
    allowed = ("workloads.contract", *(f"workloads.runtime.{name}" for name in runtime))
    found = []
    for path in sorted((root / "orchestrator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            found += [
                f"{path}:{name}" for name in names if name.startswith("workloads") and not name.startswith(allowed)
            ]
    assert not found, "\n".join(found)


STUDY_TEXT = """
from dataclasses import dataclass
from workloads.contract.rows import Row
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload

@dataclass(frozen=True, kw_only=True)
class Sections: ...

@dataclass(frozen=True, kw_only=True)
class Kind(Row):
    family = "kind"

WORKLOAD = Workload(
    name="small", stages=(StageSpec(name="fit", module="NAME"),), controls=Sections, branches=Sections, families=(Kind,)
)
"""


OWN = ("digits_study", "lone_stage")
"""Packages and modules of the study that these tests change."""


def own_modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in OWN]


def opened(folder: Path) -> Study:
    """The study of a folder, as a new process reads it: neither its package nor torch is imported before."""
    with pytest.MonkeyPatch.context() as patch:
        # Other tests read the tutorial's study itself, or have a module of such a name.
        named = [name for own in OWN for name in (own, f"{own}.py")]
        free = [place for place in sys.path if not any(Path(place, name).exists() for name in named)]
        patch.setattr(sys, "path", free)
        for name in ("torch", *own_modules()):
            patch.delitem(sys.modules, name, raising=False)
        try:
            return open_study(folder / "matrix.yaml")
        finally:
            for name in own_modules():
                del sys.modules[name]


@pytest.fixture
def digits(root: Path, tmp_path: Path) -> Path:
    """A copy of the tutorial's study, to be changed."""
    source = root / "docs" / "tutorials" / "digits"
    (tmp_path / "digits_study").mkdir()
    for path in (source / "digits_study").glob("*.py"):
        (tmp_path / "digits_study" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "lone_stage.py").write_text("def run(request, progress): ...\n", encoding="utf-8")
    (tmp_path / "matrix.yaml").write_bytes((source / "matrix.yaml").read_bytes())
    return tmp_path


def change(digits: Path, old: str, new: str, name: str = "digits_study/workload.py") -> None:
    path = digits / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def refusal(digits: Path, old: str, new: str, name: str = "digits_study/workload.py") -> str:
    """Why the changed study is refused."""
    change(digits, old, new, name)
    with pytest.raises(MatrixError) as caught:
        opened(digits)
    return str(caught.value)


def test_a_workload_that_imports_torch_is_refused_with_the_line(digits: Path) -> None:
    change(digits, "from workloads.contract.rows", "import torch\nfrom workloads.contract.rows")
    command = [sys.executable, "-m", "orchestrator.cli", "plan"]
    done = subprocess.run(command, cwd=digits, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "matrix.yaml:3: workload is digits_study.workload, which imports torch at " in done.stderr
    assert "digits_study/workload.py:6; " in done.stderr


def test_a_module_that_it_imports_is_looked_at_too(digits: Path) -> None:
    said = refusal(digits, "from workloads.contract.rows", "import digits_study.train\nfrom workloads.contract.rows")
    assert "digits_study/train.py:7; " in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('inputs=("split",)', 'inputs=("spilt",)', "stage 'train' reads 'spilt', which is not a stage before it"),
        ('branches=("clean", "shifted")', 'branches=("clean", "moved")', "branch 'moved', which is not in `branches`"),
        (
            'sections=("data",)',
            'sections=("date",)',
            "reads 'date', which is not a section of `controls`; allowed: d",
        ),
        ('name="train"', 'name="split"', "stage 'split' appears twice"),
        ('name="train"', 'name="../up"', "not a valid name; allowed: letters"),
        ('family = "mlp"', 'family = "conv"', "two families have the same name"),
        ("digits_study.split", "digits_study.spilt", "names module 'digits_study.spilt', which does not exist"),
        ('module="digits_study.split"', 'module="lone_stage"', "'lone_stage', which lies beside package"),
        (
            'name="digits"',
            'name="digits", report="digits_study.page"',
            "`report` names module 'digits_study.page', which does not exist",
        ),
        ("WORKLOAD = ", "STUDY = ", "has no WORKLOAD = Workload(...)"),
        ("WORKLOAD = ", "1 / 0\nWORKLOAD = ", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_table_that_cannot_be_is_refused(digits: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(digits, old, new)


def test_a_workload_that_there_is_not_is_refused(digits: Path) -> None:
    said = refusal(digits, "digits_study.workload", "digits_study.nothing", "matrix.yaml")
    assert "matrix.yaml:3: workload cannot be used: workload 'digits_study.nothing': no module" in said


def test_fingerprints_hold_the_name_of_a_workload(digits: Path) -> None:
    before = {job.fingerprint for job in opened(digits).plan.jobs.values()}
    change(digits, 'name="digits"', 'name="other"')
    assert before and not before & {job.fingerprint for job in opened(digits).plan.jobs.values()}


def test_provenance_names_the_commit_of_a_workload_from_another_repository(digits: Path) -> None:
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(digits))
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "a study")):
        subprocess.run([*git, *command], check=True)
    theirs = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    found = commits_of(("digits_study", digits / "digits_study"))
    assert found.endswith(f"digits_study:{theirs}")
    assert commits_of(("workloads", digits)) == found.removesuffix(f"digits_study:{theirs}").strip()


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_a_package_with_the_name_of_an_installed_one_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(MatrixError, match=rf"{tmp_path / name} is hidden by the module '{name}' at .*another name"):
        workload_of(f"{name}.workload", tmp_path / "matrix.yaml", Place("matrix.yaml", 3))


def test_a_package_without_init_lies_where_the_module_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder / "spread_study").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / folder)
    (tmp_path / "first" / "spread_study" / "workload.py").touch()
    assert package_of("spread_study.workload") == ("spread_study", tmp_path / "first" / "spread_study")


def test_a_module_beside_the_package_is_not_imported_in_jobs(tmp_path: Path) -> None:
    (tmp_path / "lone_helper.py").touch()
    text = "import lone_helper\n" + STUDY_TEXT
    (tmp_path / "lone_study.py").write_text(text.replace("NAME", "lone_study"), encoding="utf-8")
    with pytest.raises(MatrixError, match=r"imports 'lone_helper' at .*lone_helper.py, beside its package"):
        workload_of("lone_study", tmp_path / "matrix.yaml", Place("matrix.yaml", 3))


def test_an_installed_workload_may_have_stages_in_another_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "far_stage.py").touch()
    (place / "far_study.py").write_text(STUDY_TEXT.replace("NAME", "far_stage"), encoding="utf-8")
    monkeypatch.syspath_prepend(place)
    assert workload_of("far_study", tmp_path / "matrix.yaml", Place("matrix.yaml", 3)).name == "small"


def test_a_converter_of_checkpoints_may_lie_beside_the_matrix(tmp_path: Path) -> None:
    text = "import sys\nprint(sys.argv[1:], file=sys.stderr)\nsys.exit(2)\n"
    (tmp_path / "beside_converter.py").write_text(text, encoding="utf-8")
    job = make_job("train", "train/a")
    job = replace(job, spec=replace(job.spec, reshard="beside_converter"))
    with pytest.raises(PlanError, match=r"'--ranks', '2', '--zero-stage', '1'"):
        convert(job, tmp_path / "step-1", 2, 1, tmp_path / "out", beside=tmp_path)
