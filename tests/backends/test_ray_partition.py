"""Two nodes of a Ray cluster in network namespaces are cut off: their attempt ends, and the next one runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import Marked, marked
from standing import Standing, end
from toy_jobs import ROOT, wait_until

from orchestrator.backends.ray.environment import HOST_LABEL
from orchestrator.host.processes import is_alive, read_processes

LEFT, RIGHT = "10.231.7.1", "10.231.7.2"
WITHIN_S = 12.0
"""All ranks have ended: the hosts notice after 6 s, and give ranks 2 s."""


class Cut:
    """A head with a node in one namespace, a node in another, and the cable between them."""

    def __init__(self) -> None:
        self.spaces = [f"em-{os.getpid()}-{side}" for side in ("left", "right")]
        self.ends = [f"em{os.getpid()}{side}" for side in ("l", "r")]
        for space in self.spaces:
            ip("netns", "add", space)
        ip("link", "add", self.ends[0], "type", "veth", "peer", "name", self.ends[1])
        for space, name, address in zip(self.spaces, self.ends, (LEFT, RIGHT), strict=True):
            ip("link", "set", name, "netns", space)
            for change in (["addr", "add", f"{address}/24", "dev", name], ["link", "set", name, "up"]):
                ip("-n", space, *change)
            ip("-n", space, "link", "set", "lo", "up")
        self.marks: list[Marked] = []
        self.standing: Standing | None = None

    def start(self) -> None:
        self.standing = Standing(cpus=1, inside=self.inside(0), ip=LEFT, labels=f"{HOST_LABEL}=left")
        self.join("right")

    def join(self, name: str) -> None:
        """A node starts in the other namespace."""
        assert self.standing is not None
        self.marks.append(self.standing.add_node(1, name, inside=self.inside(1), ip=RIGHT))

    def inside(self, side: int) -> tuple[str, ...]:
        """The command that runs another in a namespace."""
        return ("ip", "netns", "exec", self.spaces[side])

    def cable(self, state: str) -> None:
        """Pull it (`down`) or plug it in (`up`)."""
        ip("-n", self.spaces[0], "link", "set", self.ends[0], state)

    def close(self) -> None:
        for mark in self.marks:
            end(mark)
        if self.standing is not None:
            self.standing.close()
        for space in self.spaces:
            ip("netns", "del", space)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cut]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cut()
    try:
        made.start()
        yield made
    finally:
        made.close()


class Driver:
    """`gang_driver.py` in the head's namespace."""

    def __init__(self, cut: Cut, home: Path) -> None:
        assert cut.standing is not None
        script = str(Path(__file__).with_name("gang_driver.py"))
        command = [*cut.inside(0), sys.executable, script, cut.standing.address, str(home)]
        paths = (ROOT, ROOT / "tests", ROOT / "tests" / "host")
        with marked() as self.mark:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            )

    def ask(self, line: str) -> dict[str, Any]:
        self.say(line)
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        end(self.mark)


@pytest.fixture
def driver(cut: Cut, tmp_path: Path) -> Iterator[Driver]:
    made = Driver(cut, tmp_path / "home")
    yield made
    made.close()


def cut_off(cut: Cut, driver: Driver, seconds: float) -> None:
    """Pull the cable for so long under a job of both nodes; what must be seen meanwhile."""
    work = Path(driver.ask("meet left right")["work"])
    ranks = [*read_processes(work), *read_processes(work, "process-n1.json")]
    assert len(ranks) == 2
    net = dict(line.split("=", 1) for line in (work / "here-1").read_text().split())
    assert net["GLOO_SOCKET_IFNAME"] == cut.ends[1]
    cut.cable("down")
    pulled = time.monotonic()
    wait_until(lambda: not any(is_alive(*rank) for rank in ranks), "the ranks on both nodes end", WITHIN_S)
    report = driver.ask("watch")
    assert (report["ending"], report["failed_on"]) == ("node_lost", "right")
    time.sleep(max(0.0, seconds - (time.monotonic() - pulled)))
    cut.cable("up")


@pytest.mark.root
def test_nodes_that_are_cut_off_for_a_while_end_their_attempt_and_run_the_next(cut: Cut, driver: Driver) -> None:
    cut_off(cut, driver, 12.0)
    # TCP may wait as long again before it sends anew: what begins meanwhile is lost too, and tried again.
    for _ in range(3):
        driver.ask("meet left right")
        driver.say("kill")
        ending = driver.ask("watch")["ending"]
        if ending != "node_lost":
            break
    assert ending == "interrupted"


@pytest.mark.long
@pytest.mark.root
def test_a_node_that_is_cut_off_for_a_minute_is_given_up_and_another_takes_its_place(cut: Cut, driver: Driver) -> None:
    cut_off(cut, driver, 60.0)
    cut.join("again")
    driver.ask("meet left again")
    driver.say("kill")
    assert driver.ask("watch")["ending"] == "interrupted"
