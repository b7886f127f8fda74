"""What the S3 store does beyond the contract: requests, records on this machine, calls that were cut short."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from s3_proxy import FaultProxy, refusal
from s3_servers import Service

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.location import StoreLocation
from orchestrator.store.s3.store import S3Store
from orchestrator.testing.stores import FINGERPRINT, write_and_commit

MANY = [f"{number:02x}" * 32 for number in range(7)]


@pytest.fixture
def location(proxy: FaultProxy, tmp_path: Path) -> StoreLocation:
    return proxy.service.behind(proxy.endpoint).location(tmp_path)


def test_a_finished_study_costs_one_request_for_each_page_of_its_listing(
    proxy: FaultProxy, location: StoreLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.s3.objects.PAGE", 3)
    writer = S3Store(location)
    for fingerprint in MANY:
        assert write_and_commit(writer, "a001-x", fingerprint)
    elsewhere = replace(location, cache=str(tmp_path / "elsewhere"))
    proxy.clear()
    reader = S3Store(elsewhere)
    assert reader.commits() == set(MANY)
    assert proxy.seen() == 3  # pages
    assert {reader.read(fingerprint).fingerprint for fingerprint in MANY} == set(MANY)
    assert proxy.seen("GET", "commits/") == 3 + len(MANY)
    proxy.clear()
    again = S3Store(elsewhere)
    assert {again.read(fingerprint).attempt for fingerprint in again.commits()} == {"a001-x"}
    assert again.locate(MANY[0]).startswith(f"{location.url}/artifacts/second/{MANY[0][:16]}/a001-x/")
    assert again.revision() == reader.revision()
    assert proxy.seen() == 3 * 3  # three listings


def test_a_file_that_was_edited_in_the_cache_is_downloaded_again_before_a_report_reads_it(
    location: StoreLocation,
) -> None:
    store = S3Store(location)
    write_and_commit(store, "a001-x")
    path = store.fetch(FINGERPRINT) / "weights.bin"
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[::-1])
    assert (store.fetch_files(FINGERPRINT, ["weights.*"]) / "weights.bin").read_bytes() == content


def test_a_record_that_was_made_again_or_damaged_here_is_read_from_the_store(
    location: StoreLocation, tmp_path: Path
) -> None:
    write_and_commit(S3Store(location), "a001-x")
    reader = S3Store(location)
    assert reader.commits() == {FINGERPRINT}
    assert reader.read(FINGERPRINT).attempt == "a001-x"
    (kept,) = (tmp_path / "cache" / "records").rglob(f"{FINGERPRINT}.json")
    other = S3Store(replace(location, cache=str(tmp_path / "other")))
    other.withdraw(FINGERPRINT)
    with pytest.raises(ArtifactMissing, match=r"no commit record, .*`run` makes it"):
        S3Store(location).read(FINGERPRINT)
    assert write_and_commit(other, "a002-y")
    assert reader.commits() == {FINGERPRINT}
    assert reader.read(FINGERPRINT).attempt == "a002-y"
    kept.write_text(kept.read_text(encoding="utf-8").replace("a002", "a009"), encoding="utf-8")
    assert reader.read(FINGERPRINT).attempt == "a002-y"
    reader.withdraw(FINGERPRINT)
    assert reader.commits() == frozenset()
    reader.sweep(())
    assert not list((tmp_path / "cache" / "records").rglob("*.json"))


def test_a_withdrawal_that_was_cut_short_is_finished_under_the_same_number(
    proxy: FaultProxy, location: StoreLocation
) -> None:
    store = S3Store(location)
    write_and_commit(store, "a001-x")
    proxy.fail(refusal(403, "AccessDenied"), "DELETE", "commits/")
    with pytest.raises(StoreError, match="denies access"):
        store.withdraw(FINGERPRINT)
    assert store.commits() == {FINGERPRINT}
    store.withdraw(FINGERPRINT)
    assert store.commits() == frozenset()
    assert [record.number for record in store.withdrawn()] == [1]
    assert write_and_commit(store, "a002-y")
    store.withdraw(FINGERPRINT)
    assert [record.number for record in store.withdrawn()] == [1, 2]


def test_an_attempt_that_is_too_late_uploads_nothing(proxy: FaultProxy, location: StoreLocation) -> None:
    store = S3Store(location)
    write_and_commit(store, "a001-x")
    proxy.clear()
    assert not write_and_commit(store, "a002-y")
    assert proxy.seen("PUT") == 0


def test_studies_beside_each_other_do_not_see_each_other(location: StoreLocation) -> None:
    write_and_commit(S3Store(location), "a001-x")
    beside = S3Store(replace(location, url=f"{location.url}-2"))
    assert beside.commits() == frozenset()
    assert list(beside.artifacts()) == []
    assert beside.objects.entries("") == []


def test_what_a_killed_probe_has_left_is_swept(location: StoreLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(location)
    store.objects.put("probe/host-1-2", b"first")
    store.sweep(())
    assert [entry.key for entry in store.objects.entries("")] == ["probe/host-1-2"]  # it may be running
    monkeypatch.setattr("orchestrator.store.s3.store.PROBED_WITHIN_S", -60.0)
    store.sweep(())
    assert store.objects.entries("") == []


def test_a_forked_process_has_connections_of_its_own(location: StoreLocation) -> None:
    store = S3Store(location)
    write_and_commit(store, "a001-x")
    child = os.fork()
    if child == 0:
        same = store.commits() == {FINGERPRINT}
        os._exit(0 if same else 1)
    assert store.commits() == {FINGERPRINT}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("fingerprint", "stage", "attempt"),
    [("../escape", "data", "a001-x"), (FINGERPRINT, "../data", "a001-x"), (FINGERPRINT, "data", "..")],
)
def test_what_is_no_plain_name_is_refused(location: StoreLocation, fingerprint: str, stage: str, attempt: str) -> None:
    with pytest.raises(StoreError, match=r"not a (fingerprint|plain name)"):
        S3Store(location).prepare(stage, fingerprint, attempt)


def test_old_versions_are_counted_and_deleted_for_good(moto_service: Service, tmp_path: Path) -> None:
    location, client = moto_service.location(tmp_path), moto_service.client()
    store = S3Store(location)
    assert store.old_versions() == (0, 0)
    versioned = replace(location, url=location.url.replace(moto_service.bucket, "versioned"))
    client.create_bucket(Bucket="versioned")
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    store = S3Store(versioned)
    store.objects.put("kept", b"one")
    store.objects.put("kept", b"three")
    store.objects.put("gone", b"seven..")
    store.objects.delete(["gone"])
    assert store.old_versions() == (3, 10)  # two versions and a mark of deletion
    store.delete_old_versions()
    assert store.old_versions() == (0, 0)
    assert store.objects.get("kept") == b"three"
    assert [entry.key for entry in store.objects.entries("")] == ["kept"]
