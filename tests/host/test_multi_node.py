"""Several nodes of one attempt meet and end together, and the ending reported is the one that explains the others."""

import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from toy_jobs import ROOT, SERVER, toy_submission, wait_until

from orchestrator.host.endings import ENDED
from orchestrator.host.exchange import Exchange, Meeting, NodeEnd, NodeNews, node_file
from orchestrator.host.multi_node import NodeFailure, await_meeting, ranks_of_node, root_failure
from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.store.files import FilesStore


@pytest.mark.parametrize(("world", "of"), [(1, 1), (2, 2), (8, 2), (8, 8), (12, 3)])
def test_every_rank_is_on_exactly_one_node(world: int, of: int) -> None:
    parts = [ranks_of_node(world, index, of) for index in range(of)]
    ranks = [rank for part in parts for rank in range(part.first, part.first + part.count)]
    assert ranks == list(range(world))
    assert [part.leads for part in parts] == [True] + [False] * (of - 1)


def test_ranks_that_cannot_be_spread_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 ranks cannot be spread evenly over 2 nodes"):
        ranks_of_node(3, 0, 2)


def test_no_two_nodes_write_one_file() -> None:
    names = [node_file(file, index) for file in ("log.txt", "request.json", ENDED) for index in range(3)]
    assert len(set(names)) == len(names) and "log.txt" in names and "ended-n2.json" in names


@pytest.mark.parametrize(
    ("words", "before", "told"),
    [
        ({1: ("ok", 5.0)}, None, None),
        ({1: ("error", 5.0), 2: ("out_of_memory", 6.0)}, None, ("out_of_memory", "node 2: said")),
        ({1: ("error", 5.0), 2: ("error", 4.0)}, None, ("error", "node 2: said")),
        ({1: ("error", 5.0)}, 4.0, None),
        ({1: ("error", 5.0)}, 6.0, ("error", "node 1: said")),
        ({1: ("bad_input", 5.0)}, 4.0, ("bad_input", "node 1: said")),
        ({1: ("interrupted", 4.0), 2: ("error", 5.0)}, None, ("error", "node 2: said")),
        ({1: ("error", 4.0), 2: ("vanished", 5.0)}, 3.0, ("vanished", "node 2: said")),
    ],
)
def test_the_end_that_explains_the_others_is_told(
    words: Mapping[int, tuple[str, float]], before: float | None, told: tuple[str, str] | None
) -> None:
    said = {index: NodeEnd(ending=ending, detail="said", ended=at) for index, (ending, at) in words.items()}
    found = root_failure(said, None, before)
    assert (None if found is None else (found.ending, found.detail)) == told


class TwoNodes:
    """Two nodes of a cluster, each with its ranks of every attempt, and the endings that their jobs write."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.nodes = [
            Node(
                store=FilesStore(home / "store"),
                code=ROOT,
                provenance=Provenance(code="c" * 64, git="", host_kind="test"),
                command=SERVER,
            )
            for _ in range(2)
        ]

    def run(self, do: str, **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Run two ranks to their end; the submission and each node's report."""
        submission = toy_submission(self.home, do, ranks=2, grace_s=5.0, **more)
        self.start(submission)
        return submission, [self.ended(submission, index) for index in (1, 0)][::-1]

    def start(self, submission: dict[str, Any], exchanges: Sequence[Exchange | None] = (None, None)) -> None:
        """Start both nodes, the leading one last."""
        for index in (1, 0):
            node = {"node": index, "nodes": 2, "names": ("left", "right")}
            self.nodes[index].start({**submission, "node": node}, exchanges[index])

    def ended(self, submission: dict[str, Any], index: int) -> dict[str, Any]:
        """A node's report once it has ended."""
        name = submission["attempt"]
        wait_until(lambda: self.nodes[index].poll()[name]["phase"] == "ended", f"node {index} of {name} ends")
        return self.nodes[index].poll()[name]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    made = TwoNodes(tmp_path_factory.mktemp("home"))
    yield made
    for node in made.nodes:
        node.close()


def test_ranks_on_two_nodes_meet_and_what_they_made_is_published_once(two: TwoNodes) -> None:
    submission, reports = two.run("meet")
    assert [(report["ending"], report["detail"]) for report in reports] == [("ok", "")] * 2
    work = Path(submission["request"]["work"])
    folder = FilesStore(two.home / "store").fetch(submission["request"]["fingerprint"])
    assert sorted(path.name for path in folder.glob("met-*")) == ["met-0.txt", "met-1.txt"]
    assert (work / "log.txt").exists() and (work / "log-n1.txt").exists()
    assert json.loads((work / "process.json").read_text())["ranks"][0]["rank"] == 0
    assert json.loads((work / "process-n1.json").read_text())["ranks"][0]["rank"] == 1


