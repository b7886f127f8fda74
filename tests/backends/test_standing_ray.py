"""On a standing Ray cluster attempts go on without a driver, and the next one takes them up."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import Marked
from standing import SETTINGS, Standing, end
from toy_jobs import SERVER, as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.protocol import Adoption, Report, Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.errors import BackendError, SiteError
from orchestrator.host.code import copy_code
from orchestrator.host.processes import is_alive, read_processes
from orchestrator.store.files import FilesStore
from orchestrator.testing.backends import BackendUnderTest, LastingBackendContract, WantedEnding

DO = {"ok": "write", "error": "fail", "bad_input": "refuse", "out_of_memory": "no memory", "long": "until asked"}


@pytest.fixture(scope="module", autouse=True)
def _without_token() -> Iterator[None]:
    """The cluster is started without a token, and its drivers say so too."""
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    yield
    del os.environ["RAY_AUTH_MODE"]
    if before is not None:
        os.environ["RAY_AUTH_MODE"] = before


@pytest.fixture(scope="module")
def cluster(_without_token: None) -> Iterator[Standing]:
    made = Standing(cpus=2)
    yield made
    made.close()


class Drivers:
    """Backends of one study, one after the other."""

    def __init__(self, cluster: Standing, home: Path, **settings: Any) -> None:
        self.cluster, self.home, self.settings = cluster, home, settings
        self.made: list[RayBackend] = []
        self.digest, _ = copy_code(home)

    def next(self, **settings: Any) -> RayBackend:
        context = toy_context(self.home, code_digest=self.digest, **self.settings, **settings)
        self.made.append(RayBackend(context, RaySettings(address=self.cluster.address)))
        return self.made[-1]

    @property
    def newest(self) -> RayBackend:
        if not self.made or self.made[-1]._closed:
            return self.next()
        return self.made[-1]

    def close(self) -> None:
        for backend in self.made:
            backend.close()
        for process in self.cluster.head.processes("ray::Host"):
            process.signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def drivers(cluster: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    made = Drivers(cluster, tmp_path_factory.mktemp("home"))
    yield made
    made.close()


def submitted(backend: RayBackend, home: Path, do: str, host: str = "", **more: Any) -> Submission:
    """Submit a toy job to a host, once it is there."""
    wait_until(lambda: any(host in one.name for one in backend.hosts()), "there is a host", 120)
    name = next(one.name for one in backend.hosts() if host in one.name)
    submission = as_submission(toy_submission(home, do, **more), name)
    backend.submit([submission])
    return submission


def until(backend: RayBackend, submission: Submission, phase: str) -> Report:
    wait_until(lambda: backend.poll()[submission.attempt].phase == phase, f"{submission.attempt} is {phase}", 120)
    return backend.poll()[submission.attempt]


def running(backend: RayBackend, home: Path, do: str) -> Submission:
    """Submit a toy job and wait until it runs."""
    submission = submitted(backend, home, do)
    until(backend, submission, "running")
    return submission


def hosts_of(cluster: Standing) -> list[Any]:
    return cluster.head.processes("ray::Host")


class TestLastingRayBackend(LastingBackendContract):
    @pytest.fixture
    def case(self, drivers: Drivers) -> BackendUnderTest:
        backend = drivers.newest
        host = backend.hosts()[0].name

        def submission(wanted: WantedEnding) -> Submission:
            return as_submission(toy_submission(drivers.home, DO[wanted]), host)

        return BackendUnderTest(
            backend=backend,
            store=FilesStore(drivers.home / "store"),
            submission=submission,
            rest=lambda: time.sleep(0.1),
            successor=drivers.next,
        )


def test_a_child_that_dies_costs_no_attempt(drivers: Drivers) -> None:
    backend = drivers.newest
    submission = running(backend, drivers.home, "until asked")
    assert backend._pipe is not None
    os.kill(backend._pipe.pid, signal.SIGKILL)
    until(backend, submission, "unknown")
    until(backend, submission, "running")
    backend.stop([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"


DIES = """
_answers = Child._answer

def _dies(self, request):
    answer = _answers(self, request)
    if request["op"] == "submit" and Path({armed!r}).exists():
        Path({armed!r}).unlink()
        while not Path(request["submissions"][0]["request"]["work"]).exists():
            time.sleep(0.05)
        os._exit(9)
    return answer

