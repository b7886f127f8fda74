"""What comes back of attempts' files from a node that does not see the study's folder, piece by piece."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.ray import lost
from orchestrator.host import attempt_files
from orchestrator.host.attempt_files import FilesOfAttempts, read_pieces


class Wire:
    """A folder of one attempt on a node, and the driver's."""

    def __init__(self, folder: Path) -> None:
        self.node, self.driver = folder / "node", folder / "driver"
        self.node.mkdir()
        self.driver.mkdir()
        self.files = FilesOfAttempts()

    def poll(self, limit: int = 1 << 20) -> dict[str, Any]:
        """Ask once; returns what the node has answered."""
        (asked,) = self.files.wanted({"a001": self.driver}).values()
        answer = read_pieces({self.node: asked["have"]}, limit)[self.node]
        self.files.take({"a001": answer})
        return answer

    def write(self, name: str, text: str) -> None:
        (self.node / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.driver / name).read_text(encoding="utf-8")

    @property
    def complete(self) -> bool:
        return self.files.complete("a001")


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path)


def test_all_plain_files_arrive_and_folders_and_hidden_files_do_not(wire: Wire) -> None:
    wire.write("heartbeat.json", "{}")
    wire.write("log.txt", "one\n")
    wire.write("empty.json", "")
    wire.write(".half.tmp", "x")
    (wire.node / "link.json").symlink_to("/etc/passwd")
    (wire.node / "checkpoints").mkdir()
    wire.poll()
    assert sorted(path.name for path in wire.driver.iterdir()) == ["empty.json", "heartbeat.json", "log.txt"]
    assert wire.complete
    assert wire.poll()["pieces"] == [], "nothing is sent twice"


def test_of_a_log_that_grows_only_what_is_new_is_sent(wire: Wire) -> None:
    wire.write("log.txt", "one\n")
    wire.poll()
    with (wire.node / "log.txt").open("a", encoding="utf-8") as file:
        file.write("two\n")
    (piece,) = wire.poll()["pieces"]
    assert (piece["at"], piece["content"]) == (4, b"two\n")
    assert wire.read("log.txt") == "one\ntwo\n"


def test_a_log_that_was_shortened_is_sent_anew(wire: Wire) -> None:
    wire.write("log.txt", "a long log\n" * 9)
    wire.poll()
    wire.write(".log.txt.tmp", "... bytes left out: 80\nlast\n")
    (wire.node / ".log.txt.tmp").replace(wire.node / "log.txt")
    wire.poll()
    assert wire.read("log.txt") == "... bytes left out: 80\nlast\n"


def test_a_file_that_is_replaced_appears_whole(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_files, "SMALL", 0)
    wire.write("result.json", "old")
    wire.poll()
    wire.write(".new", "a much longer one")
    (wire.node / ".new").replace(wire.node / "result.json")
    wire.poll(limit=6)
    assert wire.read("result.json") == "old" and not wire.complete
    wire.poll(limit=6)
    wire.poll(limit=6)
    assert wire.read("result.json") == "a much longer one" and wire.complete


@pytest.mark.parametrize(("log", "ending"), [("log.txt", "ended.json"), ("log-n1.txt", "ended-n1.json")])
def test_a_big_log_comes_in_bounded_pieces_behind_the_heartbeat_and_the_ending_comes_last(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, log: str, ending: str
) -> None:
    monkeypatch.setattr(attempt_files, "SMALL", 64)
    text = "".join(f"line {number}\n" for number in range(500))
    wire.write(log, text)
    wire.write("heartbeat.json", '{"counter": 1}')
    wire.write(ending, "{}")
    seen = []
    while not wire.complete:
        pieces = wire.poll(limit=1000)["pieces"]
        assert sum(len(piece["content"]) for piece in pieces) <= 1000 + 2 * 64
        seen.append([piece["name"] for piece in pieces])
    assert seen[0] == ["heartbeat.json", log] and len(seen) > 4
    assert [names for names in seen if ending in names] == seen[-1:]
    assert wire.read(log) == text


def test_no_attempt_starves_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_files, "SMALL", 16)
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
        (folder / "log.txt").write_text("x" * 5000)
    answer = read_pieces({folder: {} for folder in folders}, 3000)
    assert [len(answer[folder]["pieces"][0]["content"]) for folder in folders] == [1000, 1000, 1000]


def test_another_driver_begins_anew_and_ends_with_the_same(wire: Wire) -> None:
    wire.write("log.txt", "one\ntwo\n")
    wire.poll()
    wire.files = FilesOfAttempts()
    wire.poll()
    assert wire.read("log.txt") == "one\ntwo\n"


def test_what_the_drivers_disk_refuses_is_asked_for_again(wire: Wire) -> None:
    wire.write("log.txt", "one\n")
    (wire.driver / "log.txt").mkdir()
    wire.poll()
    assert not wire.complete
    assert "log.txt cannot be written" in wire.files.missing("a001")
    (wire.driver / "log.txt").rmdir()
    wire.poll()
    assert wire.complete and wire.files.missing("a001") == "" and wire.read("log.txt") == "one\n"


def test_a_file_that_is_too_large_is_named(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_files, "LARGEST", 1 << 20)
    wire.write("dump.bin", "x" * (3 << 20))
    wire.poll()
    assert wire.complete
    assert wire.files.missing("a001") == "dump.bin has 3 MiB; at most 1 are fetched"
    assert not (wire.driver / "dump.bin").exists()


def test_a_node_writes_nowhere_but_into_the_attempts_folder(wire: Wire) -> None:
    wire.files.wanted({"a001": wire.driver})
    piece = {"name": "../evil.txt", "version": "1", "at": 0, "content": b"x", "whole": True}
    wire.files.take({"a001": {"pieces": [piece], "rest": False, "problems": {}}})
    assert not (wire.driver.parent / "evil.txt").exists()
    assert wire.files.missing("a001") == "../evil.txt is no plain name"


def test_an_attempt_of_which_nothing_has_arrived_is_not_given_up_as_fast_as_one_that_never_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host may have died on a node whose files are still to come."""
    now = 1000.0
    monkeypatch.setattr(lost.time, "monotonic", lambda: now)
    seen, apart = lost.Lost(), lost.Lost(apart=True)
    phases = []
    for now in (1000.0, 1006.0, 1020.0, 1037.0):  # noqa: B007
        reports = [one.report("a001", tmp_path, ending="node_lost", why="it died") for one in (seen, apart)]
        phases.append([report["phase"] for report in reports])
    assert phases == [["unknown", "unknown"], ["ended", "unknown"], ["ended", "unknown"], ["ended", "ended"]]