def test_a_rank_that_fails_on_another_node_ends_the_attempt_with_its_error(two: TwoNodes) -> None:
    submission, (leader, other) = two.run("rank 1 fails")
    assert (leader["ending"], other["ending"]) == ("error", "error")
    assert "rank 1 has had enough" in leader["detail"] and leader["detail"].startswith("node 1 (right): ")
    assert leader["failed_on"] == other["failed_on"] == "right"
    assert submission["request"]["fingerprint"] not in FilesStore(two.home / "store").commits()


def test_out_of_memory_on_another_node_is_out_of_memory(two: TwoNodes) -> None:
    _, (leader, _) = two.run("no memory on rank 1")
    assert leader["ending"] == "out_of_memory" and "no more" in leader["detail"]


def test_both_nodes_of_an_attempt_that_is_asked_save_and_are_interrupted(two: TwoNodes) -> None:
    submission = toy_submission(two.home, "until asked", ranks=2)
    two.start(submission)
    work = Path(submission["request"]["work"])
    wait_until(lambda: (work / "here-0").exists() and (work / "here-1").exists(), "both ranks began")
    for node in two.nodes:
        node.stop([submission["attempt"]])
    assert [two.ended(submission, index)["ending"] for index in (1, 0)] == ["interrupted"] * 2


def test_a_node_that_was_killed_ends_the_other(two: TwoNodes) -> None:
    submission = toy_submission(two.home, "deaf", ranks=2, grace_s=1.0)
    two.start(submission)
    work = Path(submission["request"]["work"])
    wait_until(lambda: (work / "here-0").exists() and (work / "here-1").exists(), "both ranks began")
    two.nodes[1].kill([submission["attempt"]])
    assert two.ended(submission, 1)["ending"] == "interrupted"
    leader = two.ended(submission, 0)
    assert leader["ending"] == "interrupted" and signal.SIGKILL.name in leader["detail"]


class Wire:
    """An exchange of two nodes in memory, which can be cut."""

    def __init__(self) -> None:
        self.told: dict[int, NodeNews] = {0: {}, 1: {}}
        self.cut = False
        self.sides = (WireEnd(self, 0), WireEnd(self, 1))


class WireEnd:
    def __init__(self, wire: Wire, node: int) -> None:
        self.wire, self.node = wire, node

    def tell(self, news: NodeNews) -> None:
        if not self.wire.cut:
            self.wire.told[self.node] = {**self.wire.told[self.node], **news}

    def heard(self) -> Mapping[int, NodeNews]:
        return {1 - self.node: self.wire.told[1 - self.node]}

    def lost(self) -> Mapping[int, str]:
        return {1 - self.node: "it does not answer"} if self.wire.cut else {}

    def close(self) -> None:
        """Nothing."""


def test_nodes_that_lose_sight_of_each_other_both_end_within_seconds(two: TwoNodes) -> None:
    """Each blames the other; they would have 60 s to save, and nothing to save it with."""
    submission, wire = toy_submission(two.home, "deaf", ranks=2, grace_s=60.0), Wire()
    two.start(submission, wire.sides)
    work = Path(submission["request"]["work"])
    wait_until(lambda: (work / "here-0").exists() and (work / "here-1").exists(), "both ranks began")
    wire.cut = True
    began = time.monotonic()
    reports = [two.ended(submission, index) for index in (0, 1)]
    assert time.monotonic() - began < 10.0
    assert [(report["ending"], report["failed_on"]) for report in reports] == [
        ("node_lost", "right"),
        ("node_lost", "left"),
    ]
    assert reports[0]["detail"] == "node 1 (right): it does not answer"


def test_a_node_whose_leader_is_lost_before_the_ranks_meet_does_not_wait(two: TwoNodes) -> None:
    submission, wire = toy_submission(two.home, "deaf", ranks=2), Wire()
    node = {"node": 1, "nodes": 2, "names": ("left", "right")}
    two.nodes[1].start({**submission, "node": node}, wire.sides[1])
    wire.cut = True
    report = two.ended(submission, 1)
    assert (report["ending"], report["failed_on"]) == ("node_lost", "left")


def test_a_leader_that_was_quick_leaves_its_meeting_to_the_others() -> None:
    wire, ranks = Wire(), ranks_of_node(2, 1, 2)
    meeting = Meeting(address="here", port=1, resume=None)
    wire.sides[0].tell({"meeting": meeting, "end": NodeEnd(ending="ok", detail="", ended=1.0)})
    assert await_meeting(wire.sides[1], ranks, lambda: False) == meeting
    wire.sides[0].tell({"end": NodeEnd(ending="error", detail="", ended=1.0)})
    ended = await_meeting(wire.sides[1], ranks, lambda: False)
    assert isinstance(ended, NodeFailure) and ended.detail == "node 0 has ended before this one began"
