"""A store that somebody else wrote into: nothing outside is read, and each refusal says what, where and what next."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.store.files import FilesStore
from orchestrator.store.manifest import verify_bytes, write_manifest
from orchestrator.store.protocol import Commit

FINGERPRINT = "ab" * 32
ATTEMPT = "a001-x"
OUTSIDE = "what nobody may read"
COMMIT = Commit(
    fingerprint=FINGERPRINT,
    attempt=ATTEMPT,
    stage="data",
    branch=None,
    job="data/abababababab",
    label="data",
    manifest="",
    inputs={"x": {"fingerprint": "cd" * 32, "manifest": "ef" * 32}},
    code="",
    git="",
    versions={},
    host_kind="cpu",
    started=0.0,
    ended=1.0,
)


@pytest.fixture
def store(tmp_path: Path) -> FilesStore:
    """A store with one done job, `data/one.bin` and `two.bin`, beside a file that is not of the store."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "one.bin").write_text(OUTSIDE, encoding="utf-8")
    made = FilesStore(tmp_path / "store")
    folder = made.prepare("data", FINGERPRINT, ATTEMPT)
    (folder / "data").mkdir()
    (folder / "data" / "one.bin").write_bytes(b"one")
    (folder / "two.bin").write_bytes(b"two")
    assert made.commit(COMMIT, folder)
    return made


def folder_of(store: FilesStore) -> Path:
    return store.root / "artifacts" / "data" / FINGERPRINT[:16] / ATTEMPT


def verified(store: FilesStore) -> Path:
    folder = store.fetch(FINGERPRINT)
    verify_bytes(folder, store.read(FINGERPRINT).manifest)
    return folder


def change_commit(store: FilesStore, **fields: Any) -> None:
    path = store.root / "commits" / f"{FINGERPRINT}.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


def change_manifest(store: FilesStore, content: bytes) -> None:
    """Another manifest, and a COMMIT that says so: what an attacker who writes both would do."""
    path = folder_of(store) / "manifest.json"
    path.unlink()
    path.write_bytes(content)
    change_commit(store, manifest=hashlib.sha256(content).hexdigest())


def manifest_of(*files: Any) -> bytes:
    return json.dumps({"version": 1, "files": list(files)}).encode("utf-8")


def entry(path: Any = "two.bin", size: Any = 3, sha256: Any = "ab" * 32) -> dict[str, Any]:
    return {"path": path, "size": size, "sha256": sha256}


PATHS = ("", "/etc/passwd", "../outside/one.bin", "data/../../x", "./two.bin", "data//one.bin", "data/", "..", ".")


@pytest.mark.parametrize("path", [*PATHS, "a\\..\\b", "C:\\x", "a\0b", "a\nb", "manifest.json"])
def test_a_manifest_that_names_no_file_of_its_folder_is_refused(store: FilesStore, path: str) -> None:
    change_manifest(store, manifest_of(entry(path)))
    with pytest.raises(StoreError, match=r"manifest\.json: file .*; `run --refresh JOB` makes the artifact again"):
        store.fetch(FINGERPRINT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (manifest_of(entry(), entry()), "stands twice"),
        (manifest_of({**entry(), "mode": 1}), "is no file; allowed: path, size in bytes and sha256"),
        (manifest_of({"path": "two.bin"}), "is no file"),
        (manifest_of("two.bin"), "is no file"),
        (manifest_of(None), "is no file"),
        (manifest_of(entry(path=5)), "is no file; allowed: path, size in bytes and sha256"),
        (manifest_of(entry(size="3")), "is no file; allowed: path, size in bytes and sha256"),
        (manifest_of(entry(size=True)), "is no file; allowed: path, size in bytes and sha256"),
        (manifest_of(entry(size=-1)), "is no file; allowed: path, size in bytes and sha256"),
        (manifest_of(entry(sha256="../x")), "is no file; allowed: path, size in bytes and sha256"),
        (b"[" * 200_000, "nested too deep"),
        (b"[]", "is list; allowed: a JSON object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b'{"version": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"version": 2, "files": []}', "version is '2', this code reads 1"),
        (b'{"version": 1, "files": {"path": "x"}}', "has no list of files"),
        (b'{"version": 1}', "has no list of files"),
    ],
)
def test_a_manifest_of_another_make_is_refused(store: FilesStore, content: bytes, message: str) -> None:
    change_manifest(store, content)
    with pytest.raises(StoreError, match=message) as caught:
        store.fetch(FINGERPRINT)
    assert "manifest.json" in str(caught.value)


