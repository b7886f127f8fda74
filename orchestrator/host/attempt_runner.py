"""Attempt runner: takes attempts through fetching, launch, completion and publication, one thread each.

Order: inputs are fetched, request.json is written, one process per rank is forked; when all ranks have ended,
the log is closed, and an attempt that ended well is published before its phase becomes `ended`.

Store and disk calls are retried for a while (`retry`). One that still fails ends its attempt as `interrupted`,
which does not count as a retry, and leaves the other attempts and the host alone; one that hangs does the same
after `HANG_S`, and meanwhile the heartbeat's phase names the call.
"""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.errors import StoreError
from orchestrator.host.attempt import HostAttempt
from orchestrator.host.endings import ENDED, RankEnd, write_ended
from orchestrator.host.environment import JobVariables, passed
from orchestrator.host.launch import prepare, start_ranks
from orchestrator.host.log_collector import LogCollector, LogFile
from orchestrator.host.machine import oom_kills
from orchestrator.host.multi_node import NodeFailure
from orchestrator.host.outcome import outcome_of
from orchestrator.host.processes import FILE as PROCESSES
from orchestrator.host.processes import end_leftovers, write_processes
from orchestrator.host.publish import Provenance, publish
from orchestrator.host.retry import is_storage_failure, retry_call
from orchestrator.host.scratch import Scratch
from orchestrator.host.stored_checkpoints import CheckpointUploader
from orchestrator.host.warm_server import WarmServerSupervisor
from orchestrator.store.protocol import Store
from workloads.contract.metrics import read_beat
from workloads.contract.result import EXIT_ERROR, EXIT_STOPPED
from workloads.runtime.fault_points import point
from workloads.runtime.masking import Secret, mask

LOG_DRAIN_S = 2.0  # for the last bytes of a log: a daemon that a rank left behind may hold the pipe open
HANG_S = 1800.0  # of a store call that neither returns nor fails, until its attempt is ended
HURRY_S = 2.0  # for the ranks of a node to end once another one has failed
LONGEST_DETAIL = 2000  # characters

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """What all parts of a node share."""

    store: Store
    code: Path
    provenance: Provenance
    address: str
    visible: tuple[str, ...]
    variables: JobVariables
    secrets: tuple[Secret, ...]
    records_endings: bool
    publish_s: float
    fetch_s: float
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while the state of an attempt or of the warm server changes."""
    closed: threading.Event = field(default_factory=threading.Event)
    uploader: CheckpointUploader | None = None
    """Uploads checkpoints; None: other machines see the attempts' folders."""
    scratch: Scratch | None = None
    """Where the attempts' folders are on a machine that does not see the study's."""