Child._answer = _dies
"""


def test_what_a_child_passed_on_before_it_could_answer_runs_once(drivers: Drivers) -> None:
    """The child's code is the study's own copy: there it is made to die between the act and the answer."""
    drivers.newest.close()
    backend = drivers.next()
    code = backend._code / "orchestrator" / "backends" / "ray" / "child.py"
    before, armed = code.read_bytes(), drivers.home / "armed"
    code.write_bytes(before + DIES.format(armed=str(armed)).encode())
    try:
        until(backend, submitted(backend, drivers.home, "write"), "ended")  # its server is warm
        armed.touch()
        submission = submitted(backend, drivers.home, "until asked")
    finally:
        code.write_bytes(before)
    assert not armed.exists()
    until(backend, submission, "running")
    backend.stop([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"


def test_a_stop_that_no_child_could_hear_is_carried_out_by_the_next(drivers: Drivers) -> None:
    backend = drivers.newest
    submission = running(backend, drivers.home, "until asked")
    child = backend._pipe
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not child.alive, "the child is gone")
    backend.stop([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"


def test_a_host_that_is_stopped_for_a_while_is_unknown_and_then_back(drivers: Drivers) -> None:
    backend = drivers.newest
    submission = running(backend, drivers.home, "until asked")
    (host,) = hosts_of(drivers.cluster)
    os.kill(host.pid, signal.SIGSTOP)
    try:
        assert "does not answer" in until(backend, submission, "unknown").detail
    finally:
        os.kill(host.pid, signal.SIGCONT)
    until(backend, submission, "running")
    backend.kill([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"


def test_a_host_that_is_killed_ends_its_attempts_free_and_another_takes_its_place(drivers: Drivers) -> None:
    backend = drivers.newest
    submission = running(backend, drivers.home, "deaf")
    (host,) = hosts_of(drivers.cluster)
    os.kill(host.pid, signal.SIGKILL)
    report = until(backend, submission, "ended")
    assert report.ending == "node_lost" and "host on" in report.detail
    assert not any(is_alive(*process) for process in read_processes(Path(submission.request["work"])))
    again = submitted(backend, drivers.home, "write")
    assert again.placement.host == submission.placement.host, "a node keeps its name"
    assert until(backend, again, "ended").ending == "ok"


def test_a_host_that_ended_between_two_drivers_costs_nothing_and_no_end_that_no_driver_has_booked(
    drivers: Drivers,
) -> None:
    backend = drivers.newest
    refused = submitted(backend, drivers.home, "refuse")
    until(backend, refused, "ended")
    lost = running(backend, drivers.home, "deaf")
    ticket = backend._attempts.adoptions[lost.attempt]["ticket"]
    backend.close()
    for host in hosts_of(drivers.cluster):
        host.signal(signal.SIGKILL)
    successor = drivers.next()
    successor.hosts()
    successor.adopt([Adoption.of(refused), Adoption.of(lost, ticket)])
    report = until(successor, refused, "ended")
    assert report.ending == "bad_input" and "config.data.do" in report.detail
    assert until(successor, lost, "ended").ending == "node_lost"


def test_a_host_of_other_code_finishes_what_it_runs_and_then_makes_room(drivers: Drivers) -> None:
    backend = drivers.newest
    submission = running(backend, drivers.home, "until asked")
    ticket = backend._attempts.adoptions[submission.attempt]["ticket"]
    (old,) = hosts_of(drivers.cluster)
    backend.close()
    successor = drivers.next()
    successor._settings["digest"] = "f" * 64
    assert successor.hosts() == (), "nothing of the new driver is placed on the old host"
    successor.adopt([Adoption.of(submission, ticket)])
    until(successor, submission, "running")
    successor.stop([submission.attempt])
    assert until(successor, submission, "ended").ending == "interrupted"
    wait_until(lambda: not old.alive or successor.poll() is None, "the old host ends", 60)
    again = submitted(successor, drivers.home, "write")
    assert until(successor, again, "ended").ending == "ok"
    commit = FilesStore(drivers.home / "store").read(again.request["fingerprint"])
    assert commit.code == "f" * 64
    successor.close()
    for host in hosts_of(drivers.cluster):
        host.signal(signal.SIGKILL)


def test_a_host_that_idles_or_has_no_driver_saves_ends_and_gives_its_node_back(drivers: Drivers) -> None:
    for host in hosts_of(drivers.cluster):
        host.signal(signal.SIGKILL)
    drivers.newest.close()
    backend = drivers.next(idle_s=1.0, orphan_s=2.0)
    first = submitted(backend, drivers.home, "write")
    assert until(backend, first, "ended").ending == "ok"
    wait_until(lambda: not hosts_of(drivers.cluster), "the idle host ends", 60)
    submission = submitted(backend, drivers.home, "until asked")  # it is started again when it is needed
    until(backend, submission, "running")
    ticket = backend._attempts.adoptions[submission.attempt]["ticket"]
    backend.close()
    wait_until(lambda: not hosts_of(drivers.cluster), "the orphan ends", 60)
    result = json.loads((Path(submission.request["work"]) / "result.json").read_text())
    assert result["ending"] == "stopped"
    successor = drivers.next()
    wait_until(successor.hosts, "the node was given back", 60)
    successor.adopt([Adoption.of(submission, ticket)])
    assert until(successor, submission, "ended").ending == "interrupted"


ORPHAN = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from toy_jobs import SERVER, toy_context, toy_submission, wait_until
from orchestrator.backends.ray.actor import Host
from orchestrator.host.description import describe
from orchestrator.store.location import StoreLocation
home = Path(sys.argv[2])
settings = describe(home, StoreLocation(folder=str(home / "store")), code_digest="", git="", server=SERVER)
host = Host({**settings, "address": "a standing one", "orphan_s": 1.0, "idle_s": 600.0}, 0)
assert host.hello()["digest"] == settings["digest"]
host.start([toy_submission(home, "deaf", grace_s=2.0)])
(attempt,) = host._node._attempts.values()
wait_until(lambda: attempt.kill_at, "nobody asks for it, so it ends")
assert host.hello()["digest"] != settings["digest"]
wait_until(lambda: attempt.phase == "ended", "it ends")
host.close()
os._exit(7)
"""


