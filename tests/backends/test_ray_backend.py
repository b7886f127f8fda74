"""The Ray backend keeps the backend's promises, whatever of it dies."""

import http.client
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from listening import is_loopback, listening_sockets
from stranger import knock
from toy_jobs import as_submission, family, toy_context, toy_submission, wait_until

from orchestrator.backends.protocol import Report, Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.session import TOKEN, heads, session_folder, sweep
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.backends.ray.socket_folder import socket_parent
from orchestrator.errors import BackendError
from orchestrator.host.machine import machine_cpus
from orchestrator.host.processes import is_alive, read_processes, start_time
from orchestrator.store.files import FilesStore


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def backend(home: Path) -> Iterator[RayBackend]:
    made = RayBackend(toy_context(home), RaySettings())
    yield made
    made.close()


def submitted(backend: RayBackend, home: Path, do: str, *, ranks: int = 1) -> Submission:
    """Submit one toy job to the only host, once it is there."""
    wait_until(backend.hosts, "there is a host", 120)
    submission = as_submission(toy_submission(home, do, ranks=ranks), backend.hosts()[0].name)
    assert set(backend.submit([submission])) == {submission.attempt}
    return submission


def ended(backend: RayBackend, submission: Submission) -> Report:
    """Wait for the end of an attempt."""
    wait_until(lambda: backend.poll()[submission.attempt].phase == "ended", f"{submission.attempt} ends", 120)
    return backend.poll()[submission.attempt]


def begun(submission: Submission) -> Path:
    """Wait until a toy stage that waits has begun; returns its work folder."""
    work = Path(submission.request["work"])
    wait_until(lambda: (work / "here-0").exists(), "the stage began")
    return work


def test_the_only_host_has_what_the_machine_has(backend: RayBackend) -> None:
    (host,) = backend.hosts()
    assert host.cpus == machine_cpus() and host.memory_gib > 0.5


def test_what_poll_calls_ok_is_committed_and_ran_from_the_copy_of_the_code(backend: RayBackend, home: Path) -> None:
    submission = submitted(backend, home, "environment")
    assert ended(backend, submission).ending == "ok"
    store = FilesStore(home / "store")
    commit = store.read(submission.request["fingerprint"])
    code = home / "code" / commit.code
    assert (store.fetch(commit.fingerprint) / "code.txt").read_text() == str(code / "workloads")


def test_a_rank_is_killed_for_memory_before_its_server_and_its_host(backend: RayBackend, home: Path) -> None:
    submission = submitted(backend, home, "until asked")
    work = begun(submission)
    ((rank, _),) = wait_until(lambda: read_processes(work), "the rank is known")
    server = psutil.Process(rank).ppid()
    scores = [
        int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (rank, server, psutil.Process(server).ppid())
    ]
    assert scores[0] > max(scores[1:])
    backend.kill([submission.attempt])
    assert ended(backend, submission).ending == "interrupted"


def test_an_end_is_repeated_for_ever(backend: RayBackend, home: Path) -> None:
    submission = submitted(backend, home, "refuse")
    first = ended(backend, submission)
    ended(backend, submitted(backend, home, "write"))
    assert backend.poll()[submission.attempt] == first
    assert first.ending == "bad_input"


def test_a_host_that_there_is_not_is_refused(backend: RayBackend, home: Path) -> None:
    with pytest.raises(BackendError, match="there is no host 'elsewhere'"):
        backend.submit([as_submission(toy_submission(home, "write"), "elsewhere")])


def test_stopping_asks_and_killing_does_not(backend: RayBackend, home: Path) -> None:
    asked, deaf = submitted(backend, home, "until asked"), submitted(backend, home, "deaf")
    begun(asked), begun(deaf)
    assert backend.poll()[asked.attempt].phase == "running"
    backend.stop([asked.attempt])
    backend.kill([deaf.attempt])
    assert (ended(backend, asked).ending, ended(backend, deaf).ending) == ("interrupted", "interrupted")


