"""Shared objects in a local folder against the contract suite of shared objects."""

from pathlib import Path

import pytest

from orchestrator.store.protocol import SharedObjects
from orchestrator.testing.objects import FolderObjects, ObjectsContract


class TestFolderObjects(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> SharedObjects:
        return FolderObjects(tmp_path / "objects")

    @pytest.fixture
    def other(self, tmp_path: Path) -> SharedObjects:
        return FolderObjects(tmp_path / "objects")