def link_file(store: FilesStore) -> None:
    path = folder_of(store) / "data" / "one.bin"
    path.unlink()
    path.symlink_to(store.root.parent / "outside" / "one.bin")


def link_folder(store: FilesStore) -> None:
    (folder_of(store) / "data" / "one.bin").unlink()
    (folder_of(store) / "data").rmdir()
    (folder_of(store) / "data").symlink_to(store.root.parent / "outside")


def link_artifact(store: FilesStore) -> None:
    moved = store.root.parent / "moved"
    folder_of(store).rename(moved)
    folder_of(store).symlink_to(moved)


def link_above(store: FilesStore) -> None:
    moved = store.root.parent / "moved"
    folder_of(store).parent.rename(moved)
    folder_of(store).parent.symlink_to(moved)


def link_manifest(store: FilesStore) -> None:
    path = folder_of(store) / "manifest.json"
    moved = path.rename(store.root.parent / "manifest.json")
    path.symlink_to(moved)


def pipe(store: FilesStore) -> None:
    (folder_of(store) / "two.bin").unlink()
    os.mkfifo(folder_of(store) / "two.bin")


def pipe_as_manifest(store: FilesStore) -> None:
    (folder_of(store) / "manifest.json").unlink()
    os.mkfifo(folder_of(store) / "manifest.json")


def folder_as_file(store: FilesStore) -> None:
    (folder_of(store) / "two.bin").unlink()
    (folder_of(store) / "two.bin").mkdir()


def link_commit(store: FilesStore) -> None:
    path = store.root / "commits" / f"{FINGERPRINT}.json"
    moved = path.rename(store.root.parent / "commit.json")
    path.symlink_to(moved)


def pipe_as_commit(store: FilesStore) -> None:
    (store.root / "commits" / f"{FINGERPRINT}.json").unlink()
    os.mkfifo(store.root / "commits" / f"{FINGERPRINT}.json")


def folder_as_commit(store: FilesStore) -> None:
    (store.root / "commits" / f"{FINGERPRINT}.json").unlink()
    (store.root / "commits" / f"{FINGERPRINT}.json").mkdir()