class AttemptRunner:
    """Runs attempts on one node."""

    def __init__(self, context: NodeContext, servers: WarmServerSupervisor, logs: LogCollector) -> None:
        self._context = context
        self._servers = servers
        self._logs = logs
        self._threads: set[threading.Thread] = set()

    def start(self, attempt: HostAttempt) -> None:
        """Prepare an attempt and fork its ranks, in a thread."""
        self._run_in_thread(self._prepare, attempt)

    def server_ready(self, attempt: HostAttempt) -> None:
        """Fork the ranks of a waiting attempt; in a thread, because the caller must keep reading replies."""
        self._run_in_thread(self._fork, attempt)

    def server_exited(self, attempt: HostAttempt) -> None:
        """End a running attempt whose server has died."""
        self._run_in_thread(self._end_with_server, attempt)

    def rank_started(self, attempt: HostAttempt, reply: Mapping[str, Any]) -> None:
        """Record a rank's process."""
        attempt.processes[reply["rank"]] = (reply["pid"], reply["start_time"])
        self.write_processes(attempt)
        if attempt.stop_reason is not None:  # asked to stop between the request and the fork
            self.force_kill(attempt) if attempt.stop_reason == "kill" else self.request_stop(attempt)

    def rank_ended(self, attempt: HostAttempt, reply: Mapping[str, Any]) -> None:
        """Record a rank's end; after the last one, complete the attempt."""
        rank = reply["rank"]
        stopped = reply["op"] != "refused" and reply["code"] == EXIT_STOPPED
        if reply["op"] == "refused":
            attempt.detail = f"the warm server refused: {reply['message']}"
            attempt.rank_ends[rank] = RankEnd(code=EXIT_STOPPED if reply["free"] else EXIT_ERROR, signal=None)
        else:
            attempt.rank_ends[rank] = RankEnd(code=reply["code"], signal=reply["signal"])
        if not attempt.rank_ends[rank].ok and attempt.first_failed is None:
            attempt.first_failed, attempt.first_failed_at = rank, time.time()
            self.request_stop(attempt)  # the others wait for a rank that will not come
            if attempt.exchange is not None and not stopped:
                self.hurry(attempt)
                with contextlib.suppress(OSError):  # they will see it fail
                    attempt.exchange.tell({"failing": True})
        if attempt.all_ranks_ended:  # the time limit is for ranks: publication may take as long as the store needs
            attempt.limit_at = None
            if attempt.stop_reason in (None, "time"):
                attempt.kill_at = None
            if attempt.phase == "running" and not self._context.closed.is_set():
                self._run_in_thread(self._complete, attempt)

    def request_stop(self, attempt: HostAttempt) -> None:
        """SIGTERM now, SIGKILL after `grace_s`; an attempt that has not started ends at once."""
        if attempt.kill_at is None:
            attempt.kill_at = time.monotonic() + attempt.execution["grace_s"]
        if attempt.phase == "running":
            self._servers.signal(attempt.name, signal.SIGTERM, group=False)
        elif attempt.phase == "waiting":
            self.end(attempt, "interrupted", "stopped before it started")

    def hurry(self, attempt: HostAttempt) -> None:
        """SIGTERM now, SIGKILL soon: without the ranks that were lost on another node these can save nothing."""
        self.request_stop(attempt)
        attempt.kill_at = min(attempt.kill_at or math.inf, time.monotonic() + HURRY_S)

    def force_kill(self, attempt: HostAttempt) -> None:
        """SIGKILL to all processes of an attempt; one that is being published or has not started ends at once."""
        if attempt.phase == "running" and attempt.doing == "publishing":
            self.end(attempt, "interrupted", f"stopped while {attempt.problem or 'it was published'}")
        elif attempt.phase == "running":
            self._servers.signal(attempt.name, signal.SIGKILL, group=True)
        elif attempt.phase == "waiting":
            self.end(attempt, "interrupted", "stopped before it started")

    def end(self, attempt: HostAttempt, ending: str, detail: str, ended: float | None = None) -> None:
        """Record the ending of an attempt, once."""
        with self._context.lock:
            if attempt.ending is not None:
                return
            attempt.ending = ending
            attempt.detail = mask(detail, self._context.secrets)[:LONGEST_DETAIL]
            attempt.ended = ended or time.time()
        if attempt.exchange is not None:
            attempt.tell_end(ending, attempt.detail, attempt.ended)
            attempt.exchange.close()
            if attempt.failure is None:
                attempt.failure = NodeFailure(node=attempt.ranks.node, ending=ending, detail=attempt.detail)
        if self._context.uploader is not None:
            self._context.uploader.forget(attempt.name)
        _close_log(attempt)
        attempt.last_heartbeat = read_beat(attempt.work)
        if self._context.records_endings:
            write_ended(attempt.work, {**attempt.report(), "phase": "ended"}, attempt.ranks.file(ENDED))
        attempt.phase = "ended"
        self._release_inputs(attempt)

    def _release_inputs(self, attempt: HostAttempt) -> None:
        """Let the store remove from this machine what an ended attempt has read."""
        with self._context.lock:
            fetched, attempt.fetched = attempt.fetched, []
        for folder in fetched:
            with contextlib.suppress(OSError, StoreError):  # it is released when the host ends
                self._context.store.release(folder)

    def end_if_hanging(self, attempt: HostAttempt) -> None:
        """End an attempt whose store call has hung for `HANG_S`."""
        if attempt.doing and time.monotonic() - attempt.doing_since > HANG_S:
            self.end(attempt, "interrupted", f"{attempt.problem}: no answer within {HANG_S:g} s")

    def write_processes(self, attempt: HostAttempt) -> None:
        """Write process.json; if that fails, the watcher tries again, and the ranks run nevertheless."""
        try:
            write_processes(attempt.work, attempt.processes, attempt.ranks.file(PROCESSES))
            attempt.processes_unwritten = False
        except OSError:
            attempt.processes_unwritten = True

    def join(self, timeout_s: float) -> None:
        """Wait for the threads of attempts; one that hangs in a store call is left behind."""
        deadline = time.monotonic() + timeout_s
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    # The rest runs in threads of attempts: a store that hangs holds up no other attempt.

    def _run_in_thread(self, step: Callable[[HostAttempt], None], attempt: HostAttempt) -> None:
        thread = threading.Thread(target=self._guarded, args=(step, attempt), name=f"attempt {attempt.name}")
        thread.daemon = True
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no process or memory is left for one
            self._threads.discard(thread)
            self.end(attempt, "interrupted", f"the host has no thread left for it: {error}")

    def _guarded(self, step: Callable[[HostAttempt], None], attempt: HostAttempt) -> None:
        """A failure of the host ends the attempt: as `interrupted` where a disk or a store is to blame."""
        try:
            step(attempt)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            if is_storage_failure(error) or (attempt.doing == "publishing" and isinstance(error, StoreError)):
                self.end(attempt, "interrupted", f"{attempt.problem or 'the host failed'}: {message}")
            else:
                self.end(attempt, "error", f"the host failed: {message}")
        finally:
            if attempt.ending is not None:  # while its inputs were still being fetched
                self._release_inputs(attempt)
            self._threads.discard(threading.current_thread())

    def _retry(self, attempt: HostAttempt, doing: str, problem: str, call: Callable[[], T], for_s: float) -> T:
        """Retry a store or disk call; heartbeats show `doing` meanwhile, and `problem` begins the failure message."""
        attempt.set_doing(doing, problem)
        answer = retry_call(call, for_s=for_s, abandoned=lambda: self._abandoned(attempt))
        attempt.set_doing("", "")
        return answer

    def _abandoned(self, attempt: HostAttempt) -> bool:
        """Whether the outcome of an attempt is no longer needed."""
        return self._context.closed.is_set() or attempt.phase == "ended"

    def _prepare(self, attempt: HostAttempt) -> None:
        failure = self._retry(
            attempt,
            "fetching",
            "its inputs cannot be fetched, or its folder cannot be written",
            lambda: self._take_and_prepare(attempt),
            self._context.fetch_s,
        )
        if failure is not None:
            attempt.failure = failure
            self.end(attempt, failure.ending, failure.detail)
            return
        point("request.written")
        with self._context.lock:
            attempt.prepared = True
        self._fork(attempt)

    def _take_and_prepare(self, attempt: HostAttempt) -> NodeFailure | None:
        scratch = self._context.scratch
        if scratch is not None:
            scratch.take(attempt.work)
        return prepare(attempt, self._context.store, lambda: self._abandoned(attempt), apart=scratch is not None)

    def _fork(self, attempt: HostAttempt) -> None:
        """Fork the ranks once both request and server are ready; called when either becomes so, and idempotent."""
        context = self._context
        with context.lock:
            begun = attempt.phase != "waiting" or attempt.ending is not None
            if not attempt.prepared or begun or context.closed.is_set():
                return
            self._servers.ensure_started()
            if not self._servers.ready:
                return
            server = self._servers.server
            assert server is not None
            attempt.log = LogFile(attempt.work / attempt.ranks.file("log.txt"), context.secrets)
            attempt.phase = "running"
            attempt.started = time.time()
            attempt.oom_kills_before = oom_kills()
            attempt.limit_at = time.monotonic() + attempt.submission["resources"]["minutes"] * 60
            devices = [context.visible[index] for index in attempt.submission["placement"]["devices"]]
            try:
                start_ranks(
                    attempt,
                    server,
                    self._logs,
                    devices=devices,
                    address=context.address,
                    code_folder=str(context.code),
                    environment=passed(os.environ, context.variables.of(attempt.submission["request"]["stage"])),
                )
            except OSError:  # the server has ended, or no descriptor is left: some ranks may have been forked
                server.signal(attempt.name, signal.SIGKILL, group=True)
                raise
            if context.uploader is not None and attempt.ranks.leads:
                fingerprint, whole = attempt.request["fingerprint"], attempt.whole_checkpoints
                context.uploader.watch(attempt.name, attempt.work, fingerprint, whole=whole)

    def _end_with_server(self, attempt: HostAttempt) -> None:
        """End an attempt whose server has died, and its ranks with it."""
        if not end_leftovers(attempt.work, attempt.ranks.file(PROCESSES)):
            self.end(attempt, "vanished", "the warm server died and a rank cannot be killed")
        elif oom_kills() > attempt.oom_kills_before:
            self.end(
                attempt, "out_of_memory", "the warm server died, and the kernel's out-of-memory counter rose meanwhile"
            )
        else:
            self.end(attempt, "vanished", "the warm server died, and its ranks with it")

    def _complete(self, attempt: HostAttempt) -> None:
        """Close the log, then publish the result, or record the ending."""
        ended = time.time()
        for drained in attempt.log_drained:
            drained.wait(LOG_DRAIN_S)
        _close_log(attempt)
        outcome = outcome_of(attempt, lambda: self._abandoned(attempt))
        uploader = self._context.uploader
        if isinstance(outcome, tuple):
            if uploader is not None:
                attempt.set_doing("uploading", "its last checkpoint cannot be uploaded")
                with contextlib.suppress(OSError, StoreError):  # then the next attempt repeats more
                    uploader.last_upload(attempt.name)
                attempt.set_doing("", "")
            self.end(attempt, *outcome)
            return
        peak = {"peak_pss_mib": attempt.peak_bytes / 2**20} if attempt.peak_bytes else {}
        point("publish.begun")
        won = self._retry(
            attempt,
            "publishing",
            "its result is there, but the store cannot be written",
            lambda: publish(
                self._context.store,
                request=attempt.request,
                submission=attempt.submission,
                inputs=attempt.inputs,
                taken=attempt.taken,
                origins=attempt.origins,
                result=replace(outcome, cost={**outcome.cost, **peak}),
                provenance=self._context.provenance,
                started=attempt.started or ended,
                ended=ended,
            ),
            self._context.publish_s,
        )
        point("commit.made")
        if uploader is not None:
            uploader.job_done(attempt.name)
        self.end(attempt, "ok", "" if won else "another attempt had published this job first", ended)


def _close_log(attempt: HostAttempt) -> None:
    if attempt.log is not None:
        with contextlib.suppress(OSError):  # a full disk: the log is short, but the attempt has ended
            attempt.log.close()
