"""Servers that the tests of the S3 store share, one of each kind in a process."""

from collections.abc import Iterator

import pytest
from s3_proxy import FaultProxy, faulty
from s3_servers import Service, credentials, moto, nanio, seaweed


@pytest.fixture(autouse=True)
def _credentials() -> Iterator[None]:
    with credentials():
        yield


@pytest.fixture(scope="session")
def seaweed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as service:
        yield service


@pytest.fixture(scope="session")
def moto_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with moto(tmp_path_factory.mktemp("moto")) as service:
        yield service


@pytest.fixture(scope="session")
def nanio_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with nanio(tmp_path_factory.mktemp("nanio")) as service:
        yield service


@pytest.fixture(scope="module")
def proxy_of(moto_service: Service) -> Iterator[FaultProxy]:
    """The proxy of a test file, which may put it before another server."""
    with faulty(moto_service) as proxy:
        yield proxy


@pytest.fixture
def proxy(proxy_of: FaultProxy) -> FaultProxy:
    """The same, without what an earlier test has scripted or counted."""
    proxy_of.clear()
    return proxy_of
