"""A node runs attempts in its warm server, and says truly how each ended."""

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from toy_jobs import ROOT, SERVER, toy_submission, wait_until

from orchestrator.host.environment import JobVariables
from orchestrator.host.node import Node
from orchestrator.host.processes import is_alive, read_processes
from orchestrator.host.publish import Provenance
from orchestrator.store.files import FilesStore

SECRET = "sesame-open-sesame"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def a_node(home: Path, *, code: Path = ROOT, command: Sequence[str] = SERVER, **more: Any) -> Node:
    """A node of its own, for a test that spoils it and closes it."""
    provenance = Provenance(code="", git="", host_kind="test")
    return Node(store=FilesStore(home / "store"), code=code, provenance=provenance, command=command, **more)


@pytest.fixture(scope="module")
def node(home: Path) -> Iterator[Node]:
    os.environ["TOY_API_KEY"] = SECRET
    made = Node(
        store=FilesStore(home / "store"),
        code=ROOT,
        provenance=Provenance(code="c" * 64, git="", host_kind="test", version="0.1.0+g8dd02c226"),
        command=SERVER,
        variables=JobVariables(every=("TOY_API_KEY",), stages={"train": ("TRAINING_*",)}),
    )
    yield made
    made.close()
    del os.environ["TOY_API_KEY"]


def ended(node: Node, submission: dict[str, Any]) -> dict[str, Any]:
    """Run a submission to its end and return the report."""
    name = submission["attempt"]
    node.start(submission)
    wait_until(lambda: node.poll()[name]["phase"] == "ended", f"{name} ends")
    return node.poll()[name]


def here(node: Node, submission: dict[str, Any], rank: int = 0) -> Path:
    """Start a submission that waits, and wait until it does; returns its work folder."""
    node.start(submission)
    work = Path(submission["request"]["work"])
    wait_until(lambda: (work / f"here-{rank}").exists(), "the stage began")
    return work


def test_what_ends_well_is_published_with_its_metrics_before_poll_says_so(node: Node, home: Path) -> None:
    submission = toy_submission(home, "write")
    report = ended(node, submission)
    assert (report["ending"], report["detail"]) == ("ok", "")
    store = FilesStore(home / "store")
    commit = store.read(submission["request"]["fingerprint"])
    assert commit.attempt == submission["attempt"] and commit.code == "c" * 64
    assert commit.versions["echo-matrix"] == "0.1.0+g8dd02c226"
    assert commit.versions["python"] and commit.result["records"]["threads"] == 1
    folder = store.fetch(commit.fingerprint)
    assert (folder / "said-0.txt").read_text() == "5"
    assert json.loads((folder / "metrics.jsonl").read_text())["name"] == "loss"
    log = (Path(submission["request"]["work"]) / "log.txt").read_text()
    assert log.endswith("r0 | wrote as 0\n") and log[2] == ":" and log[8] == "."


def test_two_attempts_of_one_job_end_well_and_one_counts(node: Node, home: Path) -> None:
    first, second = toy_submission(home, "write"), toy_submission(home, "write")
    second["request"]["fingerprint"] = first["request"]["fingerprint"]
    assert ended(node, first)["ending"] == "ok"
    report = ended(node, second)
    assert report["ending"] == "ok" and "another attempt" in report["detail"]


@pytest.mark.parametrize(
    ("do", "more", "ending", "words"),
    [
        ("fail", {}, "error", "exit 1: RuntimeError: that went wrong"),
        ("refuse", {}, "bad_input", "exit 2: BadInput: config.data.do"),
        ("no memory", {}, "out_of_memory", "exit 4: MemoryError: no more"),
        ("die", {"signal": signal.SIGSEGV}, "error", "SIGSEGV"),
        ("die", {"signal": signal.SIGKILL}, "vanished", "SIGKILL"),
        ("exit", {}, "error", "exit 0 without a result"),
        ("hog", {"memory_gib": 0.2}, "out_of_memory", "resources.data.memory_gib"),
        ("until asked", {"minutes": 0.01}, "timed_out", "time limit"),
    ],
)
def test_every_end_has_its_ending(
    node: Node, home: Path, do: str, more: dict[str, Any], ending: str, words: str
) -> None:
    report = ended(node, toy_submission(home, do, **more))
    assert report["ending"] == ending
    assert words in report["detail"]


def test_an_attempt_that_is_asked_saves_and_is_interrupted(node: Node, home: Path) -> None:
    submission = toy_submission(home, "until asked")
    work = here(node, submission)
    node.stop([submission["attempt"]])
    report = ended(node, submission)
    assert report["ending"] == "interrupted"
    assert json.loads((work / "result.json").read_text())["ending"] == "stopped"


