"""Artifacts between a machine and S3: resumed after a kill at any place, verified, and fetched once by all."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from s3_proxy import FLIPPED_ANSWER, TRUNCATED, Fault, FaultProxy

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.location import StoreLocation
from orchestrator.store.s3.artifacts import STALE_S, ArtifactFiles, is_stale
from orchestrator.store.s3.bucket import bucket_of
from orchestrator.store.s3.client import bucket_and_prefix
from orchestrator.store.s3.multipart import Unfinished
from orchestrator.store.s3.parts import PART, part_count
from workloads.runtime.fault_points import VARIABLE

STAGE, DIGITS, ATTEMPT = "train", "ab" * 8, "a001-x"
LARGE = os.urandom(2 * PART + 4_000_000)
"""Three parts."""
SMALL = {"cases.jsonl": b"{}\n", "strips/a.png": b"first", "strips/b.png": b"first", "empty": b""}
PARTS = part_count(len(LARGE))


@dataclass(frozen=True)
class Machine:
    """A machine that uses the store: its own folder and cache."""

    location: StoreLocation

    @property
    def files(self) -> ArtifactFiles:
        """As a process that has just begun."""
        return ArtifactFiles(bucket_of(self.location))

    def write(self) -> Path:
        folder = self.files.prepare(STAGE, DIGITS, ATTEMPT)
        for name, content in {**SMALL, "weights.bin": LARGE}.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return folder

    def publish(self) -> str:
        return self.files.upload(self.write(), STAGE, DIGITS, ATTEMPT)

    def fetch(self, digest: str, patterns: Sequence[str] | None = None) -> Path:
        return self.files.fetch(STAGE, DIGITS, ATTEMPT, digest, patterns)

    def start(self, doing: str, faults: Path | None = None) -> "subprocess.Popen[str]":
        """A process that does it with `files`; it may die at the points that are armed in `faults`."""
        code = (
            "from orchestrator.store.location import location_from\n"
            "from orchestrator.store.s3.artifacts import ArtifactFiles\n"
            "from orchestrator.store.s3.bucket import bucket_of\n"
            f"location = location_from({self.location.as_json()!r})\n"
            "files = ArtifactFiles(bucket_of(location))\n"
            f"print(files.{doing})"
        )
        variables = {} if faults is None else {VARIABLE: str(faults)}
        return subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
        )


@pytest.fixture
def here(proxy: FaultProxy, tmp_path: Path) -> Machine:
    return Machine(proxy.service.behind(proxy.endpoint).location(tmp_path / "here"))


@pytest.fixture
def there(here: Machine, tmp_path: Path) -> Machine:
    """Another machine."""
    folder, cache = str(tmp_path / "there" / "store"), str(tmp_path / "there" / "cache")
    return Machine(replace(here.location, folder=folder, cache=cache))


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    folder = tmp_path / "faults"
    folder.mkdir()
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_all_files_come_back_read_only_and_only_once(proxy: FaultProxy, here: Machine, there: Machine) -> None:
    digest = here.publish()
    assert proxy.seen("PUT", "partNumber") == PARTS
    folder = there.fetch(digest)
    assert content_of(folder) == {**SMALL, "weights.bin": LARGE}
    assert not any(path.stat().st_mode & 0o222 for path in folder.rglob("*") if path.is_file())
    assert (folder / "strips" / "a.png").samefile(folder / "strips" / "b.png")  # equal contents are kept once
    proxy.clear()
    assert there.fetch(digest) == folder
    assert here.fetch(digest) != folder  # what was published here needs no download
    assert proxy.seen() == 0


def test_single_files_come_without_the_others(proxy: FaultProxy, here: Machine, there: Machine) -> None:
    digest = here.publish()
    proxy.clear()
    folder = there.fetch(digest, ["cases.jsonl", "strips/*", "absent"])
    assert set(content_of(folder)) == {"cases.jsonl", "strips/a.png", "strips/b.png"}
    assert proxy.seen("GET", "weights.bin") == 0
    assert content_of(there.fetch(digest))["weights.bin"] == LARGE


@pytest.mark.parametrize("point", ["upload.part", "upload.files"])
def test_an_upload_that_was_killed_sends_only_the_rest(
    proxy: FaultProxy, here: Machine, there: Machine, faults: Path, point: str
) -> None:
    folder = here.write()
    (faults / point).write_text("kill", encoding="ascii")
    process = here.start(
        f"upload(__import__('pathlib').Path({str(folder)!r}), {STAGE!r}, {DIGITS!r}, {ATTEMPT!r})", faults
    )
    assert process.wait() == -9
    assert proxy.seen("PUT", "manifest.json") == 0
    begun = proxy.seen("PUT", "partNumber")
    proxy.clear()
    digest = here.files.upload(folder, STAGE, DIGITS, ATTEMPT)
    again = proxy.seen("PUT", "partNumber")
    assert (begun, again) == (PARTS, 0) if point == "upload.files" else again < PARTS
    assert proxy.seen("PUT", "manifest.json") == 1
    assert content_of(there.fetch(digest)) == {**SMALL, "weights.bin": LARGE}


@pytest.mark.parametrize("point", ["fetch.part", "fetch.verified"])
def test_a_fetch_that_was_killed_downloads_only_the_rest(
    proxy: FaultProxy, here: Machine, there: Machine, faults: Path, point: str
) -> None:
    digest = here.publish()
    (faults / point).write_text("kill", encoding="ascii")
    process = there.start(f"fetch({STAGE!r}, {DIGITS!r}, {ATTEMPT!r}, {digest!r}, ['weights.bin'])", faults)
    assert process.wait() == -9
    assert not list(Path(there.location.cache).glob("blobs/*/*"))  # nothing that is not whole can be seen
    proxy.clear()
    assert content_of(there.fetch(digest, ["weights.bin"])) == {"weights.bin": LARGE}
    assert proxy.seen("GET", "weights.bin") < PARTS
    assert not list(Path(there.location.cache).glob("partial/*"))


def test_of_several_processes_one_downloads_a_file(proxy: FaultProxy, here: Machine, there: Machine) -> None:
    digest = here.publish()
    proxy.clear()
    processes = [there.start(f"fetch({STAGE!r}, {DIGITS!r}, {ATTEMPT!r}, {digest!r}, None)") for _ in range(3)]
    folders = {process.communicate()[0].strip() for process in processes}
    assert len(folders) == 1
    assert content_of(Path(folders.pop())) == {**SMALL, "weights.bin": LARGE}
    assert proxy.seen("GET", "weights.bin") == PARTS
    assert proxy.seen("GET", "cases.jsonl") == 1


@pytest.mark.parametrize(
    ("fault", "name"),
    [(FLIPPED_ANSWER, "cases.jsonl"), (FLIPPED_ANSWER, "weights.bin"), (TRUNCATED, "weights.bin")],
    ids=["flipped", "flipped in a part", "truncated part"],
)
def test_an_answer_that_is_damaged_on_its_way_is_read_again(
    proxy: FaultProxy, here: Machine, there: Machine, fault: Fault, name: str
) -> None:
    digest = here.publish()
    proxy.fail(fault, "GET", name)
    assert content_of(there.fetch(digest, [name]))[name] == {**SMALL, "weights.bin": LARGE}[name]


def test_an_object_with_other_bytes_is_told_and_never_seen(proxy: FaultProxy, here: Machine, there: Machine) -> None:
    digest = here.publish()
    bucket, prefix = bucket_and_prefix(here.location)
    key = f"{prefix}artifacts/{STAGE}/{DIGITS}/{ATTEMPT}/cases.jsonl"
    proxy.service.client().put_object(Bucket=bucket, Key=key, Body=b"[]\n")
    with pytest.raises(
        ArtifactMissing, match=r"cases\.jsonl has sha256 .{12}, committed was .{12}; `run --refresh JOB`"
    ):
        there.fetch(digest)
    assert not any(path.stat().st_size == 3 for path in Path(there.location.cache).glob("blobs/*/*"))


def test_a_damaged_file_of_the_cache_is_downloaded_again(here: Machine, there: Machine) -> None:
    digest = here.publish()
    for damage, repair in (
        (b"longer than it was", there.fetch),
        (b"()\n", lambda one: there.files.verify(STAGE, DIGITS, ATTEMPT, one)),
    ):
        path = there.fetch(digest) / "cases.jsonl"
        path.chmod(0o644)
        path.write_bytes(damage)
        assert (repair(digest) / "cases.jsonl").read_bytes() == b"{}\n"


def test_a_full_disk_is_told(here: Machine, there: Machine, faults: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = here.publish()
    monkeypatch.setenv(VARIABLE, str(faults))
    (faults / "fetch.verified").write_text("ENOSPC", encoding="ascii")
    with pytest.raises(
        StoreError, match=r"cache: no space left on device; free some space, or name a folder on a larger"
    ):
        there.fetch(digest, ["cases.jsonl"])
    assert content_of(there.fetch(digest, ["cases.jsonl"])) == {"cases.jsonl": b"{}\n"}


def test_what_cannot_be_cached_is_published_nevertheless(here: Machine, there: Machine) -> None:
    Path(here.location.cache).parent.mkdir(parents=True, exist_ok=True)
    Path(here.location.cache).write_text("no folder", encoding="utf-8")
    assert content_of(there.fetch(here.publish(), ["cases.jsonl"])) == {"cases.jsonl": b"{}\n"}


def test_a_cache_that_is_too_small_says_so(here: Machine, there: Machine) -> None:
    digest = here.publish()
    tiny = Machine(replace(there.location, cache_gib=0.001))
    with pytest.raises(StoreError, match=r"may hold 0\.00 GiB.*raise cache_gib under store in the cluster file"):
        tiny.fetch(digest)
    assert content_of(tiny.fetch(digest, ["cases.jsonl"])) == {"cases.jsonl": b"{}\n"}


def test_uploads_of_dead_attempts_are_aborted_and_of_living_ones_not(proxy: FaultProxy, here: Machine) -> None:
    client, (bucket, prefix) = proxy.service.client(), bucket_and_prefix(here.location)
    for attempt in ("a001-living", "a002-dead"):
        client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}artifacts/{STAGE}/{DIGITS}/{attempt}/weights.bin")
    left = here.files.prepare(STAGE, DIGITS, "a002-dead")
    here.files.abort_stale({"a001-living"}, [(STAGE, DIGITS + "0" * 48, "a002-dead")])
    uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}artifacts/")["Uploads"]
    assert [one["Key"].split("/")[-2] for one in uploads] == ["a001-living"]
    assert not left.exists()


@pytest.mark.parametrize(
    ("attempt", "age_s", "stale"),
    [
        ("a001-living", 10 * STALE_S, False),
        ("a002-dead", 1.0, True),
        ("a003-unknown", STALE_S - 1, False),
        ("a003-unknown", STALE_S + 1, True),
    ],
)
def test_which_upload_is_stale(attempt: str, age_s: float, stale: bool) -> None:
    upload = Unfinished(key=f"artifacts/{STAGE}/{DIGITS}/{attempt}/weights.bin", upload="1", begun=1e9)
    assert is_stale(upload, {"a001-living"}, {(STAGE, DIGITS, "a002-dead")}, 1e9 + age_s) == stale
