"""`doctor` of a real Ray cluster of two nodes: a line for each, an all-reduce between them, and one that hangs."""

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Marked
from standing import Standing, end

from orchestrator.backends.check_result import CheckResult
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.ray import node_checks
from orchestrator.backends.ray.preflight import preflight
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.commands.unrunnable import unrunnable
from orchestrator.opening import open_study
from orchestrator.spec.cluster import Cluster, TrackingSettings


@pytest.fixture(scope="module")
def cluster() -> Iterator[Standing]:
    made = Standing(cpus=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def second(cluster: Standing) -> Iterator[Marked]:
    mark = cluster.add_node(1, RAY_memory_monitor_refresh_ms="250")
    yield mark
    end(mark)


@pytest.fixture
def run(cluster: Standing, second: Marked, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedRun:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    study = open_study(root / "matrix.yaml")
    return PlannedRun(
        home=study.home,
        cluster=Cluster(
            backend="ray",
            sections={"ray": RaySettings(address=cluster.address)},
            tracking=TrackingSettings(kind="mlflow", uri="http://127.0.0.1:9"),
        ),
        cluster_file=study.cluster_file,
        matrix=study.matrix,
        jobs=list(study.plan.jobs.values()),
        environment=dict(os.environ),
        store=study.store_location,
    )


def test_every_node_has_a_line_and_nodes_of_a_gang_sum_a_tensor(run: PlannedRun, cluster: Standing) -> None:
    job = next(iter(run.jobs))
    gang = dataclasses.replace(job, resources=dataclasses.replace(job.resources, nodes=2))
    run = dataclasses.replace(run, jobs=[job, gang])
    about, head, node = node_checks.nodes(run)
    assert about.level == "ok"
    assert about.says.startswith(f"ray 2.60.0 at {cluster.address}: 2 nodes with ")
    assert "1 cpu, 0 devices, " in about.says and "2 cpus, 0 devices, " in about.says
    refused = "MLflow is not reached: [Errno 111] Connection refused"
    for found, name in ((head, " (head): "), (node, ": ")):
        assert name in found.says and refused in found.says, "and in no job's way"
        assert " as here; " in found.says and "; sees outputs/" in found.says and " GiB free; clock " in found.says
        assert "; all-reduce over 2 nodes (gloo) " in found.says and found.says.endswith(" GiB/s")
        assert abs(found.facts["clock_s"]) < 1.0 and found.facts["all_reduce"]["gib_per_s"] > 0.0
        json.dumps(dataclasses.asdict(found))
    assert (head.level, node.level) == ("warning", "warning")
    assert "memory monitor" in node.says and "memory monitor" not in head.says


def test_a_node_that_hangs_has_its_line_and_the_others_are_looked_at(
    run: PlannedRun, second: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_checks, "ANSWER_S", 10.0)
    run = dataclasses.replace(
        run, why_unrunnable=lambda _capacity: "it has two nodes; stage train needs 9; take another"
    )
    raylets = [process for process in second.processes("raylet") if "--raylet_socket_name" in process.command]
    for process in raylets:
        process.signal(signal.SIGSTOP)
    try:
        found: list[CheckResult] = list(node_checks.nodes(run))
    finally:
        for process in raylets:
            process.signal(signal.SIGCONT)
    assert [one.level for one in found] == ["ok", "bad", "warning", "bad"]
    assert (found[1].says, found[1].remedy) == ("it has two nodes; stage train needs 9", "take another")
    assert found[3].says.endswith(": does not answer within 10 s")


def test_a_device_that_no_node_has_is_told_before_anything_runs(run: PlannedRun, cluster: Standing) -> None:
    job = next(iter(run.jobs))
    on_device = dataclasses.replace(job, resources=dataclasses.replace(job.resources, devices=1))
    capacity = preflight(run, print)
    assert unrunnable(run.jobs, capacity) == ""
    why = unrunnable([on_device], capacity)
    assert why.startswith(f"the Ray cluster at '{cluster.address}' has 2 nodes with ")
    assert f"; that is too little for stage {job.stage}: {job.stage} needs " in why and "1 device and " in why
    assert why.endswith(f"choose a smaller --profile, lower resources.{job.stage} or another --cluster")
