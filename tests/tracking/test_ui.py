"""MLflow's pages: they answer at the address that is said, and their errors help."""

import socket
import urllib.request

import pytest

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow.database import prepare_database
from orchestrator.tracking.mlflow.ui import end_ui, start_ui, wait_for_ui


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_runs_it_says_what_to_do_first(tmp_path):
    with pytest.raises(TrackingError, match="echo-matrix run"):
        start_ui(tmp_path, "127.0.0.1", 1)


def test_the_pages_answer_where_they_say(tmp_path):
    prepare_database(tmp_path)
    port = free_port()
    server = start_ui(tmp_path, "127.0.0.1", port)
    try:
        wait_for_ui(server, tmp_path, "127.0.0.1", port, timeout_s=300)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.status == 200
    finally:
        end_ui(server)
    assert server.poll() is not None
    assert "GET /" not in (tmp_path / "ui.log").read_text(), "pages that stay open for a week fill no disk"
