"""Children of ours run our code with the user's libraries, wherever they are started."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.host.children import child_environment, import_path, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.launch import rank_environment
from orchestrator.host.libraries import libraries_of_jobs
from orchestrator.host.multi_node import ranks_of_node
from orchestrator.tracking.mlflow.environment import mlflow_environment

MAY_START_PYTHON = {
    "orchestrator/backends/ray/entry.py",
    "orchestrator/host/children.py",
    "orchestrator/schedule/notifications.py",
}
"""The first puts a node's interpreter in the place of the controller's, in a command of the second; the third
names the path of our code by itself, so that the user's command gets the user's PYTHONPATH."""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: everything in it has a name that our code imports, and ends the process."""
    for name in ("orchestrator", "workloads", "reports", "mlflow", "ray", "torch", "yaml", "uvicorn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} of the current folder')\n")
    (tmp_path / "secrets.py").write_text("raise SystemExit('a module of the current folder')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_our_code_comes_first_then_what_the_user_has_set_each_once_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"PYTHONPATH": f":/modules/torch:libraries:/code::/modules/torch:{Path('/code')}"}
    assert import_path(Path("/code"), given) == f"/code:/modules/torch:{tmp_path / 'libraries'}"
    assert import_path(Path("/code"), given, Path("/beside")).endswith(":/beside")
    assert import_path(Path("/code"), {}) == "/code"


def test_code_that_is_installed_hides_no_library_of_the_user() -> None:
    import site

    assert import_path(Path(site.getsitepackages()[0]), {"PYTHONPATH": "/modules/torch"}) == "/modules/torch"


def test_a_rank_keeps_the_users_libraries_behind_the_code() -> None:
    given = rank_environment(
        {"PYTHONPATH": "/code:/modules/torch", "SBATCH_PARTITION": "gpu"},
        {"threads": 1, "deterministic": False},
        rank=0,
        ranks=ranks_of_node(1),
        visible=(),
        code_folder="/code",
    )
    assert given["PYTHONPATH"] == "/code:/modules/torch" and "SBATCH_PARTITION" not in given


def test_a_child_imports_nothing_from_the_current_folder(elsewhere: Path) -> None:
    done = subprocess.run(
        python_command("orchestrator.host.libraries", "yaml", "not_there"),
        env=child_environment(CHECKOUT, {**os.environ, "PYTHONPATH": ":"}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["yaml"] is not None and found["not_there"] is None


def test_what_mlflows_server_starts_imports_nothing_from_it_either(elsewhere: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "secrets"], env=mlflow_environment(os.environ), capture_output=True)
    assert done.returncode == 0, "PYTHONSAFEPATH is passed on"


def test_a_library_that_comes_by_pythonpath_is_found_in_the_environment_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "of_a_module").mkdir()
    (tmp_path / "of_a_module" / "__init__.py").touch()
    assert libraries_of_jobs(["of_a_module"], {}) == {"of_a_module": None}
    assert libraries_of_jobs(["of_a_module"], {"PYTHONPATH": str(tmp_path)}) == {"of_a_module": ""}


def test_only_one_place_decides_how_a_child_is_started() -> None:
    """`-m` after an interpreter's name: everywhere else the current folder would come first."""
    found = set()
    for path in (CHECKOUT / "orchestrator").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "sys.executable" not in text and '"-m"' not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and node.value == "-m":
                found.add(path.relative_to(CHECKOUT).as_posix())
            if isinstance(node, ast.List | ast.Tuple) and any(
                "sys.executable" in ast.unparse(one) for one in node.elts
            ):
                found.add(path.relative_to(CHECKOUT).as_posix())
    assert found <= MAY_START_PYTHON