def test_a_deaf_attempt_is_killed_after_its_grace(node: Node, home: Path) -> None:
    submission = toy_submission(home, "deaf", grace_s=0.1)
    work = here(node, submission)
    node.stop([submission["attempt"]])
    assert ended(node, submission)["detail"].endswith("SIGKILL")
    assert not any(is_alive(*process) for process in read_processes(work))


def test_limits_are_held_after_a_while_without_descriptors(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.host.limits.WATCH_S", 0.02)
    node = a_node(home)
    submission = toy_submission(home, "deaf", grace_s=0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        here(node, submission)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        time.sleep(0.5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        node.stop([submission["attempt"]])
        assert ended(node, submission)["detail"].endswith("SIGKILL")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        node.close()


def test_killing_does_not_ask(node: Node, home: Path) -> None:
    submission = toy_submission(home, "deaf")
    here(node, submission)
    node.kill([submission["attempt"]])
    assert ended(node, submission)["ending"] == "interrupted"


def test_two_ranks_meet_at_the_socket_that_the_host_has_bound(node: Node, home: Path) -> None:
    submission = toy_submission(home, "meet", ranks=2)
    report = ended(node, submission)
    log = (Path(submission["request"]["work"]) / "log.txt").read_text()
    assert report["ending"] == "ok", log
    folder = FilesStore(home / "store").fetch(submission["request"]["fingerprint"])
    assert (folder / "met-0.txt").exists() and (folder / "met-1.txt").exists()


def test_a_failing_rank_takes_the_others_along_and_its_error_is_the_jobs(node: Node, home: Path) -> None:
    submission = toy_submission(home, "rank 1 fails", ranks=2)
    report = ended(node, submission)
    assert report["ending"] == "error" and "rank 1" in report["detail"] and "had enough" in report["detail"]
    result = json.loads((Path(submission["request"]["work"]) / "result.json").read_text())
    assert result["error"]["type"] == "RuntimeError"


def test_a_rank_has_the_environment_of_its_request_alone(node: Node, home: Path) -> None:
    put = {"RAY_LEFT_BEHIND": "1", "DRIVERS_SECRET": "s", "TRAINING_KEY": "of another stage", "MODULEPATH": "/modules"}
    os.environ.update(put)
    submission = toy_submission(home, "environment")
    assert ended(node, submission)["ending"] == "ok"
    for name in put:
        del os.environ[name]
    folder = FilesStore(home / "store").fetch(submission["request"]["fingerprint"])
    environment = dict(line.split("=", 1) for line in (folder / "environment.txt").read_text().splitlines())
    assert environment["OMP_NUM_THREADS"] == "1" and environment["LOCAL_RANK"] == "0"
    assert environment["CUDA_VISIBLE_DEVICES"] == "" and environment["MODULEPATH"] == "/modules"
    assert environment["TOY_API_KEY"] == SECRET and environment.keys() & put.keys() == {"MODULEPATH"}
    assert (folder / "masked.txt").read_text() == "[]"
    assert (folder / "oom.txt").read_text().strip() == "800"
    session, pid = (folder / "session.txt").read_text().split()
    assert session == pid


def test_a_rank_is_no_less_likely_to_be_killed_for_memory_than_its_server(home: Path) -> None:
    node = a_node(home)
    try:
        wait_until(lambda: node.server_ready, "the server is warm")
        assert node._servers.server is not None
        # As in a container whose score is above a rank's: there it may not be lowered, and no rank could begin.
        Path(f"/proc/{node._servers.server.pid}/oom_score_adj").write_text("900")
        submission = toy_submission(home, "environment")
        assert ended(node, submission)["ending"] == "ok"
    finally:
        node.close()
    folder = FilesStore(home / "store").fetch(submission["request"]["fingerprint"])
    assert int((folder / "oom.txt").read_text()) >= 900


def test_a_secret_reaches_no_log_and_a_half_line_does(node: Node, home: Path) -> None:
    submission = toy_submission(home, "say secret")
    assert ended(node, submission)["ending"] == "ok"
    log = (Path(submission["request"]["work"]) / "log.txt").read_text()
    assert SECRET not in log and "the key is ***" in log and log.endswith("r0 | half a line\n")


def test_an_attempt_whose_input_is_not_committed_says_so(node: Node, home: Path) -> None:
    submission = toy_submission(home, "write")
    submission["inputs"] = {"data": "0" * 64}
    assert "no commit record" in ended(node, submission)["detail"]


def test_what_was_told_can_be_forgotten(node: Node, home: Path) -> None:
    submission = toy_submission(home, "write")
    ended(node, submission)
    node.forget([submission["attempt"]])
    assert submission["attempt"] not in node.poll()


def test_a_server_that_dies_takes_its_ranks_along_and_the_next_one_serves(node: Node, home: Path) -> None:
    submission = toy_submission(home, "deaf")
    work = here(node, submission)
    assert node._servers.server is not None
    os.kill(node._servers.server.pid, signal.SIGKILL)
    report = ended(node, submission)
    assert report["ending"] == "vanished" and "warm server died" in report["detail"]
    assert not any(is_alive(*process) for process in read_processes(work))
    assert ended(node, toy_submission(home, "write"))["ending"] == "ok"


def test_a_server_that_cannot_start_says_why_and_is_tried_again_for_who_comes_later(tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    start = (
        f"import os; os.path.exists({str(mended)!r}) or exit('no such library'); os.execv({SERVER[0]!r}, {SERVER!r})"
    )
    node = a_node(tmp_path, command=(SERVER[0], "-c", start))
    try:
        for _ in range(2):
            report = ended(node, toy_submission(tmp_path, "write"))
            assert report["ending"] == "error" and "no such library" in report["detail"]
        mended.touch()
        assert ended(node, toy_submission(tmp_path, "write"))["ending"] == "ok"
    finally:
        node.close()


def test_a_server_that_hangs_while_it_imports_counts_as_one_that_failed(tmp_path: Path) -> None:
    """As on a file system that is gone: whoever reads its code waits for ever."""
    node = a_node(tmp_path, command=(sys.executable, "-c", "import time; time.sleep(1000)"), import_s=0.5)
    try:
        report = ended(node, toy_submission(tmp_path, "write"))
        assert report["ending"] == "error"
        assert "not imported everything within 0.5 s" in report["detail"] and node.server_failure == report["detail"]
    finally:
        node.close()


def test_a_rank_for_which_no_process_is_left_costs_its_attempt_nothing(tmp_path: Path) -> None:
    full = "from workloads.runtime.server import main; "
    full += 'main(("no_more_processes",))'
    here = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    node = a_node(tmp_path, command=(sys.executable, "-c", here + full))
    try:
        report = ended(node, toy_submission(tmp_path, "write"))
        assert (report["ending"], "the warm server refused" in report["detail"]) == ("interrupted", True), report
    finally:
        node.close()


def test_a_server_that_cannot_even_be_started_again_holds_up_nobody_for_ever(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.symlink_to(ROOT)
    node = a_node(tmp_path, code=code)
    try:
        assert ended(node, toy_submission(tmp_path, "write"))["ending"] == "ok"
        code.unlink()  # now no process can be started, as where there is no process or descriptor left
        assert node._servers.server is not None
        os.kill(node._servers.server.pid, signal.SIGKILL)
        wait_until(lambda: not node.server_ready, "the server is gone")
        for _ in range(2):
            report = ended(node, toy_submission(tmp_path, "write"))
            assert report["ending"] == "error" and "the warm server cannot be started" in report["detail"]
        code.symlink_to(ROOT)
        assert ended(node, toy_submission(tmp_path, "write"))["ending"] == "ok"
    finally:
        node.close()


@contextlib.contextmanager
def no_thread_can_begin() -> Iterator[None]:
    """As under `ulimit -u`: no machine has room for such a stack."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_an_attempt_for_which_no_thread_is_left_ends_free(home: Path) -> None:
    node = a_node(home)
    try:
        running = toy_submission(home, "until asked")
        here(node, running)
        late = toy_submission(home, "write")
        with no_thread_can_begin():
            node.start(late)
            node.stop([running["attempt"]])
            wait_until(lambda: not node.busy, "both have ended")
        told = node.poll()
        for name in (running["attempt"], late["attempt"]):
            assert told[name]["ending"] == "interrupted" and "no thread" in told[name]["detail"], told[name]
        assert ended(node, toy_submission(home, "write"))["ending"] == "ok"
        assert node._servers.server is not None
        with no_thread_can_begin():
            os.kill(node._servers.server.pid, signal.SIGKILL)
            wait_until(lambda: node.server_failure, "no other server can be started")
        assert ended(node, toy_submission(home, "write"))["ending"] == "ok"
    finally:
        node.close()


def test_closing_a_node_leaves_no_rank(home: Path) -> None:
    node = a_node(home)
    work = here(node, toy_submission(home, "deaf"))
    node.close()
    assert read_processes(work)
    assert not any(is_alive(*process) for process in read_processes(work))
