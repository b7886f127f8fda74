"""How a node begins that may not see the study's folder: its look, the code that it gets, its scratch folder."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.ray.entry import class_of_host, scratch_root, settings_apart, unseen
from orchestrator.host.code import copy_code
from orchestrator.host.code_archive import holds_code, pack_code, unpack_code


@pytest.fixture
def snapshot(tmp_path: Path) -> tuple[str, Path]:
    """A small study's code, as a driver copies it."""
    for name in ("orchestrator", "workloads"):
        (tmp_path / "checkout" / name).mkdir(parents=True)
        (tmp_path / "checkout" / name / "__init__.py").write_text("")
    (tmp_path / "checkout" / "orchestrator" / "größe.py").write_text("X = 1\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "workload.py").write_text("Y = 2\n")
    return copy_code(tmp_path / "home", tmp_path / "checkout", ("mine", tmp_path / "mine"))


def token(path: Path) -> dict[str, str]:
    return {"path": str(path), "content": "nonce"}


def test_a_node_sees_the_folder_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("nonce")
    (tmp_path / "other").write_text("of another driver")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert unseen(None) == ""
    assert unseen(token(tmp_path / "seen")) == ""
    assert unseen(token(tmp_path / "nothing")) == "No such file or directory"
    assert unseen(token(tmp_path / "other")) == unseen(token(tmp_path / "binary")) == "another file is there"


def test_code_arrives_as_it_was_sent_with_what_the_study_imports(snapshot: tuple[str, Path], tmp_path: Path) -> None:
    digest, folder = snapshot
    (folder / "mine" / "__pycache__").mkdir()
    (folder / "mine" / "__pycache__" / "workload.pyc").write_bytes(b"made by Python")
    arrived = tmp_path / "node" / digest
    unpack_code(pack_code(folder), digest, arrived)
    assert holds_code(arrived, digest)
    assert (arrived / "mine" / "workload.py").read_text() == "Y = 2\n"
    assert not (arrived / "mine" / "__pycache__").exists()
    assert [path.name for path in arrived.parent.iterdir()] == [digest]


def test_code_that_is_not_what_its_digest_says_is_refused_before_anything_is_written(
    snapshot: tuple[str, Path], tmp_path: Path
) -> None:
    digest, folder = snapshot
    (folder / "mine" / "workload.py").write_text("Y = 3\n")
    with pytest.raises(ValueError, match="was changed in the study's folder"):
        unpack_code(pack_code(folder), digest, tmp_path / "node" / digest)
    assert not (tmp_path / "node").exists()


def settings(snapshot: tuple[str, Path], tmp_path: Path, **more: Any) -> dict[str, Any]:
    digest, folder = snapshot
    return {
        "code": str(folder),
        "digest": digest,
        "store": {"kind": "s3", "folder": str(tmp_path / "home" / "store"), "url": "s3://bucket/study"},
        "command": ["/driver/bin/python", "-m", "server"],
        "python": "/driver/bin/python",
        "token": token(tmp_path / "nothing"),
        "scratch": str(tmp_path / "scratch"),
        "study": "0123456789abcdef",
        **more,
    }


def test_a_host_on_such_a_node_gets_folders_of_the_node_and_the_code_once(
    snapshot: tuple[str, Path], tmp_path: Path
) -> None:
    sent = []

    def archive() -> bytes:
        sent.append(1)
        return pack_code(snapshot[1])

    here = settings_apart(settings(snapshot, tmp_path), "it is not there", archive)
    root = tmp_path / "scratch" / f"echo-matrix-{os.getuid()}"
    assert here["code"] == str(root / "code" / snapshot[0])
    assert here["home_here"] == str(root / "studies" / "0123456789abcdef")
    assert here["store"] == {"kind": "s3", "folder": here["home_here"] + "/store", "url": "s3://bucket/study"}
    assert here["command"] == [sys.executable, "-m", "server"]
    settings_apart(settings(snapshot, tmp_path), "it is not there", archive)
    assert sent == [1]
    (Path(here["code"]) / "mine" / "workload.py").write_text("changed by somebody")
    settings_apart(settings(snapshot, tmp_path), "it is not there", archive)
    assert sent == [1, 1]
    assert holds_code(Path(here["code"]), snapshot[0])


def test_where_results_are_in_the_folder_that_is_not_seen_one_sentence_says_what_to_do(
    snapshot: tuple[str, Path], tmp_path: Path
) -> None:
    given = settings(snapshot, tmp_path, store={"kind": "files", "folder": ""})
    with pytest.raises(RuntimeError) as refused:
        settings_apart(given, "No such file or directory", lambda: b"")
    assert str(refused.value) == (
        f"{os.uname().nodename} does not see the study's folder: {tmp_path / 'nothing'}: No such file or directory; "
        "with store.kind: files all nodes need it: put ECHO_MATRIX_HOME on a file system that they share, or the "
        "results on S3 (store: {kind: s3, url: ...}), which needs no shared folder (docs/how-to/ray-cluster.md)"
    )


def test_the_nodes_own_variable_goes_before_the_setting_and_the_folder_is_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"echo-matrix-{os.getuid()}"
    root = scratch_root(str(tmp_path / "set"))
    assert root == tmp_path / "set" / name and root.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("ECHO_MATRIX_SCRATCH", str(tmp_path / "own"))
    assert scratch_root(str(tmp_path / "set")) == tmp_path / "own" / name
    (tmp_path / "own" / name).chmod(0o777)
    with pytest.raises(PermissionError, match="is not a folder that only this user writes to"):
        scratch_root("")


def test_a_link_that_somebody_has_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"echo-matrix-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        scratch_root(str(tmp_path))


def test_the_class_that_ray_gets_has_the_methods_of_the_host() -> None:
    class Service:
        def poll(self, forget: int) -> int:
            return forget + 1

        def _inside(self) -> None: ...

    made = class_of_host(vars(Service))
    assert made.__name__ == "Host" and not hasattr(made, "_inside")
    one: Any = object.__new__(made)
    one._host = Service()
    assert one.poll(1) == 2
