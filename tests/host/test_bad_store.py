"""A store or a disk that fails, hangs or lies costs an attempt patience, and the host nothing."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_store import FaultyStore
from toy_jobs import ROOT, SERVER, toy_submission, wait_until

from orchestrator.host.description import describe
from orchestrator.host.endings import read_ended
from orchestrator.host.job import JOBS, STOP, SUBMISSION
from orchestrator.host.node import Node
from orchestrator.host.processes import read_processes
from orchestrator.host.publish import Provenance
from orchestrator.store.files import FilesStore
from orchestrator.store.location import StoreLocation

SHORT_S = 0.5


def make_node(store: FaultyStore, **settings: Any) -> Node:
    return Node(
        store=store,
        code=ROOT,
        provenance=Provenance(code="c" * 64, git="", host_kind="test"),
        command=SERVER,
        records_endings=True,
        **settings,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def store(home: Path) -> FaultyStore:
    return FaultyStore(FilesStore(home / "store"), calls=())


@pytest.fixture(scope="module")
def node(store: FaultyStore) -> Iterator[Node]:
    made = make_node(store)
    yield made
    store.calm()
    made.close()


@pytest.fixture(scope="module")
def hasty(store: FaultyStore) -> Iterator[Node]:
    """A node that tries for half a second only."""
    made = make_node(store, publish_s=SHORT_S, fetch_s=SHORT_S)
    yield made
    store.calm()
    made.close()


def script(store: FaultyStore, **fates: list[str]) -> None:
    store._script.update(fates)  # type: ignore[arg-type]


def ended(node: Node, submission: dict[str, Any]) -> dict[str, Any]:
    node.start(submission)
    name = submission["attempt"]
    wait_until(lambda: node.poll()[name]["phase"] == "ended", f"{name} ends")
    return node.poll()[name]


def test_a_result_that_the_store_refuses_for_a_while_is_published(node: Node, store: FaultyStore, home: Path) -> None:
    script(store, commit=["fail"] * 4)
    submission = toy_submission(home, "write")
    report = ended(node, submission)
    assert (report["ending"], report["detail"]) == ("ok", "")
    assert store.read(submission["request"]["fingerprint"]).attempt == submission["attempt"]


def test_a_commit_that_was_made_and_reported_as_failed_is_the_attempts_own(
    node: Node, store: FaultyStore, home: Path
) -> None:
    script(store, commit=["lie"])
    report = ended(node, toy_submission(home, "write"))
    assert (report["ending"], report["detail"]) == ("ok", "")


def test_inputs_and_a_folder_that_cannot_be_had_at_once_are_tried_again(
    node: Node, store: FaultyStore, home: Path
) -> None:
    first = toy_submission(home, "write")
    assert ended(node, first)["ending"] == "ok"
    second = toy_submission(home, "write")
    second["inputs"] = {"data": first["request"]["fingerprint"]}
    script(store, read=["fail"], fetch=["fail", "lie"], prepare=["fail", "lie"])
    assert ended(node, second)["ending"] == "ok"


def test_a_store_that_stays_unwritable_ends_the_attempt_free_and_says_so(
    hasty: Node, store: FaultyStore, home: Path
) -> None:
    script(store, commit=["fail"] * 99)
    submission = toy_submission(home, "write")
    report = ended(hasty, submission)
    store._script.clear()
    assert report["ending"] == "interrupted" and "the store cannot be written" in report["detail"]
    assert read_ended(Path(submission["request"]["work"]), submission["attempt"])["ending"] == "interrupted"  # type: ignore[index]
    assert ended(hasty, toy_submission(home, "write"))["ending"] == "ok"


@pytest.mark.parametrize("do", ["write", "write when asked"])
def test_a_limit_of_time_is_for_ranks_and_not_for_the_store_that_takes_their_result(home: Path, do: str) -> None:
    slow = FaultyStore(FilesStore(home / "store"), calls=(), script={"commit": ["hang"]})
    node = make_node(slow)
    submission = toy_submission(home, do)
    try:
        node.start(submission)
        attempt = node._attempts[submission["attempt"]]
        if do != "write":  # its limit comes while it runs, and it ends well within its grace
            wait_until(lambda: (attempt.work / "here-0").exists(), "the stage began")
            attempt.limit_at = time.monotonic()
        wait_until(lambda: attempt.doing == "publishing", "the store is asked")
        for later in (1e6, 2e6):
            node._watcher.enforce(attempt, 0, time.monotonic() + later)
        slow.calm()
        assert ended(node, submission)["ending"] == "ok"
    finally:
        slow.calm()
        node.close()


def test_a_store_that_hangs_shows_and_holds_up_nobody_else(node: Node, store: FaultyStore, home: Path) -> None:
    script(store, commit=["hang"] * 6)
    hanging = [toy_submission(home, "write") for _ in range(6)]
    for submission in hanging:
        node.start(submission)
    phases = lambda: [(node.poll()[one["attempt"]]["heartbeat"] or {}).get("phase") for one in hanging]  # noqa: E731
    wait_until(lambda: phases() == ["publishing"] * 6, "all six wait for the store")
    assert ended(node, toy_submission(home, "write"))["ending"] == "ok"
    killed = hanging.pop()
    node.kill([killed["attempt"]])
    assert node.poll()[killed["attempt"]]["ending"] == "interrupted"
    store.go_on()
    for submission in hanging:
        assert ended(node, submission)["ending"] == "ok"
    store._released.clear()


def test_a_disk_that_takes_nothing_ends_the_attempt_free_and_leaves_the_host(hasty: Node, home: Path) -> None:
    submission = toy_submission(home, "write")
    in_the_way = home / "a file"
    in_the_way.touch()
    submission["request"]["work"] = str(in_the_way / "attempt")
    report = ended(hasty, submission)
    assert report["ending"] == "interrupted" and "its folder cannot be written" in report["detail"]
    assert ended(hasty, toy_submission(home, "write"))["ending"] == "ok"


def test_processes_that_could_not_be_written_down_are_written_later(node: Node, home: Path) -> None:
    submission = toy_submission(home, "until asked")
    work = Path(submission["request"]["work"])
    (work / ".process.json.tmp").mkdir(parents=True)  # the disk refuses the file
    node.start(submission)
    wait_until(lambda: (work / "here-0").exists(), "the stage began")
    assert read_processes(work) == []
    (work / ".process.json.tmp").rmdir()
    wait_until(lambda: read_processes(work), "the watch has tried again")
    node.stop([submission["attempt"]])
    assert ended(node, submission)["ending"] == "interrupted"


def test_a_log_that_cannot_be_opened_costs_the_attempt_alone(node: Node, home: Path) -> None:
    submission = toy_submission(home, "write")
    (Path(submission["request"]["work"]) / "log.txt").mkdir(parents=True)
    assert ended(node, submission)["ending"] == "interrupted"
    assert ended(node, toy_submission(home, "write"))["ending"] == "ok"


def test_a_folder_that_vanishes_under_a_running_attempt_costs_it_alone(node: Node, home: Path) -> None:
    submission = toy_submission(home, "until asked")
    work = Path(submission["request"]["work"])
    node.start(submission)
    wait_until(lambda: (work / "here-0").exists(), "the stage began")
    shutil.rmtree(work)
    assert node.poll()[submission["attempt"]]["phase"] == "running"
    node.stop([submission["attempt"]])
    assert ended(node, submission)["ending"] in ("error", "interrupted")
    assert ended(node, toy_submission(home, "write"))["ending"] == "ok"
    assert not os.path.lexists(work / "ended.json")


def test_an_end_without_a_result_on_a_full_disk_is_free(
    node: Node, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.host.outcome.LEAST_FREE", 1 << 62)  # no disk has so much room
    report = ended(node, toy_submission(home, "exit"))
    assert report["ending"] == "interrupted" and "is full, so there is no result" in report["detail"]


def test_a_store_that_fails_as_a_job_of_slurm_begins_is_tried_again_too(tmp_path: Path) -> None:
    submission = toy_submission(tmp_path, "until asked")
    work = Path(submission["request"]["work"])
    work.mkdir(parents=True)
    (work / SUBMISSION).write_text(json.dumps(submission))
    description = describe(
        tmp_path, StoreLocation(folder=str(tmp_path / "store")), code_digest="", git="", server=SERVER
    )
    (tmp_path / JOBS).write_text(json.dumps({**description, "works": [str(work)]}))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "commits").touch()  # no folder: it cannot be listed
    command = [sys.executable, "-m", "orchestrator.host", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as job:
        wait_until(lambda: read_processes(work) or job.poll() is not None, "its rank, or the end of the job")
        (work / STOP).touch()
        said = job.communicate(timeout=60)[1]
    ended = read_ended(work, submission["attempt"])
    assert ended is not None and ended["ending"] == "interrupted", said
