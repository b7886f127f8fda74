"""The agent of a pilot job: holds its private Ray, follows orders, and reports what it knows.

It is started by the node launcher of the pilot job's first node, leads a kernel session of its own, and
reads on its standard input why its pilot job is about to end. It ends by itself: when its time is
nearly over or its nodes are taken away, when it has had nothing to do for `idle_s` while nothing
waits for room, when no driver has been there for `orphan_s`, when no warm server starts in it, and when
its driver orders it to. Attempts are then asked to save, and their own records say how they ended.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.backends.ray.cluster import RayCluster
from orchestrator.backends.ray.session import heads
from orchestrator.backends.slurm.core.time_limit import RETIRE_SHARE
from orchestrator.backends.slurm.pilot.mailbox import DESCRIPTION, DRIVER_BEAT, JOIN, ORDERS, STATE, Orders, read_whole
from orchestrator.backends.slurm.pilot.node_launcher import NodeResources
from orchestrator.backends.slurm.pilot.pilot import AgentPhase, AgentState, agent_state
from orchestrator.errors import BackendError
from orchestrator.host.processes import is_alive
from workloads.contract.json_files import read_object, write_object

TICK_S = 0.1
POLL_S = 0.3
HOSTS_S = 1.0
BEAT_S = 2.0
DRIVER_BEAT_S = 2.0
LAST_S = 5.0
"""Before SLURM ends what has not ended: for the last state to be written."""


class Agent:
    """The agent of one start of a pilot job."""

    def __init__(self, folder: Path, temporary: Path, node: NodeResources) -> None:
        """Read the description of the pilot job; Ray is started by `run`.

        Args:
            folder: the pilot job's mailbox, on a shared file system.
            temporary: for Ray, on this node.
            node: what this node has.
        """
        self._folder = folder
        self._temporary = temporary
        self._node = node
        self._description = read_object(folder / DESCRIPTION)
        self._grace_s = float(self._description["grace_s"])
        self._ends = time.monotonic() + float(self._description["minutes"]) * 60
        self._orders = Orders(folder)
        self._cluster: RayCluster | None = None
        self._heads: list[tuple[int, int]] = []
        self._why = ""
        """Why it leaves; empty: it stays."""
        self._leave_by = float("inf")
        self._counter = 0
        self._written: dict[str, Any] = {}
        self._wrote = float("-inf")
        self._hosts: list[dict[str, Any]] = []
        self._serves = False
        """A host has taken attempts."""
        self._failed = ""
        """Why none will."""
        self._reports: dict[str, dict[str, Any]] = {}
        self._forget: list[str] = []
        self._here: tuple[Any, Any] = (None, None)
        self._driver_at = self._wanted_at = self._busy_at = time.monotonic()
        self._last: dict[str, float] = {}
        self._notices: list[str] = []

    def run(self) -> NoReturn:
        """Serve until there is a reason to leave, then end the process."""
        threading.Thread(target=self._listen, name="launcher", daemon=True).start()
        self._write("starting")
        settings = {
            **self._description["host"],
            "address": "local",
            "host": self._node.host,
            "cpus": self._node.cpus,
            "devices": self._node.devices,
            "memory_gib": self._node.memory_gib,
            "node_types": {},  # nothing adds nodes to an allocation
        }
        try:
            self._cluster = RayCluster(settings, self._temporary)
        except (BackendError, RuntimeError, OSError, ValueError) as error:
            self._write("over", f"Ray does not start in it: {error}")
            raise
        self._heads = heads(os.getpid())
        import ray  # RayCluster has set what it reads

        write_object(
            self._folder / JOIN,
            {"restart": self._node.restart, "address": str(ray.get_runtime_context().gcs_address)},
        )
        self._busy_at = time.monotonic()
        while not self._tick(time.monotonic()):
            time.sleep(TICK_S)
        self._write("over", self._why)
        # Not `close`: SLURM may end us within seconds, and the node launcher kills Ray, servers and ranks.
        os._exit(0)

    def _tick(self, now: float) -> bool:
        """One round; True: the agent can end."""
        assert self._cluster is not None
        if not all(is_alive(*process) for process in self._heads):
            self._write("over", "Ray's head or raylet has died")
            os._exit(1)
        self._check_driver(now)
        ordered = self._follow_orders(now)
        if self._due("hosts", HOSTS_S, now):
            self._hosts, self._failed = self._cluster.ready_hosts()
            self._serves = self._serves or bool(self._hosts)
        if ordered or self._forget or (self._reports and self._due("poll", POLL_S, now)):
            forgotten, self._forget = self._forget, []
            for attempt in forgotten:
                self._reports.pop(attempt, None)
            self._reports.update(self._cluster.poll(forgotten))
        if self._busy or self._cluster.starts:
            self._busy_at = now
        if not self._why:
            self._decide(now)
        elif not self._busy or now > self._leave_by:
            return True
        self._write("leaving" if self._why else "serving" if self._serves else "starting", self._why)
        return False

    @property
    def _busy(self) -> bool:
        return any(report["phase"] != "ended" for report in self._reports.values())

    def _decide(self, now: float) -> None:
        """Leave if there is a reason to."""
        if self._notices:
            self._leave(now, f"SLURM sent {self._notices[0]}: its time is nearly over, or it is taken away")
        elif self._failed:
            self._leave(now, f"no warm server starts in it: {self._failed.splitlines()[-1].strip()}")
        elif now - self._driver_at > float(self._description["orphan_s"]):
            self._leave(now, f"no controller for {self._description['orphan_s']:g} s")
        elif now - max(self._busy_at, self._wanted_at) > float(self._description["idle_s"]):
            self._leave(now, f"it has had nothing to do for {self._description['idle_s']:g} s")
        elif self._retiring(now) and not self._busy:
            self._leave(now, "too little of its time is left for another attempt")

    def _retiring(self, now: float) -> bool:
        last = float(self._description["minutes"]) * 60 * RETIRE_SHARE
        return self._ends - now < max(last, self._grace_s + LAST_S)

    def _leave(self, now: float, why: str) -> None:
        """Take no more attempts, and ask those that run to save and end."""
        assert self._cluster is not None
        self._why = why
        self._leave_by = now + self._grace_s + LAST_S
        self._cluster.stop([name for name, report in self._reports.items() if report["phase"] != "ended"])

    def _follow_orders(self, now: float) -> bool:
        """Follow the orders that have come; those for an earlier start of this pilot job are ignored."""
        assert self._cluster is not None
        try:
            orders = [order for order in self._orders.read() if order.get("restart") == self._node.restart]
        except OSError as error:  # again with the next round
            print(f"{self._folder / ORDERS}: {error}", file=sys.stderr, flush=True)
            return False
        for order in orders:
            match order["op"]:
                case "submit":
                    for submission in order["submissions"]:
                        self._start(submission)
                case "stop":
                    self._cluster.stop(order["attempts"])
                case "kill":
                    self._cluster.kill(order["attempts"])
                case "forget":
                    self._forget += order["attempts"]
                case "leave" if not self._why:
                    self._leave(now, str(order["why"]))
        return bool(orders)

    def _start(self, submission: Mapping[str, Any]) -> None:
        """Give an attempt to its host; where that is gone, or this is leaving, the attempt has not begun."""
        assert self._cluster is not None
        attempt = str(submission["attempt"])
        refused = self._why
        if not refused:
            try:
                self._cluster.submit([submission])
            except BackendError as error:
                refused = str(error)
        report: dict[str, Any] = {"attempt": attempt, "phase": "waiting"}
        if refused:
            detail = f"it did not begin: {refused}"
            report.update(phase="ended", ending="interrupted", detail=detail, ended=time.time())
        self._reports[attempt] = report

    def _check_driver(self, now: float) -> None:
        if not self._due("here", DRIVER_BEAT_S, now):
            return
        state = agent_state(read_whole(self._folder / STATE))
        if state is not None and state.restart > self._node.restart:
            print(
                "SLURM considers this node lost and has restarted the pilot job elsewhere", file=sys.stderr, flush=True
            )
            os._exit(1)
        here = read_whole(self._folder / DRIVER_BEAT)
        counter, looks = here.get("counter"), here.get("looks")
        if counter != self._here[0]:
            self._driver_at = now
        if looks != self._here[1]:
            self._wanted_at = now
        self._here = (counter, looks)

    def _due(self, what: str, every_s: float, now: float) -> bool:
        if now - self._last.get(what, float("-inf")) < every_s:
            return False
        self._last[what] = now
        return True

    def _write(self, phase: AgentPhase, why: str = "") -> None:
        """Write its state, when that has changed or is due to be repeated."""
        content = asdict(
            AgentState(
                restart=self._node.restart,
                job=self._node.job,
                phase=phase,
                why=why,
                retiring=self._retiring(time.monotonic()),
                taken=self._orders.taken,
                hosts=self._hosts,
                reports=self._reports,
            )
        )
        if content == self._written and time.monotonic() - self._wrote < BEAT_S:
            return
        self._counter += 1
        try:
            write_object(self._folder / STATE, {**content, "counter": self._counter})
        except OSError as error:  # a disk that takes nothing now: again with the next round
            print(f"{self._folder / STATE}: {error}", file=sys.stderr, flush=True)
            return
        self._written, self._wrote = content, time.monotonic()

    def _listen(self) -> None:
        """Read from the node launcher: a line names a signal that has come; the end says that the launcher is gone."""
        for line in sys.stdin:
            self._notices.append(line.strip())
        self._notices.append("the end of its node launcher")