@pytest.mark.parametrize(
    "change",
    [
        link_file,
        link_folder,
        link_artifact,
        link_above,
        link_manifest,
        pipe,
        pipe_as_manifest,
        folder_as_file,
        link_commit,
        pipe_as_commit,
        folder_as_commit,
    ],
)
def test_links_pipes_and_folders_in_place_of_files_are_refused(
    store: FilesStore, change: Callable[[FilesStore], None]
) -> None:
    change(store)
    with pytest.raises(StoreError, match=r"(plain f|symbolic link).*; (`run --refresh|move the file away)"):
        store.fetch(FINGERPRINT)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attempt": "../../../outside"}, r"attempt is '\.\./.*', which is not a plain name"),
        ({"attempt": "/etc"}, "which is not a plain name"),
        ({"attempt": ".."}, "which is not a plain name"),
        ({"attempt": ""}, "which is not a plain name"),
        ({"attempt": "a\0"}, "which is not a plain name"),
        ({"attempt": "a" * 300}, "which is not a plain name"),
        ({"stage": "data/../../x"}, r"stage is 'data/\.\..*', which is not a plain name"),
        ({"stage": "d\u00e4ta"}, "which is not a plain name"),
        ({"attempt": 5}, "attempt is '5', int; allowed: str"),
        ({"attempt": None}, "attempt is 'None', NoneType; allowed: str"),
        ({"label": "train\x1b[2J"}, r"label is 'train\\x1b\[2J'; allowed: at most 1000 printable characters"),
        ({"job": "a\nb"}, "job is .*; allowed: at most 1000 printable characters"),
        ({"git": "\u202egnp"}, "git is .* printable characters"),
        ({"branch": "b" * 1001}, "branch is .* printable characters"),
        ({"manifest": ["ab" * 32]}, "manifest is .* allowed: str"),
        ({"manifest": "xyz"}, "manifest is 'xyz'; allowed: the 64 hex digits"),
        ({"inputs": []}, "inputs is .* allowed: dict"),
        ({"inputs": {"data": "x"}}, r"inputs\.data is 'x'; allowed: fingerprint and manifest"),
        ({"inputs": {"data": {"fingerprint": 5}}}, "allowed: fingerprint and manifest, as text"),
        ({"versions": 5}, "versions is '5', int; allowed: dict"),
        ({"started": "now"}, "started is 'now', str; allowed: int or float"),
        ({"result": []}, "result is .* allowed: dict"),
        ({"result": {"cost": {"device_s": "much"}}}, "device_s is 'much', str; allowed: int or float or null"),
        ({"result": {"records": []}}, "records is .* allowed: dict"),
        ({"version": [1]}, r"version is '\[1\]', this code reads 2"),
        ({"color": "red"}, "not a commit record: .*color"),
        ({"fingerprint": "cd" * 32}, "names the fingerprint 'cdcd"),
    ],
)
def test_a_commit_with_other_values_is_refused(store: FilesStore, fields: dict[str, Any], message: str) -> None:
    change_commit(store, **fields)
    with pytest.raises(StoreError, match=message) as caught:
        store.fetch(FINGERPRINT)
    assert f"{FINGERPRINT}.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"{}", b"[" * 100_000, b"9" * 9999])
def test_a_commit_that_is_no_object_is_refused(store: FilesStore, content: bytes) -> None:
    (store.root / "commits" / f"{FINGERPRINT}.json").write_bytes(content)
    with pytest.raises(StoreError, match=f"{FINGERPRINT}.json"):
        store.read(FINGERPRINT)


def test_a_commit_of_gigabytes_is_refused_without_being_read(store: FilesStore) -> None:
    os.truncate(store.root / "commits" / f"{FINGERPRINT}.json", 1 << 40)  # sparse
    with pytest.raises(StoreError, match=r"has more than \d+ bytes"):
        store.read(FINGERPRINT)


def test_a_manifest_of_gigabytes_is_refused_without_being_read(store: FilesStore) -> None:
    path = folder_of(store) / "manifest.json"
    path.chmod(0o644)
    os.truncate(path, 1 << 40)
    with pytest.raises(StoreError, match=r"has more than \d+ bytes"):
        store.fetch(FINGERPRINT)


def test_a_changed_byte_is_found_by_verify_and_by_who_reads_the_file(store: FilesStore) -> None:
    path = folder_of(store) / "data" / "one.bin"
    path.chmod(0o644)
    path.write_bytes(b"0ne")
    assert store.fetch(FINGERPRINT) == folder_of(store)
    assert store.fetch_files(FINGERPRINT, ["two.bin"]) == folder_of(store)
    with pytest.raises(ArtifactMissing, match=r"one\.bin has sha256 .*, committed was .*; `run --refresh JOB`"):
        store.fetch_files(FINGERPRINT, ["data/*"])
    with pytest.raises(ArtifactMissing, match=r"one\.bin has sha256 .*, committed was .*; `run --refresh JOB`"):
        verified(store)


def test_hard_links_are_plain_files(store: FilesStore) -> None:
    os.link(folder_of(store) / "two.bin", store.root.parent / "another-name")
    assert verified(store) == folder_of(store)


def test_names_in_the_listing_that_are_no_fingerprints_are_no_commits(store: FilesStore) -> None:
    for name in ("AB" * 32, "zz" * 32, "ab" * 31, "." + "a" * 63):
        (store.root / "commits" / f"{name}.json").write_text("{}", encoding="utf-8")
    assert store.commits() == {FINGERPRINT}


@pytest.mark.parametrize(("stage", "attempt"), [("../x", ATTEMPT), ("data", "../../x"), ("", ATTEMPT), ("data", ".x")])
def test_no_folder_outside_the_store_is_prepared(store: FilesStore, stage: str, attempt: str) -> None:
    with pytest.raises(StoreError, match="is not a plain name"):
        store.prepare(stage, FINGERPRINT, attempt)


@pytest.mark.parametrize("name", ["a\\b", "a\nb"])
def test_an_attempt_cannot_publish_a_name_that_no_reader_would_take(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match="an artifact's files have plain names"):
        write_manifest(tmp_path)


def test_names_of_any_script_are_published_and_read(tmp_path: Path) -> None:
    store = FilesStore(tmp_path)
    folder = store.prepare("data", FINGERPRINT, ATTEMPT)
    names = {"caf\u00e9", "cafe\u0301", "\u0633\u0644\u0627\u0645", "\U0001f600", os.fsdecode(b"\xff")}
    for name in names:
        (folder / name).write_text(name.encode("utf-8", "surrogateescape").hex(), encoding="utf-8")
    assert store.commit(COMMIT, folder)
    assert {path.name for path in verified(store).iterdir()} == {*names, "manifest.json"}
