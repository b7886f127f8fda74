"""The wheel: all that a study needs is in it, and it runs from an empty folder; no checkout is near."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("orchestrator", "workloads", "reports")
VERSION = "0.1.0+g0123456ab"


@pytest.fixture(scope="module")
def tracked(root: Path) -> list[str]:
    """The files of the repository."""
    command = ["git", "ls-files", "-z", "--", *PACKAGES, "pyproject.toml", "README.md"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if (root / name).is_file()]


@pytest.fixture(scope="module")
def wheel(root: Path, tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked:
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, folder / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    environment = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": VERSION}
    done = subprocess.run([*command, folder, folder / "source"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_every_file_of_the_packages_is_in_it_and_nothing_else(wheel: Path, tracked: list[str]) -> None:
    assert wheel.name == f"echo_matrix-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as content:
        found = {name for name in content.namelist() if ".dist-info/" not in name}
    assert found == {name for name in tracked if name.startswith(PACKAGES)}


def test_installed_in_site_packages_it_runs_a_study_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, study = tmp_path / "lib" / "site-packages", tmp_path / "study"
    shutil.unpack_archive(wheel, site, "zip")
    study.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ECHO_MATRIX_")}
    environment = {**kept, "PYTHONPATH": str(site), "ECHO_MATRIX_FAKE_S": "0"}

    def echo_matrix(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "orchestrator.cli", *arguments]
        done = subprocess.run(command, cwd=study, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    echo_matrix("init")
    assert " new" in echo_matrix("plan")
    echo_matrix("run", "--backend", "fake")
    assert " done" in echo_matrix("status", "--backend", "fake")
    (code,) = (study / "outputs").glob("*-rehearsal/code/*")
    assert (code / "orchestrator" / "host" / "node.py").read_bytes() == (
        site / "orchestrator" / "host" / "node.py"
    ).read_bytes()
    assert not (code / "numpy").exists()
    page = echo_matrix("report").strip().removeprefix("report: ")
    assert "<html" in Path(page).read_text(encoding="utf-8")
    asked = "from orchestrator.provenance import commits_of as c, version as v; "
    command = [sys.executable, "-P", "-c", f"{asked}print(v(), c(('workloads', None)))"]
    answer = subprocess.run(command, cwd=study, env=environment, capture_output=True, text=True)
    assert answer.stdout == f"{VERSION} 0123456ab\n"
