"""A store whose calls fail, hang, or succeed and report failure costs patience, and nothing else."""

from pathlib import Path

import pytest
from faulty_store import FaultyStore
from store_contract import StoreContract

from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store


class TestFaultyStoreWhenCalm(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return FaultyStore(make_store("files", tmp_path / "store", check=True), chances={"ok": 1.0})

    @pytest.fixture
    def other(self, tmp_path: Path) -> Store:
        return make_store("files", tmp_path / "store")
