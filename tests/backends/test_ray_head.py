"""A head that is started again is another cluster: what ran on its nodes is lost, is charged to nobody, and goes on."""

import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Marked, expect_nothing
from standing import Standing, end
from toy_jobs import as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.protocol import Adoption, Placement, Report, Submission
from orchestrator.backends.ray import head_watch
from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.host.checkpoints import newest_checkpoint
from orchestrator.host.code import copy_code

SOON = {"RAY_gcs_rpc_server_reconnect_timeout_s": "3"}
"""Of nodes: how long Ray looks for a head that has died; a minute by itself."""
NAMES = ("left", "right")


class Cluster(Standing):
    """A head that takes no jobs, and two nodes."""

    def __init__(self) -> None:
        super().__init__(cpus=0)
        self.nodes: list[Marked] = []
        self.join()

    def join(self) -> None:
        """Both nodes are started; at the same time they would choose the same ports, being on one machine."""
        self.nodes += [self.add_node(1, name, **SOON) for name in NAMES]

    def raylets(self) -> list[str]:
        return [one.command for node in self.nodes for one in node.processes("raylet/raylet")]

    def close(self) -> None:
        for node in self.nodes:
            end(node)
        super().close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def backend(cluster: Cluster, tmp_path: Path) -> Iterator[RayBackend]:
    digest, _ = copy_code(tmp_path)
    made = RayBackend(toy_context(tmp_path, code_digest=digest), RaySettings(address=cluster.address))
    yield made
    made.close()


def submitted(backend: RayBackend, home: Path, attempt: str, fingerprint: str = "") -> Submission:
    """Submit an attempt over both hosts, once these are there."""

    def there() -> bool:
        with contextlib.suppress(ClusterSilent):
            return {host.name for host in backend.hosts()} >= set(NAMES)
        return False

    wait_until(there, f"{NAMES} are there", 120)
    raw = toy_submission(home, "count together until asked", ranks=2)
    fingerprint = fingerprint or raw["request"]["fingerprint"]
    newest = newest_checkpoint(home, fingerprint)
    request = {
        **raw["request"],
        "attempt": attempt,
        "fingerprint": fingerprint,
        "work": str(home / "attempts" / fingerprint[:16] / attempt),
        "resume": None if newest is None else str(newest.path),
    }
    first, *others = (Placement(host=name, cpus=1, devices=()) for name in NAMES)
    one = as_submission({**raw, "attempt": attempt, "request": request}, first.host)
    submission = dataclasses.replace(one, placement=dataclasses.replace(first, others=tuple(others)))
    backend.submit([submission])
    return submission


def until(backend: RayBackend, submission: Submission, phase: str) -> Report:
    wait_until(lambda: backend.poll()[submission.attempt].phase == phase, f"{submission.attempt} is {phase}", 120)
    return backend.poll()[submission.attempt]


@pytest.mark.long
def test_a_job_on_two_nodes_goes_on_under_the_next_head_from_its_newest_checkpoint(
    cluster: Cluster, backend: RayBackend, tmp_path: Path
) -> None:
    lost = submitted(backend, tmp_path, "a001")
    fingerprint = lost.request["fingerprint"]
    wait_until(lambda: newest_checkpoint(tmp_path, fingerprint), "it saves", 60)
    _, _, port = cluster.address.rpartition(":")
    end(cluster.head)
    expect_nothing(cluster.raylets, 60.0)
    cluster.start_head_again()
    assert until(backend, lost, "unknown").detail.endswith(f":{port} was started again")
    report = until(backend, lost, "ended")
    assert (report.ending, report.failed_on) == ("node_lost", "")
    assert report.detail == "the host left has ended, with the head of its cluster, which was started again"
    cluster.join()
    again = submitted(backend, tmp_path, "a002", fingerprint)
    until(backend, again, "running")
    logs = [Path(again.request["work"]) / name for name in ("log.txt", "log-n1.txt")]
    wait_until(lambda: all(log.exists() and "goes on from 1" in log.read_text() for log in logs), "both ranks go on")
    backend.stop([again.attempt])
    assert until(backend, again, "ended").ending == "interrupted"


def test_a_head_that_is_silent_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_watch, "LOOK_S", 0.02)
    monkeypatch.setattr(head_watch, "SILENT_S", 0.1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = "{}:{}".format(*closed.getsockname())
        assert head_watch.why_gone(place, "id").startswith(
            f"the head of the Ray cluster at {place} has not answered for 0.1 s: ray.address is {place!r}: nothing "
            "answers there (Connection refused)"
        )


def test_a_driver_that_finds_no_head_knows_the_attempts_of_the_one_before_and_waits(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = "{}:{}".format(*closed.getsockname())
    digest, _ = copy_code(tmp_path)
    backend = RayBackend(toy_context(tmp_path, code_digest=digest), RaySettings(address=place))
    lost = as_submission(toy_submission(tmp_path, "write"), "left")
    try:
        backend.adopt([Adoption.of(lost, f"{place}@of-another/left/t/{lost.attempt}")])
        with pytest.raises(ClusterSilent, match="nothing answers there"):
            backend.hosts()
        assert "nothing answers there" in until(backend, lost, "unknown").detail
    finally:
        backend.close()
