"""Trainings over two nodes of a Ray cluster, of which one or the head is killed, have the bits of one node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Marked, expect_nothing
from standing import Standing, end
from toy_jobs import wait_until
from two_rank_training import CHECKPOINTS, ON_ONE, ended_well, published, start, trainings

from orchestrator.schedule.ledger.database import NAME

ROW = "context-k5"
ENDS_S = 500.0
SOON = {"RAY_gcs_rpc_server_reconnect_timeout_s": "2"}
"""Of nodes: how long Ray looks for a head that has died; a minute by itself."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Standing, dict[str, Marked]]]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Standing(cpus=0)
    marks = {name: made.add_node(1, name, **SOON) for name in ("left", "right")}
    yield made, marks
    for mark in marks.values():
        end(mark)
    made.close()


def test_two_nodes_train_what_two_ranks_on_one_node_train_though_one_of_them_is_killed(
    cluster: tuple[Standing, dict[str, Marked]], tmp_path: Path
) -> None:
    standing, marks = cluster
    one, two = tmp_path / "one", tmp_path / "two"
    site = f"backend: ray\nray: {{address: '{standing.address}'}}\n"
    run = start(two, site, "resources.train.nodes=2", row=ROW, zero_stage=2)
    wait_until(
        lambda: run.poll() is not None or any(two.glob(CHECKPOINTS)),
        "a checkpoint of the training on two nodes",
        ENDS_S,
    )
    assert run.poll() is None, run.communicate()[0]
    marks["late"] = standing.add_node(1, "late")
    end(marks.pop("right"))
    ended_well(run, ENDS_S)
    ended_well(start(one, ON_ONE, row=ROW, zero_stage=2), ENDS_S)
    assert published(two) == published(one) and len(published(one)) == 5
    (first, second) = trainings(two)
    assert (first.ending, first.failed_on, set(first.placement.hosts)) == ("node_lost", "right", {"left", "right"})
    assert (second.ending, set(second.placement.hosts)) == ("ok", {"left", "late"}) and second.begun > 0


def saved(home: Path) -> bool:
    """Whether the training has saved a checkpoint."""
    if not (home / "echo-memory" / NAME).exists():
        return False
    return any(any(home.glob(CHECKPOINTS.replace("*/*", f"*/{one.id}", 1))) for one in trainings(home))


def test_a_training_goes_on_under_the_next_head(cluster: tuple[Standing, dict[str, Marked]], tmp_path: Path) -> None:
    standing, marks = cluster
    one, two = tmp_path / "one", tmp_path / "two"
    site = f"backend: ray\nray: {{address: '{standing.address}'}}\n"
    run = start(two, site, "resources.train.nodes=2", row=ROW, zero_stage=2)
    wait_until(lambda: run.poll() is not None or saved(two), "a checkpoint of the training", ENDS_S)
    assert run.poll() is None, run.communicate()[0]
    end(standing.head)
    left = [node.processes for node in marks.values()]
    expect_nothing(lambda: [one.command for of in left for one in of("raylet/raylet")], 90.0)
    standing.start_head_again()
    marks.update({f"{name} again": standing.add_node(1, name, **SOON) for name in list(marks)})
    said, _ = run.communicate(timeout=ENDS_S)
    assert run.returncode == 0, said
    ended_well(start(one, ON_ONE, row=ROW, zero_stage=2), ENDS_S)
    assert published(two) == published(one) and len(published(one)) == 5
    (first, second) = trainings(two)
    assert (first.ending, first.failed_on, second.ending) == ("node_lost", "", "ok") and second.begun > 0
