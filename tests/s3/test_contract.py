"""The S3 store passes the contract suites on two servers that share no code."""

from dataclasses import replace
from pathlib import Path

import pytest
from s3_servers import Service

from orchestrator.store.location import StoreLocation
from orchestrator.store.protocol import CheckpointStore, SharedObjects, Store
from orchestrator.store.registry import make_store
from orchestrator.testing.checkpoints import CheckpointsContract
from orchestrator.testing.objects import ObjectsContract
from orchestrator.testing.stores import FINGERPRINT, StoreContract


class _StoreOnServer(StoreContract):
    @pytest.fixture
    def location(self, service: Service, tmp_path: Path) -> StoreLocation:
        return service.location(tmp_path)

    @pytest.fixture
    def store(self, location: StoreLocation) -> Store:
        return make_store(location)

    @pytest.fixture
    def other(self, location: StoreLocation, tmp_path: Path) -> Store:
        """Another machine: it has what it writes and fetches in other folders."""
        folder, cache = str(tmp_path / "other" / "store"), str(tmp_path / "other" / "cache")
        return make_store(replace(location, folder=folder, cache=cache))

    @pytest.fixture(autouse=True)
    def _service(self, service: Service, location: StoreLocation) -> None:
        self.client, self.bucket = service.client(), service.bucket
        self.prefix = location.url.removeprefix(f"s3://{service.bucket}/")

    def replace_file(self, store: Store, path: str, content: bytes | None) -> None:
        commit = store.read(FINGERPRINT)
        key = f"{self.prefix}/artifacts/{commit.stage}/{FINGERPRINT[:16]}/{commit.attempt}/{path}"
        if content is None:
            self.client.delete_object(Bucket=self.bucket, Key=key)
        else:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=content)


class _ObjectsOnServer(ObjectsContract):
    @pytest.fixture
    def location(self, service: Service, tmp_path: Path) -> StoreLocation:
        return service.location(tmp_path)

    @pytest.fixture
    def objects(self, location: StoreLocation) -> SharedObjects:
        return _objects(location)

    @pytest.fixture
    def other(self, location: StoreLocation) -> SharedObjects:
        return _objects(location)


class _CheckpointsOnServer(CheckpointsContract):
    @pytest.fixture
    def location(self, service: Service, tmp_path: Path) -> StoreLocation:
        return service.location(tmp_path)

    @pytest.fixture
    def checkpoints(self, location: StoreLocation) -> CheckpointStore:
        return _checkpoints(location)

    @pytest.fixture
    def other(self, location: StoreLocation) -> CheckpointStore:
        return _checkpoints(location)


def _checkpoints(location: StoreLocation) -> CheckpointStore:
    checkpoints = make_store(location).checkpoints
    assert checkpoints is not None
    return checkpoints


def _objects(location: StoreLocation) -> SharedObjects:
    objects = make_store(location).objects
    assert objects is not None
    return objects


class TestOnSeaweed(_StoreOnServer):
    @pytest.fixture
    def service(self, seaweed_service: Service) -> Service:
        return seaweed_service


class TestOnMoto(_StoreOnServer):
    @pytest.fixture
    def service(self, moto_service: Service) -> Service:
        return moto_service


class TestObjectsOnSeaweed(_ObjectsOnServer):
    @pytest.fixture
    def service(self, seaweed_service: Service) -> Service:
        return seaweed_service


class TestObjectsOnMoto(_ObjectsOnServer):
    @pytest.fixture
    def service(self, moto_service: Service) -> Service:
        return moto_service


class TestCheckpointsOnSeaweed(_CheckpointsOnServer):
    @pytest.fixture
    def service(self, seaweed_service: Service) -> Service:
        return seaweed_service


class TestCheckpointsOnMoto(_CheckpointsOnServer):
    @pytest.fixture
    def service(self, moto_service: Service) -> Service:
        return moto_service
