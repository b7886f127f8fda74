"""Commit records and objects while requests fail: one attempt wins, it is told so, and nothing is lost."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_proxy import (
    CONFLICT,
    DONE_AND_INTERNAL,
    DROPPED,
    FALSE_PRECONDITION,
    FLIPPED_ANSWER,
    FLIPPED_REQUEST,
    INTERNAL,
    LOST_ANSWER,
    SLOW_DOWN,
    TRUNCATED,
    Fault,
    FaultProxy,
    faulty,
    hang,
    refusal,
)
from s3_servers import Service

from orchestrator.errors import StoreError, StoreUnreachable
from orchestrator.schedule.resilient_store import TRANSIENT_ERRNOS
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store
from orchestrator.store.s3.client import ATTEMPTS, S3Client, bucket_and_prefix
from orchestrator.store.s3.objects import TRIES, DamagedObject, S3Objects
from orchestrator.testing.stores import FINGERPRINT, make_commit, write_and_commit


@pytest.fixture(scope="module")
def proxy_of(seaweed_service: Service) -> Iterator[FaultProxy]:
    with faulty(seaweed_service) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def unchecked(moto_service: Service) -> Iterator[FaultProxy]:
    """Before a server that compares neither signatures nor checksums."""
    with faulty(moto_service) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: FaultProxy, tmp_path: Path) -> Store:
    return make_store(proxy.service.behind(proxy.endpoint).location(tmp_path))


CONTENT = b"a record " * 40


def objects_of(proxy: FaultProxy, tmp_path: Path, read_timeout_s: float = 20.0) -> S3Objects:
    location = proxy.service.behind(proxy.endpoint).location(tmp_path)
    return S3Objects(S3Client(location, read_timeout_s=read_timeout_s), *bucket_and_prefix(location), location)


# Of requests for one object, boto3 repeats what is lost, dropped or answered 5xx; the rest is ours.
@pytest.mark.parametrize(
    ("fault", "puts"),
    [
        pytest.param(LOST_ANSWER, 2, id="lost answer"),
        pytest.param(DONE_AND_INTERNAL, 2, id="done and 500"),
        pytest.param(DROPPED, 2, id="dropped"),
        pytest.param(INTERNAL, 2, id="500"),
        pytest.param(SLOW_DOWN, 2, id="503"),
        pytest.param(CONFLICT, 2, id="409"),
        pytest.param(FALSE_PRECONDITION, 2, id="false 412"),
    ],
)
def test_a_commit_whose_put_fails_once_is_made_and_its_attempt_is_told_that_it_won(
    proxy: FaultProxy, store: Store, fault: Fault, puts: int
) -> None:
    proxy.fail(fault, "PUT", "commits/")
    assert write_and_commit(store, "a001-x")
    assert proxy.seen("PUT", "commits/") == puts
    assert store.read(FINGERPRINT).attempt == "a001-x"
    assert not write_and_commit(store, "a002-y")


@pytest.mark.parametrize("fault", [LOST_ANSWER, CONFLICT, FALSE_PRECONDITION], ids=lambda fault: fault.name)
def test_a_commit_that_another_has_made_meanwhile_is_lost(
    proxy: FaultProxy, store: Store, tmp_path: Path, fault: Fault
) -> None:
    folder = store.prepare("second", FINGERPRINT, "a002-y")
    (folder / "weights.bin").write_bytes(b"y")
    rival = Fault("a rival commits first", answer=fault.answer, forwarded=fault.forwarded)
    assert write_and_commit(make_store(store._location), "a001-x")  # type: ignore[attr-defined]
    proxy.fail(rival, "PUT", "commits/")
    assert not store.commit(make_commit("a002-y"), folder)
    assert store.read(FINGERPRINT).attempt == "a001-x"


@pytest.mark.parametrize("fault", [TRUNCATED, FLIPPED_ANSWER], ids=lambda fault: fault.name)
def test_an_answer_that_arrives_damaged_is_read_again(proxy: FaultProxy, tmp_path: Path, fault: Fault) -> None:
    objects = objects_of(proxy, tmp_path)
    proxy.fail(fault, "GET", "lease/1", times=2)
    assert objects.create("lease/1", CONTENT) == CONTENT
    assert proxy.seen("GET", "lease/1") >= 3


def test_a_damaged_request_is_refused_by_a_server_that_compares(proxy: FaultProxy, tmp_path: Path) -> None:
    objects = objects_of(proxy, tmp_path)
    proxy.fail(FLIPPED_REQUEST, "PUT", "lease/1")
    with pytest.raises(StoreUnreachable, match="fails now") as refused:
        objects.create("lease/1", CONTENT)
    assert refused.value.errno in TRANSIENT_ERRNOS
    assert objects.create("lease/1", CONTENT) == CONTENT


def test_a_damaged_request_to_a_server_that_does_not_compare_is_repaired(
    unchecked: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.s3.objects.LONGEST_PAUSE_S", 0.01)
    objects = objects_of(unchecked, tmp_path)
    unchecked.fail(FLIPPED_REQUEST, "PUT", "lease/1")
    assert objects.create("lease/1", CONTENT) == CONTENT
    assert unchecked.seen("PUT", "lease/1") == 2
    assert objects.get("lease/1") == CONTENT


def test_an_object_that_somebody_has_changed_is_told(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.s3.objects.LONGEST_PAUSE_S", 0.01)
    objects = objects_of(proxy, tmp_path)
    proxy.fail(FLIPPED_ANSWER, "GET", "lease/1", times=100)
    with pytest.raises(DamagedObject, match="damaged") as refused:
        objects.create("lease/1", CONTENT)
    assert "lease/1" in str(refused.value)


def test_an_object_that_would_fill_memory_is_not_read(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = objects_of(proxy, tmp_path)
    objects.put("asked/large", b"x" * 100)
    assert objects.get("asked/large") == b"x" * 100
    monkeypatch.setattr("orchestrator.store.s3.objects.LARGEST", 99)
    with pytest.raises(StoreError, match=r"asked/large has 100 bytes; allowed: 99; remove it"):
        objects.get("asked/large")


@pytest.mark.parametrize("fault", [INTERNAL, DROPPED], ids=lambda fault: fault.name)
def test_a_service_that_keeps_failing_is_unreachable_with_an_errno_that_is_waited_for(
    proxy: FaultProxy, tmp_path: Path, fault: Fault
) -> None:
    objects = objects_of(proxy, tmp_path)
    proxy.fail(fault, "PUT", "lease/1", times=ATTEMPTS)
    with pytest.raises(StoreUnreachable, match="lease/1") as refused:
        objects.create("lease/1", b"one")
    assert refused.value.errno in TRANSIENT_ERRNOS
    assert proxy.seen("PUT", "lease/1") == ATTEMPTS
    assert objects.create("lease/1", b"one") == b"one"


@pytest.mark.parametrize("fault", [CONFLICT, FALSE_PRECONDITION], ids=lambda fault: fault.name)
def test_an_object_that_can_never_be_created_is_told(
    proxy: FaultProxy, tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.s3.objects.LONGEST_PAUSE_S", 0.01)
    objects = objects_of(proxy, tmp_path)
    proxy.fail(fault, "PUT", "lease/1", times=100)
    with pytest.raises(StoreUnreachable, match=rf"refuses {TRIES} times to create it .{fault.name}.*nothing is there"):
        objects.create("lease/1", b"one")
    assert proxy.seen("PUT", "lease/1") == TRIES  # boto3 repeats neither


def test_a_service_that_hangs_is_tried_again(proxy: FaultProxy, tmp_path: Path) -> None:
    objects = objects_of(proxy, tmp_path, read_timeout_s=0.2)
    proxy.fail(hang(0.6), "PUT", "lease/1")
    assert objects.create("lease/1", b"one") == b"one"
    proxy.fail(hang(0.6), "GET", "lease/1", times=ATTEMPTS)
    with pytest.raises(StoreUnreachable, match="does not answer in time") as refused:
        objects.get("lease/1")
    assert refused.value.errno == errno.ETIMEDOUT


def test_an_object_that_was_created_and_is_gone_is_told(proxy: FaultProxy, tmp_path: Path) -> None:
    objects = objects_of(proxy, tmp_path)
    absent = Fault("nothing is written", forwarded=False, answer=lambda answer: answer)
    proxy.fail(absent, "PUT", "lease/1")
    with pytest.raises(StoreError, match="was written and is gone again"):
        objects.create("lease/1", b"one")


def test_a_service_without_batches_deletes_one_by_one(proxy: FaultProxy, tmp_path: Path) -> None:
    objects = objects_of(proxy, tmp_path)
    for number in range(3):
        objects.put(f"asked/{number}", b"x")
    proxy.fail(refusal(501, "NotImplemented"), "POST")
    objects.delete([f"asked/{number}" for number in range(3)])
    assert objects.entries("") == []
    assert proxy.seen("DELETE") == 3


def test_a_listing_has_pages_of_a_thousand(proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.s3.objects.PAGE", 2)
    objects = objects_of(proxy, tmp_path)
    for number in range(5):
        objects.put(f"asked/{number}", b"x")
    assert [entry.key for entry in objects.entries("asked/")] == [f"asked/{number}" for number in range(5)]
    assert proxy.seen("GET", "list-type=2") == 3
    objects.delete([f"asked/{number}" for number in range(5)])
    assert objects.entries("") == []


def test_a_record_that_stays_damaged_is_told_and_can_be_withdrawn(
    unchecked: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.s3.objects.LONGEST_PAUSE_S", 0.01)
    location = unchecked.service.behind(unchecked.endpoint).location(tmp_path)
    store = make_store(location)
    assert write_and_commit(store, "a001-x")
    bucket, prefix = bucket_and_prefix(location)
    key = f"{prefix}commits/{FINGERPRINT}.json"
    client = unchecked.service.client()
    client.put_object(Bucket=bucket, Key=key, Body=b"{}", Metadata={"sha256": "0" * 64})
    with pytest.raises(StoreError, match=r"differs from the checksum that its writer gave.*if that stays so, delete"):
        store.read(FINGERPRINT)
    store.withdraw(FINGERPRINT)
    assert store.commits() == frozenset()
    assert write_and_commit(store, "a002-y")
