"""MLflow's pages: errors help. tests/root/test_browser.py looks at the pages."""

import pytest

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow.ui import start_ui


def test_without_runs_it_says_what_to_do_first(tmp_path):
    with pytest.raises(TrackingError, match="echo-matrix run"):
        start_ui(tmp_path, "127.0.0.1", 1)
