"""A user that is only a number, a terminal that cannot redraw, an output that cannot encode."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.backends.ray.environment import join_environment
from orchestrator.host.user import complete_user
from orchestrator.ui.progress import PlainView, make_view
from orchestrator.ui.terminal import can_redraw, print_anything
from orchestrator.ui.watch import PlainWatch, make_watch_view

NUMBER = 54321


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A user that the system does not know runs this process."""
    monkeypatch.setattr(os, "getuid", lambda: NUMBER)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return NUMBER


def test_a_user_that_is_only_a_number_gets_a_name_and_a_folder_that_is_its_own(number: int, tmp_path: Path) -> None:
    given: dict[str, str] = {}
    complete_user(given)
    assert given == {"USER": f"user-{NUMBER}", "HOME": str(tmp_path / f"echo-matrix-home-{NUMBER}")}
    assert Path(given["HOME"]).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_else_has_made_there_is_not_taken(number: int, tmp_path: Path) -> None:
    (tmp_path / f"echo-matrix-home-{NUMBER}").mkdir(mode=0o700)  # by the user that runs the tests
    given: dict[str, str] = {}
    complete_user(given)
    assert Path(given["HOME"]).name.startswith(f"echo-matrix-home-{NUMBER}-")


def test_what_the_environment_says_is_kept(number: int, tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "LOGNAME": "ada"}
    complete_user(given)
    assert given == {"HOME": str(tmp_path), "LOGNAME": "ada"}


def test_a_user_that_the_system_knows_is_left_alone() -> None:
    given: dict[str, str] = {}
    complete_user(given)
    assert given == {}


def test_a_rays_token_is_looked_for_without_a_home_folder(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    assert join_environment({"HOME": str(tmp_path)}) == {"RAY_AUTH_MODE": "token"}


@pytest.mark.slow
def test_a_verb_works_for_a_user_without_entry_and_home(tmp_path: Path, root: Path) -> None:
    inside = ["unshare", "--user", f"--map-user={NUMBER}", f"--map-group={NUMBER}"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    line = [str(Path(sys.executable).with_name("echo-matrix")), "doctor", "--matrix", str(root / "matrix.yaml")]
    environment = {"PATH": os.environ["PATH"], "ECHO_MATRIX_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run([*inside, *line], env=environment, capture_output=True, text=True)
    # Warnings are allowed: they are of the machine, such as the leftovers of another run.
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert can_redraw(Terminal()) and not can_redraw(io.StringIO())
    monkeypatch.setenv("TERM", name)
    assert isinstance(make_view(Terminal()), PlainView)
    assert isinstance(make_watch_view(Terminal(), as_json=False), PlainWatch)


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("ascii", b"/a/\\xe9/\xff/\\u2713\n"), ("utf-8", "/a/é/".encode() + b"\xff" + "/✓\n".encode())],
)
def test_any_path_can_be_printed(monkeypatch: pytest.MonkeyPatch, encoding: str, written: bytes) -> None:
    out = io.BytesIO()
    stream = io.TextIOWrapper(out, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_anything()
    print(os.fsdecode(b"/a/") + "é/" + "\udcff" + "/✓")
    stream.flush()
    assert out.getvalue() == written
