"""The child of the driver that holds Ray, with JSON lines on its standard streams.

In: `{"id", "op", ...}`; out: `{"id", "answer"}` or `{"id", "error"}`. Ray ends the process that holds
its client when its head has died, without an exception, so that process is not the driver. A closed
standard input ends this child, and with it an embedded Ray, its hosts, their servers and their ranks;
a standing cluster and the hosts on it go on.
"""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.cluster import RayCluster
from orchestrator.backends.ray.guard import start_guard
from orchestrator.backends.ray.head_watch import why_gone
from orchestrator.backends.ray.pipe import REFUSED, SILENT
from orchestrator.backends.ray.session import RAY, heads, sweep
from orchestrator.errors import BackendError
from orchestrator.host.processes import is_alive

LOOK_S = 0.5
CLOSE_WITHIN_S = 6.0  # for an orderly end after the driver has gone


class Child:
    """Reads requests in one thread and answers them in the main one, where Ray was started."""

    def __init__(self, replies: int, folder: Path | None) -> None:
        """Begin.

        Args:
            replies: descriptor for answers.
            folder: of an embedded session, which this process has made; None: a standing cluster is joined.
        """
        self._replies = replies
        self._folder = folder
        self._requests: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._cluster: RayCluster | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Answer until standard input is closed; returns the exit code."""
        code = 0
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        sweep()
        while (request := self._requests.get()) is not None:
            try:
                self._say({"id": request["id"], "answer": self._answer(request)})
            except Exception as error:
                self._say({"id": request["id"], "error": f"{type(error).__name__}: {error}"})
                if request["op"] == "open":  # without Ray and its hosts there is nothing to stay for
                    if isinstance(error, BackendError):
                        print(error, file=sys.stderr, flush=True)
                        code = SILENT if isinstance(error, ClusterSilent) else REFUSED
                    else:
                        traceback.print_exc()
                        code = 1
                    break
        if self._cluster is not None:
            self._cluster.close()
        self._tidy()
        return code

    def _answer(self, request: Mapping[str, Any]) -> Any:
        if request["op"] == "open":
            if self._folder is not None:
                self._guard = start_guard(self._folder)
            self._cluster = RayCluster(request["settings"], self._folder and self._folder / RAY)
            if self._folder is not None:
                threading.Thread(target=self._watch_heads, args=(heads(os.getpid()),), daemon=True).start()
            else:
                head = self._cluster.session.split("@")
                threading.Thread(target=self._watch_standing, args=head, name="head", daemon=True).start()
            self._cluster.adopt(request["adopt"])
            return {"hosts": self._cluster.hosts([])["hosts"], "session": self._cluster.session}
        assert self._cluster is not None, "the first request is `open`"
        match request["op"]:
            case "hosts":
                return self._cluster.hosts(request["waiting"])
            case "withdraw":
                return self._cluster.withdraw()
            case "submit":
                return self._cluster.submit(request["submissions"])
            case "adopt":
                return self._cluster.adopt(request["attempts"])
            case "poll":
                return self._cluster.poll(request["forget"])
            case "stop":
                return self._cluster.stop(request["attempts"])
            case "kill":
                return self._cluster.kill(request["attempts"])
        raise ValueError(f"op is {request['op']!r}; allowed: open, hosts, withdraw, submit, adopt, poll, stop, kill")

    def _read(self) -> None:
        for line in sys.stdin:
            if line.endswith("\n"):  # half a request is the last of a driver that was killed while it wrote
                self._requests.put(json.loads(line))
        # The driver is gone or has closed. What Ray has started dies with this process even if the
        # orderly end hangs, or Ray is still starting: nothing of ours may run on.
        timer = threading.Timer(CLOSE_WITHIN_S if self._cluster is not None else 0.0, self._leave)
        timer.daemon = True
        timer.start()
        self._requests.put(None)

    def _watch_heads(self, processes: Sequence[tuple[int, int]]) -> None:
        """End when Ray's head or raylet has died: Ray itself would take a minute to, or wait for ever."""
        while all(is_alive(*process) for process in processes):
            time.sleep(LOOK_S)
        print("Ray's head or raylet has died", file=sys.stderr, flush=True)
        os._exit(1)

    def _watch_standing(self, place: str, cluster: str) -> None:
        """End when the head of a standing cluster is gone; another child joins what is there by then."""
        print(why_gone(place, cluster), file=sys.stderr, flush=True)
        os._exit(SILENT)

    def _leave(self) -> None:
        self._tidy()
        os._exit(1)

    def _tidy(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _say(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._replies, data) :]
        except BrokenPipeError:
            return  # the driver is gone: the closed input says so too
