"""Each process of an embedded Ray is killed or stopped once; the driver lives on, and nothing is lost or left.

The victims are found by the mark of everything this file starts (tests/leftovers.py).
"""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Marked, Process, nothing_left
from toy_jobs import SERVER, as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.protocol import Report, Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.errors import BackendError
from orchestrator.host.processes import is_alive, read_processes
from orchestrator.store.files import FilesStore

CHILD = ("orchestrator.backends.ray", "-m")
GUARD = "orchestrator.backends.ray.guard"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def mark(home: Path) -> Iterator[Marked]:
    """What runs under it is gone when the module has ended, whatever died in between."""
    with nothing_left(homes=[home]) as marked:
        yield marked


@pytest.fixture(scope="module")
def backend(mark: Marked, home: Path) -> Iterator[RayBackend]:
    made = RayBackend(toy_context(home), RaySettings(cpus=2))
    yield made
    made.close()


def running(backend: RayBackend, home: Path, do: str = "until asked", **more: int) -> Submission:
    """Submit a toy job that waits, once there is a host, and wait until its stage has begun."""
    submission = submitted(backend, home, do, **more)
    work = Path(submission.request["work"])
    wait_until(lambda: backend.poll() and (work / "here-0").exists(), "the stage began", 120)
    return submission


def submitted(backend: RayBackend, home: Path, do: str, **more: int) -> Submission:
    wait_until(backend.hosts, "there is a host", 180)
    submission = as_submission(toy_submission(home, do, **more), backend.hosts()[0].name)
    backend.submit([submission])
    return submission


def until(backend: RayBackend, submission: Submission, phase: str) -> Report:
    wait_until(lambda: backend.poll()[submission.attempt].phase == phase, f"it is {phase}", 180)
    return backend.poll()[submission.attempt]


def goes_on(backend: RayBackend, home: Path) -> None:
    """The next attempt ends well and is committed."""
    submission = submitted(backend, home, "write")
    assert until(backend, submission, "ended").ending == "ok"
    assert FilesStore(home / "store").read(submission.request["fingerprint"]).attempt == submission.attempt


def child(mark: Marked) -> Process:
    (found,) = [one for one in mark.processes(*CHILD) if GUARD not in one.command]
    return found


def one(mark: Marked, word: str) -> Process:
    return mark.processes(word)[0]


def ranks(submission: Submission) -> list[tuple[int, int]]:
    return read_processes(Path(submission.request["work"]))


def test_what_dies_while_ray_starts_is_started_again(backend: RayBackend, mark: Marked) -> None:
    shares: list[object] = []
    asking = threading.Thread(target=lambda: shares.extend(backend.hosts()))
    asking.start()
    os.kill(wait_until(lambda: mark.processes("gcs_server"), "Ray is starting", 60)[0].pid, signal.SIGKILL)
    asking.join(180)
    assert len(shares) == 1


def test_a_rank_of_two_that_dies_takes_the_other_along(backend: RayBackend, home: Path) -> None:
    submission = running(backend, home, ranks=2)
    wait_until(lambda: len(ranks(submission)) == 2, "both ranks are known")
    os.kill(ranks(submission)[1][0], signal.SIGKILL)
    report = until(backend, submission, "ended")
    assert report.ending == "vanished" and "rank 1" in report.detail
    assert not any(is_alive(*process) for process in ranks(submission))
    goes_on(backend, home)


def test_the_warm_server_dies(backend: RayBackend, home: Path, mark: Marked) -> None:
    submission = running(backend, home, "deaf")
    server = next(found for found in mark.processes(SERVER[1]) if (found.pid, found.started) not in ranks(submission))
    os.kill(server.pid, signal.SIGKILL)
    assert until(backend, submission, "ended").ending == "vanished"
    goes_on(backend, home)


def test_the_host_dies(backend: RayBackend, home: Path, mark: Marked) -> None:
    submission = running(backend, home, "deaf")
    os.kill(one(mark, "ray::Host").pid, signal.SIGKILL)
    assert until(backend, submission, "ended").ending == "node_lost"
    assert not any(is_alive(*process) for process in ranks(submission))
    goes_on(backend, home)


