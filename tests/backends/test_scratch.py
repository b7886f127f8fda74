"""The scratch folder of a node that does not see the study's folder: what is locked, what goes first, the bound."""

import os
from pathlib import Path

import pytest

from orchestrator.host.scratch import Scratch

MIB = 1 << 20
GIB = 1 << 30


class Node:
    """A scratch folder, with a bound of ten MiB."""

    def __init__(self, folder: Path) -> None:
        self.home, self.code = folder / "studies" / "mine", folder / "code" / "d1"
        self.home.mkdir(parents=True)
        self.code.mkdir(parents=True)
        self.folder = folder
        self.scratch = self.host()

    def host(self, mib: float = 10.0) -> Scratch:
        return Scratch(self.home, self.code, mib * MIB / GIB)

    def attempt(self, name: str, mib: float = 0.0, *, checkpoint: bool = False, job: str = "f" * 16) -> Path:
        work = self.scratch.place(Path("/driver/outputs/mine/attempts") / job / name)
        self.scratch.take(work)
        (work / "log.txt").write_bytes(bytes(int(mib * MIB)))
        if checkpoint:
            (work / "checkpoints" / "step-1").mkdir(parents=True)
        return work


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_attempts_lie_as_in_the_study_s_folder(node: Node) -> None:
    work = "/driver/outputs/mine/attempts/0123456789abcdef/a001"
    submission = {"attempt": "a001", "request": {"work": work, "resume": "/driver/checkpoint", "stage": "train"}}
    here = node.scratch.here(submission)
    place = str(node.home / "attempts" / "0123456789abcdef" / "a001")
    assert here == {"attempt": "a001", "request": {"work": place, "resume": None, "stage": "train"}}


def test_what_is_over_goes_unless_a_next_attempt_may_resume_from_it(node: Node) -> None:
    failed, stopped = node.attempt("a001"), node.attempt("a002", checkpoint=True)
    written = node.home / "store" / "attempts" / "train" / ("f" * 16) / "a001"
    written.mkdir(parents=True)
    node.scratch.release(failed, done=False).join()
    node.scratch.release(stopped, done=False).join()
    assert not failed.exists() and not written.exists() and stopped.exists()
    last = node.attempt("a003")
    node.scratch.release(last, done=True).join()
    assert not last.exists() and not stopped.exists(), "the job is done"


def test_above_the_bound_the_longest_unused_goes_first_and_nothing_that_is_locked(node: Node) -> None:
    old, new = node.attempt("a001", 4, checkpoint=True), node.attempt("a002", 4, checkpoint=True)
    for folder, used in ((old, 100), (new, 200)):
        node.scratch.release(folder, done=False).join()
        os.utime(folder, (used, used))
    (node.folder / "code" / "d0").mkdir()
    (node.folder / "code" / "d0" / "old.py").write_bytes(bytes(MIB))
    living = node.attempt("a003", 2, job="e" * 16)
    assert old.exists() and new.exists()
    node.attempt("a004", 1, job="d" * 16)
    assert not old.exists() and new.exists() and living.exists() and node.code.exists()


def test_another_hosts_attempts_are_not_touched(node: Node) -> None:
    work = node.attempt("a001", 9, checkpoint=True)
    other = node.host(mib=1.0)
    with pytest.raises(OSError, match=r"holds 0\.0 GiB of attempts that are not over, and ray\.scratch_gib is 0\.00"):
        other.take(node.home / "attempts" / ("c" * 16) / "a001")
    other.release(work, done=False).join()
    assert (work / "log.txt").exists()
