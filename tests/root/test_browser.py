"""What a user sees in a browser: the report's page and MLflow's, in a headless Chromium."""

import re
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, FLAGS
from made_input import ROWS, made_input
from made_plan import STAGES, made_plan
from PIL import Image
from test_mlflow_tracker import show_all

from orchestrator.tracking.mlflow.pages import page_of
from orchestrator.tracking.mlflow.ui import end_ui, start_ui, wait_for_ui
from reports.build import build

WAITS_MS = 10_000
"""Of the page's own clock, for what its scripts fetch."""

Browse = Callable[..., str]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """`browse(address, picture)` returns the page's DOM once its scripts have run, and takes a picture of it."""
    assert CHROMIUM is not None, "`make test-root` installs Debian's chromium"

    def look(address: str, picture: Path, size: str = "1400,2000") -> str:
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={size}"]
        command += [f"--virtual-time-budget={WAITS_MS}", "--dump-dom", f"--screenshot={picture}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return look


def assert_shows_something(picture: Path, width: int) -> None:
    """A picture of the asked width that is neither blank nor broken."""
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert pixels.shape[1] == width and pixels.shape[0] > 500
    shares = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)[1] / (pixels.size / 3)
    assert len(shares) > 50, "a blank page has one colour"
    assert shares.max() < 0.995


def test_the_report_shows_every_row_and_its_figures(tmp_path: Path, browse: Browse) -> None:
    (tmp_path / "strips").mkdir()
    build(tmp_path / "report", made_input(tmp_path / "strips"))
    dom = browse((tmp_path / "report" / "index.html").as_uri(), tmp_path / "report.png")
    text = re.sub(r"<[^>]+>", " ", dom)
    assert "<title>" in dom and dom.count("<svg") + dom.count("<img") > 3
    assert [name for name, _, _ in ROWS if name not in text] == []
    assert_shows_something(tmp_path / "report.png", 1400)


def test_mlflow_shows_the_studys_runs(tmp_path: Path, browse: Browse) -> None:
    plan, home = made_plan(stages=(*STAGES, ("camera", "return"))), tmp_path / "home"
    show_all(home, plan, tmp_path / "artifacts")
    server = start_ui(home, "127.0.0.1", 0)
    try:
        wait_for_ui(server, timeout_s=300)
        with urllib.request.urlopen(server.link, timeout=60) as answer:
            assert answer.status == 200
        dom = browse(f"{server.link}{page_of(plan, home, None)}", tmp_path / "mlflow.png", "1600,900")
    finally:
        end_ui(server)
    assert server.process.poll() is not None
    assert "GET /" not in server.log.read_text(), "pages that stay open for a week fill no disk"
    assert "artifacts alone" not in dom, "no page asks for what is closed"
    text = " ".join(re.sub(r"<[^>]+>", " ", dom).split())
    assert "laptop: rows and cells, best first" in text, "the view that the study has saved"
    rows = [cell.row for cell in plan.cells]
    assert f"{2 * len(rows)} matching runs" in text
    assert all(text.index(f"{row} ") < text.index(f"{row}/s0") for row in rows), "a row is above its cells"
    for column in ("state", "progress", "row", "family", "seed", "return/judge_gated", "4/4 jobs", "10"):
        assert f" {column} " in text
    assert_shows_something(tmp_path / "mlflow.png", 1600)