@pytest.mark.parametrize("victim", [pytest.param("gcs_server", marks=pytest.mark.long), "raylet/raylet"])
def test_what_ray_cannot_live_without_dies(backend: RayBackend, home: Path, mark: Marked, victim: str) -> None:
    submission = running(backend, home, "deaf")
    before = child(mark)
    os.kill(one(mark, victim).pid, signal.SIGKILL)
    assert until(backend, submission, "ended").ending == "node_lost"
    assert not any(is_alive(*process) for process in ranks(submission))
    assert not before.alive
    goes_on(backend, home)


def test_the_guard_dies_and_then_the_child(backend: RayBackend, home: Path, mark: Marked) -> None:
    submission = running(backend, home, "deaf")
    before = child(mark)
    os.kill(one(mark, GUARD).pid, signal.SIGKILL)
    os.kill(before.pid, signal.SIGKILL)
    assert until(backend, submission, "ended").ending == "node_lost"
    goes_on(backend, home)


def test_everything_dies_at_once_and_an_end_that_was_not_told_before_is_told_after_it(
    backend: RayBackend, home: Path, mark: Marked
) -> None:
    lost = running(backend, home, "deaf")
    refused = submitted(backend, home, "refuse")
    wait_until((Path(refused.request["work"]) / "ended.json").exists, "the host knows the end")
    for process in mark.processes():
        process.signal(signal.SIGKILL)
    assert until(backend, lost, "ended").ending == "node_lost"
    assert until(backend, refused, "ended").ending == "bad_input"
    goes_on(backend, home)


@pytest.mark.parametrize("victim", [pytest.param("host", marks=pytest.mark.long), "child"])
def test_what_is_stopped_for_a_while_is_unknown_and_then_back(
    backend: RayBackend, home: Path, mark: Marked, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    """A host on a standing cluster is stopped in test_standing_ray.py."""
    if victim == "child":
        monkeypatch.setattr("orchestrator.backends.ray.client.ANSWER_S", 2.0)
    submission = running(backend, home)
    process = one(mark, "ray::Host") if victim == "host" else child(mark)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        assert "does not answer" in until(backend, submission, "unknown").detail
    finally:
        os.kill(process.pid, signal.SIGCONT)
    until(backend, submission, "running")
    backend.stop([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"


@pytest.mark.parametrize("victim", ["gcs_server", pytest.param("raylet/raylet", marks=pytest.mark.long)])
def test_a_ray_that_is_stopped_for_a_while_loses_nothing(
    backend: RayBackend, home: Path, mark: Marked, victim: str
) -> None:
    submission = running(backend, home)
    process = one(mark, victim)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            assert backend.poll()[submission.attempt].phase in ("running", "unknown")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    until(backend, submission, "running")
    backend.stop([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"
    goes_on(backend, home)


def test_a_ray_that_does_not_start_says_why(home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestrator").mkdir()
    (tmp_path / "orchestrator" / "__init__.py").write_text("raise SystemExit('this code is broken')")
    gone = RayBackend(toy_context(home), RaySettings(cpus=1))
    gone._code = tmp_path
    with pytest.raises(BackendError, match=r"(?s)has ended; what it said: .*this code is broken"):
        gone.hosts()
    gone.close()


def test_a_ray_that_does_not_come_back_is_given_up_after_three_starts(
    backend: RayBackend, home: Path, mark: Marked, tmp_path: Path
) -> None:
    submission = running(backend, home, "deaf")
    (tmp_path / "orchestrator").mkdir()
    (tmp_path / "orchestrator" / "__init__.py").write_text("raise SystemExit('this code is broken')")
    code, backend._code = backend._code, tmp_path
    os.kill(child(mark).pid, signal.SIGKILL)
    assert until(backend, submission, "ended").ending == "node_lost"

    def refused() -> str:
        try:
            assert backend.hosts() == ()
        except BackendError as error:
            return str(error)
        return ""

    assert "this code is broken" in wait_until(refused, "it is given up", 60)
    backend._code = code