def test_a_host_that_ends_for_want_of_a_driver_takes_no_attempts_of_the_next(tmp_path: Path) -> None:
    """They would be cut off with it, without a checkpoint."""
    command = [sys.executable, "-c", ORPHAN, str(Path(SERVER[1]).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr


def test_a_host_that_cannot_start_says_why(drivers: Drivers) -> None:
    for host in hosts_of(drivers.cluster):
        host.signal(signal.SIGKILL)
    backend = drivers.next()
    backend._settings["store"] = {"kind": "shelf", "folder": ""}
    with pytest.raises(BackendError, match=r"does not start: .*'shelf'"):
        backend.hosts()
    backend.close()


def test_an_address_where_no_ray_answers_is_refused_with_the_remedy(drivers: Drivers) -> None:
    elsewhere = RayBackend(toy_context(drivers.home), RaySettings(address="127.0.0.1:1"))
    with pytest.raises(SiteError) as refused:
        elsewhere.hosts()
    assert str(refused.value) == (
        "ray.address is '127.0.0.1:1': nothing answers there (Connection refused); start one there "
        "(docs/how-to/ray-cluster.md), correct ray.address, or set it to local"
    )
    elsewhere.close()


@pytest.fixture
def second_node(cluster: Standing) -> Iterator[Marked]:
    mark = cluster.add_node(1)
    yield mark
    end(mark)


def test_attempts_on_a_node_that_is_taken_away_save_and_are_preempted(
    drivers: Drivers, cluster: Standing, second_node: Marked
) -> None:
    backend = drivers.next()
    here = backend.hosts()
    wait_until(lambda: len(backend.hosts()) == 2, "the second node has a host", 120)
    (added,) = [host for host in backend.hosts() if host.cpus == 1]
    assert len(here) <= 2
    submission = submitted(backend, drivers.home, "until asked", added.name)
    until(backend, submission, "running")
    drain(cluster, added.name.rpartition("-")[2])
    report = until(backend, submission, "ended")
    assert report.ending == "preempted" and "taken away" in report.detail
    result = json.loads((Path(submission.request["work"]) / "result.json").read_text())
    assert result["ending"] == "stopped"
    assert added.name not in {host.name for host in backend.hosts()}


def test_a_host_that_was_silent_when_it_was_found_is_heard_and_what_is_on_a_node_that_dies_is_lost_free(
    drivers: Drivers, cluster: Standing, second_node: Marked
) -> None:
    backend = drivers.newest
    wait_until(lambda: len(backend.hosts()) == 2, "the second node has a host", 120)
    (added,) = [host for host in backend.hosts() if host.cpus == 1]
    (stays,) = [host for host in backend.hosts() if host.cpus == 2]
    lost = submitted(backend, drivers.home, "deaf", added.name)
    going_on = submitted(backend, drivers.home, "until asked", stays.name)
    until(backend, lost, "running"), until(backend, going_on, "running")
    tickets = {one.attempt: backend._attempts.adoptions[one.attempt]["ticket"] for one in (lost, going_on)}
    (host,) = second_node.processes("ray::Host")
    backend.close()
    os.kill(host.pid, signal.SIGSTOP)
    try:
        successor = drivers.next()
        successor.adopt([Adoption.of(one, tickets[one.attempt]) for one in (lost, going_on)])
        until(successor, lost, "unknown")
    finally:
        os.kill(host.pid, signal.SIGCONT)
    until(successor, lost, "running")  # though nothing asks for room

    end(second_node)
    report = until(successor, lost, "ended")
    assert report.ending == "node_lost" and added.name in report.detail
    assert successor.poll()[going_on.attempt].phase == "running"
    successor.stop([going_on.attempt])
    assert until(successor, going_on, "ended").ending == "interrupted"


def drain(cluster: Standing, node: str) -> None:
    """Tell Ray, as an autoscaler does, that a node is about to be taken away; `node` begins its id."""
    subprocess.run(
        [sys.executable, "-c", DRAIN, cluster.address, node], check=True, timeout=120, env={**os.environ, **SETTINGS}
    )


DRAIN = """
import sys, time
import ray
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2

address, begins = sys.argv[1:]
ray.init(address=address, configure_logging=False, log_to_driver=False)
(node,) = [one["NodeID"] for one in ray.nodes() if one["NodeID"].startswith(begins)]
reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
until_ms = int((time.time() + 120) * 1000)
assert GcsClient(address=address).drain_node(node, reason, "spot", until_ms)[0]
"""
