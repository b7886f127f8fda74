"""A team's MLflow, with PostgreSQL, S3 and passwords: a study is shown there, and again in an empty one, the same."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient
from run_contents import contents_of, seconds_of

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "cluster" / "mlflow" / "dev"
ECHO_MATRIX = str(Path(sys.executable).with_name("echo-matrix"))
CHOSEN = ("axes.rate.values=[0.1]", "seeds=[0]", "controls.training.epochs=5")


def server(verb: str, *arguments: str | Path) -> None:
    subprocess.run([sys.executable, str(DEV), verb, *map(str, arguments)], check=True, timeout=300)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = Path("/tmp") / f"echo-matrix-team-{os.getpid()}"  # PostgreSQL's own user cannot enter pytest's folders
    try:
        server("start", folder)
        yield folder
    finally:
        server("stop", folder)
    assert not folder.exists()


@pytest.fixture
def client(team: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Its credentials are in the environment, as a member of the team has them."""
    for line in (team / "client.env").read_text().splitlines():
        name, _, text = shlex.split(line)[1].partition("=")
        monkeypatch.setenv(name, text)
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def call(folder: Path, *arguments: str, code: int = 0, environment: Mapping[str, str] = os.environ) -> str:
    done = subprocess.run(
        [ECHO_MATRIX, *arguments],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_study_at_a_teams_server_is_the_same_after_a_sync_to_an_empty_one(
    team: Path, client: MlflowClient, tmp_path: Path
) -> None:
    digits = tmp_path / "digits"
    ignored = shutil.ignore_patterns("outputs", "__pycache__")
    shutil.copytree(ROOT / "docs" / "tutorials" / "digits", digits, ignore=ignored)
    uri = f"tracking.uri={os.environ['MLFLOW_TRACKING_URI']}"
    call(digits, "run", "--rows", "linear,mlp", "--set", uri, *CHOSEN)
    shown, took = contents_of(client, "digits"), seconds_of(client, "digits")
    cells = {name for name in shown if name.endswith("/s0")}
    assert {name.partition("/")[0] for name in cells} >= {"linear", "mlp"}
    assert {shown[name]["status"] for name in shown} == {"FINISHED"}
    assert all(len(shown[name]["metrics"]["train/loss"]) == 5 for name in cells)
    assert any(path.startswith("report/") for run in shown.values() for path in run["files"])

    server("daemon", "mlflow", "kill", team)
    server("erase", team)
    assert client.get_experiment_by_name("digits") is None
    assert "sent to MLflow" in call(digits, "sync")  # overrides and the server are those of the last run
    assert contents_of(client, "digits") == shown
    again = seconds_of(client, "digits")
    assert all(abs(again[name] - took[name]) < 20 for name in took), (again, took)

    call(digits, "sync")
    log = (digits / "outputs" / "digits" / "tracking.log").read_text()
    assert int(re.findall(r"^(\d+) requests to MLflow$", log, re.MULTILINE)[-1]) <= 10

    password = os.environ["MLFLOW_TRACKING_PASSWORD"]
    wrong = {**os.environ, "MLFLOW_TRACKING_PASSWORD": f"not-{password[:9]}"}
    assert "MLflow refuses the credentials: set MLFLOW_TRACKING_USERNAME and" in call(
        digits, "sync", code=1, environment=wrong
    )
    written = [path for folder in (digits, team / "log") for path in folder.rglob("*") if path.is_file()]
    for secret in (password, wrong["MLFLOW_TRACKING_PASSWORD"]):
        assert not [path for path in written if secret.encode() in path.read_bytes()]
