"""Attempts over several hosts of a Ray cluster meet, end together, and are charged to the host that was lost."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from leftovers import Marked
from standing import Standing, end
from toy_jobs import as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.protocol import Adoption, Placement, Report, Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.host.code import copy_code
from orchestrator.host.processes import is_alive, read_processes

WITHIN_S = 10.0
"""After a rank or host is lost all ranks have ended."""


class Nodes:
    """A head that takes no jobs, and nodes of one processor each."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cluster = Standing(cpus=0)
        self.marks: dict[str, Marked] = {}
        self.digest, _ = copy_code(home)
        self.backends: list[RayBackend] = []
        for name in ("left", "right"):
            self.add(name)

    def add(self, name: str) -> None:
        self.marks[name] = self.cluster.add_node(1, name)

    def backend(self) -> RayBackend:
        """A new driver's."""
        context = toy_context(self.home, code_digest=self.digest)
        self.backends.append(RayBackend(context, RaySettings(address=self.cluster.address)))
        return self.backends[-1]

    def close(self) -> None:
        for backend in self.backends:
            backend.close()
        for mark in self.marks.values():
            end(mark)
        self.cluster.close()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        made = Nodes(tmp_path_factory.mktemp("home"))
        yield made
        made.close()


def submitted(backend: RayBackend, home: Path, do: str, hosts: Sequence[str] = ("left", "right")) -> Submission:
    """Submit a toy job of a rank a host, once these are there."""
    wait_until(lambda: {one.name for one in backend.hosts()} >= set(hosts), f"{hosts} are there", 120)
    one = as_submission(toy_submission(home, do, ranks=len(hosts), grace_s=60.0), hosts[0])
    parts = [Placement(host=name, cpus=1, devices=()) for name in hosts]
    placement = replace(parts[0], others=tuple(parts[1:]))
    submission = replace(one, placement=placement, resources=replace(one.resources, nodes=len(hosts)))
    backend.submit([submission])
    return submission


def until(backend: RayBackend, submission: Submission, phase: str) -> Report:
    wait_until(lambda: backend.poll()[submission.attempt].phase == phase, f"{submission.attempt} is {phase}", 120)
    return backend.poll()[submission.attempt]


def meeting(backend: RayBackend, home: Path, hosts: Sequence[str] = ("left", "right")) -> Submission:
    """A job whose ranks hold together, once they do."""
    submission = submitted(backend, home, "hold together until asked", hosts)
    work = Path(submission.request["work"])
    wait_until(lambda: all((work / f"here-{rank}").exists() for rank in range(len(hosts))), "the ranks meet", 120)
    return submission


def ranks_of(submission: Submission) -> list[tuple[int, int]]:
    """Processes of its ranks, by rank."""
    work = Path(submission.request["work"])
    return [*read_processes(work), *read_processes(work, "process-n1.json")]


def test_ranks_on_two_hosts_meet_by_the_interface_of_their_nodes_and_stop_together(nodes: Nodes) -> None:
    backend = nodes.backend()
    submission = meeting(backend, nodes.home)
    until(backend, submission, "running")
    for rank in range(2):
        told = dict(
            line.split("=", 1) for line in (Path(submission.request["work"]) / f"here-{rank}").read_text().split()
        )
        assert (told["RANK"], told["LOCAL_RANK"], told["WORLD_SIZE"]) == (str(rank), "0", "2")
        assert told["GLOO_SOCKET_IFNAME"] in {name for _, name in socket.if_nameindex()}
        assert told["NCCL_SOCKET_IFNAME"] == f"={told['GLOO_SOCKET_IFNAME']}"
    backend.stop([submission.attempt])
    assert until(backend, submission, "ended").ending == "interrupted"
    done = submitted(backend, nodes.home, "write")
    assert (until(backend, done, "ended").ending, backend.poll()[done.attempt].failed_on) == ("ok", "")


def test_a_rank_that_is_killed_ends_all_and_its_host_is_charged(nodes: Nodes) -> None:
    backend = nodes.backend()
    submission = meeting(backend, nodes.home)
    (_, (lost, _)) = ranks_of(submission)
    os.kill(lost, signal.SIGKILL)
    began = time.monotonic()
    report = until(backend, submission, "ended")
    assert time.monotonic() - began < WITHIN_S
    assert (report.ending, report.failed_on) == ("vanished", "right") and "node 1 (right)" in report.detail


def test_deaf_ranks_end_too_when_a_rank_of_another_host_fails(nodes: Nodes) -> None:
    """They would have 60 s to save, and nothing to save it with."""
    backend = nodes.backend()
    submission = submitted(backend, nodes.home, "deaf")
    wait_until(lambda: len(ranks_of(submission)) == 2, "both ranks are there", 120)
    (first, (lost, _)) = ranks_of(submission)
    os.kill(lost, signal.SIGKILL)
    wait_until(lambda: not is_alive(*first), "the other one ends", WITHIN_S)
    assert until(backend, submission, "ended").failed_on == "right"


def test_another_driver_takes_up_both_shares(nodes: Nodes) -> None:
    before = nodes.backend()
    submission = meeting(before, nodes.home)
    ticket = before._attempts.adoptions[submission.attempt]["ticket"]
    before.close()
    after = nodes.backend()
    after.hosts()
    after.adopt([Adoption.of(submission, ticket)])
    until(after, submission, "running")
    after.stop([submission.attempt])
    assert until(after, submission, "ended").ending == "interrupted"


def test_a_host_that_is_killed_ends_the_others_ranks_and_a_third_one_can_take_its_place(nodes: Nodes) -> None:
    backend = nodes.backend()
    submission = meeting(backend, nodes.home)
    first, second = ranks_of(submission)
    (host,) = nodes.marks["right"].processes("ray::Host")
    host.signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(*first) and not is_alive(*second), "all ranks end", WITHIN_S)
    report = until(backend, submission, "ended")
    assert (report.ending, report.failed_on) == ("node_lost", "right")


def test_a_node_that_is_killed_is_charged_and_the_next_attempt_runs_on_one_that_joins(nodes: Nodes) -> None:
    backend = nodes.backend()
    submission = meeting(backend, nodes.home)
    first, _ = ranks_of(submission)
    end(nodes.marks.pop("right"))
    wait_until(lambda: not is_alive(*first), "the rank on the other node ends", WITHIN_S)
    report = until(backend, submission, "ended")
    assert (report.ending, report.failed_on) == ("node_lost", "right")
    nodes.add("late")
    again = meeting(backend, nodes.home, ("left", "late"))
    backend.kill([again.attempt])
    assert until(backend, again, "ended").ending == "interrupted"
