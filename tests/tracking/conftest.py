"""The tracking child looks often at metrics that grow."""

import pytest


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.tracking.mlflow.tracker.FOLLOW_S", 0.2)
