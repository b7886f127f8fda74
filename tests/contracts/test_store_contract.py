"""All stores keep the contract."""

from pathlib import Path

import pytest

from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Store
from orchestrator.testing.stores import StoreContract


class TestFilesStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return FilesStore(tmp_path / "store")

    @pytest.fixture
    def other(self, tmp_path: Path) -> Store:
        return FilesStore(tmp_path / "store")