def test_a_child_that_dies_costs_nothing_but_time(backend: RayBackend, home: Path) -> None:
    submission = submitted(backend, home, "deaf")
    work = begun(submission)
    assert backend._pipe is not None
    child = backend._pipe.pid
    started = start_time(child)
    assert started is not None
    everything = family(child)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(*process) for process in everything), "Ray dies with its child", 10)
    assert backend.poll()[submission.attempt].phase == "unknown"
    assert ended(backend, submission).ending == "node_lost"
    assert not any(is_alive(*process) for process in read_processes(work))
    assert ended(backend, submitted(backend, home, "write")).ending == "ok"
    wait_until(lambda: not session_folder(child, started).exists(), "its folder is removed", 10)


def test_no_other_user_is_let_in(backend: RayBackend) -> None:
    """Whoever can speak to a Ray runs code as its user: the folder is closed to others, and so are the ports."""
    wait_until(backend.hosts, "there is a host", 120)
    assert backend._pipe is not None
    child = backend._pipe.pid
    started = start_time(child)
    assert started is not None
    folder = session_folder(child, started)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE((folder / TOKEN).stat().st_mode) == 0o600
    (head,) = (pid for pid, _ in heads(child) if psutil.Process(pid).name() == "gcs_server")
    listening = [one for one in psutil.Process(head).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    asked = {
        one.laddr.port: [knock(f"127.0.0.1:{one.laddr.port}", token) for token in (folder / TOKEN, None)]
        for one in listening
    }
    assert any(held == "" for held, _ in asked.values()), f"the token opens its port: {asked}"
    assert all("nauthenticated" in without for held, without in asked.values() if held == "")


def web_status(port: int) -> int:
    """Status of the answer to a request without Ray's token; 0: no web server is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/get_or_create_runtime_env", b"")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_nothing_of_a_run_listens_but_on_loopback(backend: RayBackend, home: Path) -> None:
    """Ray's head, raylet, agents and workers, our host, the warm server, and two ranks that compute together."""
    submission = submitted(backend, home, "compute together until asked", ranks=2)
    work = begun(submission)
    assert backend._pipe is not None
    everyone = [backend._pipe.pid, *(pid for pid, _ in family(backend._pipe.pid))]
    (ranks,) = [{pid for pid, _ in read_processes(work)}]
    found = listening_sockets(everyone)
    assert len(ranks) == 2 and ranks <= {pid for _, _, pid in found}, "ranks listen too, for each other"
    assert [one for one in found if not is_loopback(one[0])] == []
    answers = [web_status(port) for _, port, _ in found]  # Ray's agent for environments is a web server
    assert 401 in answers and not any(status and status < 400 for status in answers)
    backend.kill([submission.attempt])
    assert ended(backend, submission).ending == "interrupted"


def test_closing_leaves_no_process_and_no_folder(backend: RayBackend, home: Path) -> None:
    begun(submitted(backend, home, "deaf"))
    everything = family(os.getpid())
    child = backend._pipe
    assert child is not None
    folders = list(socket_parent().glob(f"em-ray-{child.pid}-*"))
    mine = [process for process in everything if process in family(child.pid)]
    backend.close()
    backend.close()
    assert folders and mine
    wait_until(lambda: not any(is_alive(*process) for process in mine), "nothing runs on", 5)
    wait_until(lambda: not any(folder.exists() for folder in folders), "its folder is removed", 5)
    with pytest.raises(BackendError, match="closed"):
        backend.hosts()


def test_only_folders_of_dead_owners_are_swept(tmp_path: Path) -> None:
    started = start_time(os.getpid())
    assert started is not None
    living, dead, other = (
        session_folder(os.getpid(), started, tmp_path),
        tmp_path / "em-ray-1-1",
        tmp_path / "em-ray-x-1",
    )
    for folder in (living, dead, other):
        folder.mkdir()
    sweep([tmp_path])
    assert living.exists() and other.exists() and not dead.exists()
