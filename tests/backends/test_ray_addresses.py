"""What of a Ray cluster's address and versions is refused without asking Ray."""

import dataclasses
import socket
from pathlib import Path

import pytest

from orchestrator.backends.plugin import PlannedRun, SiteCapacity
from orchestrator.backends.protocol import HostShare
from orchestrator.backends.ray.address import (
    ClusterSilent,
    check_address,
    check_reachable,
    version_mismatch,
)
from orchestrator.backends.ray.inventory import Inventory
from orchestrator.backends.ray.preflight import preflight, preview
from orchestrator.backends.ray.settings import NodeType, RaySettings
from orchestrator.commands.plan.command import say_what_is_missing
from orchestrator.commands.unrunnable import unrunnable
from orchestrator.errors import SiteError
from orchestrator.opening import open_study
from orchestrator.plan.job import Job
from orchestrator.spec.cluster import BUILT_IN

GUIDE = "start one there (docs/how-to/ray-cluster.md), correct ray.address, or set it to local"


@pytest.fixture
def job(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    return next(iter(open_study(root / "matrix.yaml").plan.jobs.values()))


def planned(job: Job, address: str, environment: dict[str, str], *, takes_over: bool = False) -> PlannedRun:
    cluster = dataclasses.replace(BUILT_IN, sections={"ray": RaySettings(address=address)})
    file = Path("cluster", "ray.yaml")
    return PlannedRun(
        home=Path(),
        cluster=cluster,
        cluster_file=file,
        matrix=Path(),
        jobs=[job],
        environment=environment,
        takes_over=takes_over,
    )


def on(job: Job, **resources: int) -> Job:
    return dataclasses.replace(job, resources=dataclasses.replace(job.resources, **resources))


@pytest.mark.parametrize("place", ["head", "head:", "head:port", ":6379", "ray://head:10001", "head:70000"])
def test_what_is_no_address_is_refused_with_what_is_allowed(place: str) -> None:
    with pytest.raises(SiteError) as refused:
        check_address(place)
    assert str(refused.value) == (
        f"ray.address is {place!r}: that is no address; allowed: local, auto, HOST:PORT of the cluster's head"
    )


def test_a_port_where_nothing_listens_and_a_host_that_is_silent_are_told_apart() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterSilent) as refused:
        check_reachable(closed)
    assert str(refused.value) == f"ray.address is '{closed}': nothing answers there (Connection refused); {GUIDE}"
    with socket.socket() as full:  # the kernel drops what its queue has no room for, as a firewall does
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = ("127.0.0.1", full.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(place)
        with pytest.raises(ClusterSilent) as refused:
            check_reachable(f"127.0.0.1:{place[1]}", within_s=0.1)
        for one in waiting:
            one.close()
    assert str(refused.value) == (
        f"ray.address is '127.0.0.1:{place[1]}': nothing answers within 0.1 s: the host is down, or a firewall drops "
        f"what is sent; {GUIDE}"
    )


def test_a_name_that_no_name_server_knows_is_told() -> None:
    with pytest.raises(ClusterSilent) as refused:
        check_reachable("no host.invalid:6379", within_s=1.0)
    assert str(refused.value).startswith("ray.address is 'no host.invalid:6379': the name 'no host.invalid' is not fou")


def test_another_python_is_told_with_both_and_its_last_number_where_ray_looks_at_it() -> None:
    ours = ("2.60.0", "3.11.7")
    assert version_mismatch("h:1", ours, ours, patch_counts=True) is None
    assert version_mismatch("h:1", ("2.60.0", "3.11.9"), ours, patch_counts=False) is None
    assert version_mismatch("h:1", ("2.60.0", "3.12.1"), ours, patch_counts=True) == (
        "ray.address is 'h:1': that cluster runs ray 2.60.0 on Python 3.12.1, and this is ray 2.60.0 on Python 3.11.7; "
        "these must be equal: use a Python 3.12.1 with `pip install ray==2.60.0` here, or start the cluster with the "
        "versions of here"
    )


def test_a_ray_of_our_own_beside_the_cluster_that_the_shell_names_is_refused(job: Job) -> None:
    run = planned(job, "local", {"RAY_ADDRESS": "head:6379"})
    with pytest.raises(SiteError) as refused:
        preflight(run, print)
    assert str(refused.value) == (
        "RAY_ADDRESS is 'head:6379', but ray.yaml starts a Ray of its own beside that cluster; use the cluster "
        "(--cluster ray --set ray.address=auto), or `unset RAY_ADDRESS`"
    )
    preflight(planned(job, "local", {"HOME": "/"}), print)


def test_a_cluster_that_does_not_answer_refuses_a_run_and_not_a_plan_nor_attempts_to_take_over(job: Job) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    why = f"ray.address is '{closed}': nothing answers there (Connection refused); {GUIDE}"
    with pytest.raises(SiteError) as refused:
        preflight(planned(job, closed, {"HOME": "/"}), print)
    assert (str(refused.value), refused.value.exit_code) == (why, 2)
    said: list[str] = []
    preview(planned(job, closed, {"HOME": "/"}), said.append)
    preflight(planned(job, closed, {"HOME": "/"}, takes_over=True), said.append)
    assert said == [
        f"whether the cluster can run this is not known: {why}",
        f"the attempts that are left are taken over all the same: {why}",
    ]


def test_a_stage_that_this_machine_cannot_run_is_refused_before_ray_starts(job: Job) -> None:
    run = planned(on(job, cpus=4096), "local", {"HOME": "/"})
    why = unrunnable(run.jobs, preflight(run, print))
    assert why.startswith(
        f"the jobs run on this machine; that is too little for stage {job.stage}: {job.stage} needs 4096 cpus, 0 dev"
    )
    assert why.endswith(f"lower resources.{job.stage} or another --cluster")
    assert unrunnable([job], preflight(planned(job, "local", {"HOME": "/"}), print)) == ""
    assert unrunnable([on(job, nodes=3)], preflight(run, print)) == (
        f"resources.{job.stage}.nodes is 3, but its 1 rank cannot be shared equally; a divisor of 1 is allowed"
    )


def test_a_plan_says_what_would_keep_a_run_from_starting(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    paper = open_study(root / "matrix.yaml", profile="paper")
    say_what_is_missing(paper, paper.standings(), may_ask=True)
    nothing, note = capsys.readouterr().err.splitlines(keepends=True)
    assert nothing.startswith("note: --ask-cluster asks nothing: the jobs run on this machine; name the cluster by ")
    assert note.startswith("note: cannot run there: the jobs run on this machine; that is too little for stage")
    assert "train" in note and note.count("\n") == 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = dataclasses.replace(BUILT_IN, sections={"ray": RaySettings(address=closed)})
    say_what_is_missing(paper.changed(cluster=cluster), paper.standings(), may_ask=True)
    assert capsys.readouterr().err == (
        f"note: whether the cluster can run this is not known: ray.address is '{closed}': nothing answers there "
        f"(Connection refused); {GUIDE}\n"
    )


def test_nodes_that_an_autoscaler_adds_count_as_what_a_cluster_may_get(job: Job) -> None:
    node = HostShare(name="n", cpus=8, devices=0, memory_gib=30.0)
    kind = HostShare(name="gpu", cpus=16, devices=8, memory_gib=200.0)
    has = Inventory(version="2.60.0", nodes=(node, node))
    may = dataclasses.replace(has, may_come=(kind,))
    assert has.words({}) == "2 nodes with 2 x 8 cpus, 0 devices, 30 GiB"
    types = {"gpu": NodeType(cpus=16, devices=8, memory_gib=200.0)}
    assert may.words({}) == (
        f"{has.words({})}; its autoscaler could add nodes with 16 cpus, 8 devices, 200 GiB, but ray.node_types names "
        "none"
    )
    assert may.words(types) == f"{has.words({})}, and its autoscaler adds nodes with 16 cpus, 8 devices, 200 GiB"
    assert Inventory.from_json(may.as_json()) == may
    jobs = [on(job, devices=8), on(job, cpus=1)]
    why = unrunnable(jobs, SiteCapacity(where=f"the cluster has {has.words({})}", hosts=may.has_or_may_get({})))
    assert why.startswith("the cluster has 2 nodes with 2 x 8 cpus, 0 devices, 30 GiB; that is too little for stage ")
    assert "8 devices and" in why and "the largest has 8 cpus, 0 devices and 30.0 GiB; choose a smaller" in why
    assert unrunnable(jobs, SiteCapacity(where="", hosts=may.has_or_may_get(types))) == ""
    assert "the largest has 0 cpus" in unrunnable(jobs, SiteCapacity(where="no node", hosts=()))
