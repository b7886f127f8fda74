"""A commit is recorded only where git tracks the code that runs."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.provenance import UNREADABLE, commits_of


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def repository(folder: Path) -> str:
    """Make one of what lies there; returns its commit."""
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A package `my_study` in a folder that is no repository yet."""
    package = tmp_path / "work" / "my_study"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "stages.py").write_text("A = 1\n")
    return package


def of(package: Path, home: Path | None = None) -> str:
    """What is recorded of the package; empty: nothing."""
    _, _, found = commits_of((package.name, package), home).partition(f"{package.name}:")
    return found


def test_the_commit_is_that_of_the_repository_that_tracks_the_package(study: Path) -> None:
    assert of(study) == ""
    commit = repository(study.parent)
    assert of(study) == commit


def test_variables_of_git_lead_nowhere(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repository(study.parent)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("x")
    assert repository(other) != commit
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert of(study) == commit


def test_a_repository_around_it_that_does_not_track_it_is_not_its_own(study: Path) -> None:
    (study.parent / ".gitignore").write_text("my_study\n")
    repository(study.parent)
    assert of(study) == ""


def test_what_was_changed_or_added_of_the_code_makes_it_dirty_and_nothing_else(study: Path) -> None:
    (study.parent / "matrix.yaml").write_text("study: mine\n")
    (study / "notes.txt").write_text("x")
    commit = repository(study.parent)
    (study.parent / "matrix.yaml").write_text("study: other\n")
    (study.parent / "beside.py").touch()
    (study / "remarks.txt").touch()
    copied = study / "outputs" / "mine" / "code" / "7" / "my_study"
    copied.mkdir(parents=True)
    (copied / "stages.py").touch()
    assert of(study, study / "outputs" / "mine") == commit
    (study / "new_stage.py").touch()
    assert of(study, study / "outputs" / "mine") == f"{commit}-dirty"
    (study / "new_stage.py").unlink()
    (study / "stages.py").write_text("A = 2\n")
    assert of(study, study / "outputs" / "mine") == f"{commit}-dirty"
    git(study.parent, "add", ".")
    assert of(study, study / "outputs" / "mine") == f"{commit}-dirty", "staged is not committed"


def test_a_module_of_its_own_is_looked_for_by_its_file(study: Path) -> None:
    alone = study.parent / "alone.py"
    alone.touch()
    commit = repository(study.parent)
    _, _, found = commits_of(("alone", alone)).partition("alone:")
    assert found == commit


@pytest.mark.root
def test_a_folder_of_another_user_is_told_and_not_recorded_as_empty(study: Path) -> None:
    repository(study.parent)
    for path in (study.parent, study.parent / ".git"):
        os.chown(path, 12345, 12345)
    said: list[str] = []
    found = commits_of((study.name, study), None, said.append)
    assert found.endswith(f"my_study:{UNREADABLE}")
    assert f"git config --global --add safe.directory {study.parent}" in said[-1]
