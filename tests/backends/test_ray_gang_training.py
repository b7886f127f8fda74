"""A training over two nodes of a Ray cluster, of which one is killed, has the bits of two ranks on one node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Marked
from standing import Standing, end
from toy_jobs import wait_until
from two_rank_training import CHECKPOINTS, ON_ONE, ended_well, published, start, trainings

ROW = "context-k5"
ENDS_S = 500.0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Standing, dict[str, Marked]]]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Standing(cpus=0)
    marks = {name: made.add_node(1, name) for name in ("left", "right")}
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
