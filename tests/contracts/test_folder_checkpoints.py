"""Stored checkpoints in a local folder against the contract suite of stored checkpoints."""

from pathlib import Path

import pytest

from orchestrator.store.protocol import CheckpointStore
from orchestrator.testing.checkpoints import CheckpointsContract, FolderCheckpoints


class TestFolderCheckpoints(CheckpointsContract):
    @pytest.fixture
    def checkpoints(self, tmp_path: Path) -> CheckpointStore:
        return FolderCheckpoints(tmp_path / "bucket")

    @pytest.fixture
    def other(self, tmp_path: Path) -> CheckpointStore:
        return FolderCheckpoints(tmp_path / "bucket")
