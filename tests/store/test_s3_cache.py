"""The cache of a machine: bounded, and nothing goes that a process uses."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import StoreError
from orchestrator.store.protocol import ManifestEntry
from orchestrator.store.s3 import cache as module
from orchestrator.store.s3.cache import GIB, Cache
from orchestrator.store.s3.work_folders import LEFT_S, WorkFolders

SIZE = 100_000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 0)  # every fetch counts what is there


def cache_of(tmp_path: Path, artifacts: float = 3.5) -> Cache:
    """A process's cache, which may hold so many artifacts."""
    return Cache(tmp_path / "cache", artifacts * SIZE / GIB)


def fill(cache: Cache, name: str, content: bytes | None = None) -> Path:
    """Fetch an artifact of one file, and use it."""
    content = content or os.urandom(SIZE)
    source = cache.root.parent / "source"
    source.write_bytes(content)
    entry = ManifestEntry(path="a/file", size=len(content), sha256=hashlib.sha256(content).hexdigest())
    folder = cache.folder("stage", "0" * 16, name, "f" * 64)
    cache.use(folder)
    try:
        with cache.room(len(content)):
            cache.add(source, entry)
            cache.link(folder, entry)
    except StoreError:
        cache.release(folder)
        raise
    finally:
        source.unlink()
    return folder


def held(cache: Cache) -> int:
    return sum(path.stat().st_size for path in cache.root.glob("blobs/*/*"))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    folders = [fill(cache, name) for name in "abc"]
    for age, folder in zip((3, 1, 2), folders, strict=True):
        cache.release(folder)
        os.utime(folder, (1e9 - age, 1e9 - age))
    fill(cache, "d")
    assert [folder.exists() for folder in folders] == [False, True, True]
    cache.use(folders[2])
    fill(cache, "e")
    assert [folder.exists() for folder in folders] == [False, False, True]
    assert held(cache) == 3 * SIZE
    assert not list(cache.root.glob("trash/*"))


def test_what_a_killed_process_was_deleting_is_deleted(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    left = cache.root / "trash" / "of-a-killed-process" / "0" / "file"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"content")
    fill(cache, "a")
    assert not list(cache.root.glob("trash/*"))


def test_nothing_goes_that_another_process_uses_until_it_ends(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    folder = fill(cache, "a")
    cache.release(folder)
    code = (
        "import sys\nfrom pathlib import Path\nfrom orchestrator.store.s3.cache import Cache\n"
        f"Cache(Path({str(cache.root)!r}), 1).use(Path({str(folder)!r}))\nprint('used', flush=True)\nsys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"used\n"
        for name in "bcdef":
            cache.release(fill(cache, name))
        assert (folder / "a" / "file").stat().st_size == SIZE
    finally:
        other.kill()
        other.wait()
    for name in "gh":
        cache.release(fill(cache, name))
    cache.release(fill(cache, "i"))
    assert not folder.exists()
    assert held(cache) == 3 * SIZE


def test_what_is_in_use_is_not_given_up_for_more(tmp_path: Path) -> None:
    cache, other = cache_of(tmp_path), cache_of(tmp_path)
    folders = [fill(cache, "a"), fill(cache, "b"), fill(other, "c")]
    with pytest.raises(StoreError, match=r"of which 0\.00 GiB are in use or reserved.*raise cache_gib"):
        fill(cache, "d")
    assert all((folder / "a" / "file").exists() for folder in folders)
    other.release(folders[2])
    fill(cache, "d")
    assert [folder.exists() for folder in folders] == [True, True, False]


def test_two_that_download_at_once_do_not_count_on_the_same_room(tmp_path: Path) -> None:
    cache, other = cache_of(tmp_path, 1.5), cache_of(tmp_path, 1.5)
    with cache.room(SIZE) as room:
        with pytest.raises(StoreError, match="raise cache_gib"), other.room(SIZE):
            pass
        room.written(SIZE)
        with other.room(SIZE):
            pass
    assert not list(cache.root.glob("reserved/*"))


def test_artifacts_share_equal_contents(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    content = os.urandom(SIZE)
    folders = [fill(cache, name, content) for name in "abcde"]
    assert held(cache) == SIZE
    cache.release(folders[0])
    fill(cache, "f")
    fill(cache, "g")
    assert (folders[1] / "a" / "file").read_bytes() == content


def test_without_hard_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    monkeypatch.setattr(os, "link", refused)
    cache = cache_of(tmp_path)
    content = os.urandom(SIZE)
    for name in "abcd":
        path = fill(cache, name, content) / "a" / "file"
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, 0o444)


def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_of(tmp_path)
    cache.release(fill(cache, "a"))
    monkeypatch.setattr(cache, "_free", lambda: 7)
    with pytest.raises(
        StoreError, match=r"this disk has 0\.00 GiB free.*free some space, or name a folder on a larger"
    ):
        fill(cache, "b")
    assert held(cache) == 0  # what could go has gone


def test_folders_that_dead_hosts_have_left_are_deleted(tmp_path: Path) -> None:
    first, second = WorkFolders(tmp_path), WorkFolders(tmp_path)
    held, left, young = (first.take("stage", "0" * 16, name) for name in ("a001", "a002", "a003"))
    for folder in (held, left):
        os.utime(folder, (1e9, 1e9))
    os.close(first._locks.pop(left))  # as the kernel does when the process is killed
    os.close(first._locks.pop(young))
    assert second.take("stage", "0" * 16, "a004").is_dir()
    assert (held.exists(), left.exists(), young.exists()) == (True, False, True)
    assert LEFT_S < 1e9
    first.delete("stage", "0" * 16, "a001")
    assert not held.exists()


def test_a_sweep_deletes_what_attempts_have_left_that_neither_live_nor_are_at_it(tmp_path: Path) -> None:
    """An attempt ended under a controller that was killed: no later one knows that it has left something."""
    host, controller = WorkFolders(tmp_path), WorkFolders(tmp_path)
    held, left, living = (host.take("stage", "0" * 16, name) for name in ("a001", "a002", "a003"))
    for folder in (left, living):
        os.close(host._locks.pop(folder))
    controller.sweep({"a003"})
    assert (held.exists(), left.exists(), living.exists()) == (True, False, True)
