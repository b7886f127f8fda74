"""All stores keep the contract."""

from pathlib import Path

import pytest

from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store
from orchestrator.testing.stores import StoreContract


class TestFilesStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return make_store("files", tmp_path / "store", check=True)

    @pytest.fixture
    def other(self, tmp_path: Path) -> Store:
        return make_store("files", tmp_path / "store")
