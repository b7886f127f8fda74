"""Node: one node's share of the work. Starts attempts in a warm server, enforces limits, publishes results.

It imports no scheduler: a host actor, a SLURM job and a test use a `Node` alike. All methods return at
once; what takes time happens in threads (`attempt_runner`, `limits`), and `poll` returns the state.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.host.attempt import HostAttempt
from orchestrator.host.attempt_runner import LONGEST_DETAIL, AttemptRunner, NodeContext
from orchestrator.host.environment import NOTHING_MORE, JobVariables, passed
from orchestrator.host.exchange import Exchange
from orchestrator.host.limits import LimitWatcher
from orchestrator.host.log_collector import LogCollector
from orchestrator.host.machine import LOOPBACK
from orchestrator.host.publish import Provenance
from orchestrator.host.retry import FETCH_RETRY_S, PUBLISH_RETRY_S
from orchestrator.host.scratch import Scratch
from orchestrator.host.stored_checkpoints import CheckpointUploader
from orchestrator.host.warm_server import COMMAND, WarmServerSupervisor
from orchestrator.store.protocol import Store
from workloads.runtime.masking import mask, secrets_of

IMPORT_S = 600.0  # for a warm server to import everything; a lost file system would block it without end
CLOSE_S = 10.0  # for threads in a store call, when the node closes


class Node:
    """One node's share of processors, devices and memory.

    Args (keyword only):
        store: of the study.
        code: the code snapshot.
        provenance: what commit records say about code and host.
        address: of this node, for ranks that meet over the network.
        visible: the share's devices as CUDA_VISIBLE_DEVICES names them; a placement indexes them.
        command: the warm server's command line.
        variables: that jobs get of this process's environment, beyond those of every child process.
        records_endings: write `ended.json` when an attempt ends, for controllers that start after this node has ended.
        publish_s: how long publication is retried.
        fetch_s: how long fetching inputs and writing the request are retried.
        import_s: how long a warm server may import before it is killed and counted as failed.
        scratch: where the attempts' folders are on a machine that does not see the study's folder; None: where their
            submissions say.
    """

    def __init__(
        self,
        *,
        store: Store,
        code: Path,
        provenance: Provenance,
        address: str = LOOPBACK,
        visible: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
        variables: JobVariables = NOTHING_MORE,
        records_endings: bool = False,
        publish_s: float = PUBLISH_RETRY_S,
        fetch_s: float = FETCH_RETRY_S,
        import_s: float = IMPORT_S,
        scratch: Scratch | None = None,
    ) -> None:
        context = NodeContext(
            store=store,
            code=code,
            provenance=provenance,
            address=address,
            visible=tuple(visible),
            variables=variables,
            secrets=secrets_of(os.environ),
            records_endings=records_endings,
            publish_s=publish_s,
            fetch_s=fetch_s,
            uploader=None if store.checkpoints is None else CheckpointUploader(store.checkpoints),
            scratch=scratch,
        )
        self._scratch = scratch
        self._lock: threading.RLock = context.lock
        self._closed = context.closed
        self._uploader = context.uploader
        self._attempts: dict[str, HostAttempt] = {}
        self._logs = LogCollector()
        self._servers = WarmServerSupervisor(
            self._on_reply,
            self._end_waiting,
            command=tuple(command),
            folder=code,
            environment=passed(os.environ, variables.every),
        )
        self._runner = AttemptRunner(context, self._servers, self._logs)
        self._servers.start()
        self._watcher = LimitWatcher(context, self._runner, self._servers, self._living, import_s)

    def start(self, submission: Mapping[str, Any], exchange: Exchange | None = None) -> None:
        """Take an attempt; idempotent.

        Args:
            submission: `Submission` as JSON; of an attempt of several nodes `node` says which of them this is, by the
                arguments of `ranks_of_node`, and cpus, devices and memory are this node's share.
            exchange: with the other nodes; None: through files in the attempt's folder.
        """
        with self._lock:
            if submission["attempt"] in self._attempts:
                return
            here = submission if self._scratch is None else self._scratch.here(submission)
            attempt = HostAttempt(submission=here, exchange=exchange)
            self._attempts[attempt.name] = attempt
            self._runner.start(attempt)

    def poll(self) -> dict[str, dict[str, Any]]:
        """The state of all attempts taken and not forgotten: attempt -> the fields of a `Report`."""
        with self._lock:
            return {name: attempt.report() for name, attempt in self._attempts.items()}

    def forget(self, names: Sequence[str]) -> None:
        """Drop ended attempts that the controller has recorded, so that a poll stays short."""
        with self._lock:
            found = [name for name in names if name in self._attempts and self._attempts[name].phase == "ended"]
            dropped = [self._attempts.pop(name) for name in found]
        for attempt in dropped:
            if self._scratch is not None:
                self._scratch.release(attempt.work, done=attempt.ending == "ok")

    @property
    def apart(self) -> bool:
        """Whether this machine does not see the study's folder."""
        return self._scratch is not None

    def folder_here(self, work: Path) -> Path:
        """The folder on this machine of the attempt whose folder on the controller's machine is `work`."""
        return work if self._scratch is None else self._scratch.place(work)

    @property
    def busy(self) -> bool:
        """Whether any attempt has not ended."""
        return bool(self._living())

    def longest_grace(self) -> float:
        """Seconds that attempts may take to save when they are asked to stop."""
        with self._lock:
            return max((float(attempt.execution["grace_s"]) for attempt in self._attempts.values()), default=0.0)

    @property
    def server_ready(self) -> bool:
        """Whether the warm server has imported everything."""
        return self._servers.ready

    @property
    def server_failure(self) -> str:
        """Why no server is started before another attempt comes; empty: one is ready or starting."""
        return self._servers.failure

    def stop(self, names: Sequence[str]) -> None:
        """Ask attempts to save and end; what still runs `grace_s` later is killed."""
        for attempt in self._known(names):
            with self._lock:
                attempt.stop_reason = attempt.stop_reason or "stop"
                self._runner.request_stop(attempt)

    def kill(self, names: Sequence[str]) -> None:
        """End attempts at once."""
        for attempt in self._known(names):
            with self._lock:
                attempt.stop_reason = attempt.stop_reason or "kill"
                attempt.kill_at = time.monotonic()  # the watcher repeats it until the attempt has ended
                self._runner.force_kill(attempt)

    def close(self) -> None:
        """End everything; idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._watcher.join()
        self._runner.join(CLOSE_S)
        if self._uploader is not None:
            self._uploader.close()
        self._servers.close()
        self._logs.close()
        for attempt in self._attempts.values():
            if attempt.log is not None:
                attempt.log.close()

    def _living(self) -> list[HostAttempt]:
        with self._lock:
            return [attempt for attempt in self._attempts.values() if attempt.phase != "ended"]

    def _known(self, names: Sequence[str]) -> list[HostAttempt]:
        with self._lock:
            found = [self._attempts[name] for name in names if name in self._attempts]
            return [attempt for attempt in found if attempt.phase != "ended"]

    # Called in a thread that reads the warm server's replies.

    def _on_reply(self, reply: Mapping[str, Any]) -> None:
        with self._lock:
            match reply["op"]:
                case "ready":
                    self._servers.set_ready()
                    for attempt in self._attempts.values():
                        if attempt.phase == "waiting":
                            self._runner.server_ready(attempt)
                case "started" | "ended" | "refused" if reply["attempt"] not in self._attempts:
                    return  # ended and forgotten before its ranks were gone
                case "started":
                    self._runner.rank_started(self._attempts[reply["attempt"]], reply)
                case "ended" | "refused":
                    self._runner.rank_ended(self._attempts[reply["attempt"]], reply)
                case "exited":
                    self._on_server_exit(reply)

    def _on_server_exit(self, reply: Mapping[str, Any]) -> None:
        if self._closed.is_set():
            return
        for attempt in self._attempts.values():
            if attempt.phase == "running" and not attempt.all_ranks_ended:
                self._runner.server_exited(attempt)
        said = mask(reply["stderr"], secrets_of(os.environ))[-LONGEST_DETAIL:]
        self._servers.restart(f"the warm server ended with {reply['code']}: {said}")

    def _end_waiting(self, reason: str) -> None:
        """End the attempts that wait for a server, since none is started any more."""
        for attempt in self._attempts.values():
            if attempt.phase == "waiting":
                self._runner.end(attempt, "error", reason)
