"""One node's share: starts attempts in a warm server, watches them, publishes what they made.

No scheduler is imported here: a host actor, a SLURM job and a test hold a `Node` alike. All methods
return at once; work that takes time (fetching, publishing) happens in a thread of the attempt, and
what is known is read with `poll`.

Order of one attempt: inputs are fetched, request.json written, one rank per process forked; when
all ranks have ended, the log is closed, an attempt that ended well is published, and only then does
`poll` say `ended`.

A store or a disk that fails is tried again for a while (`patience`). What still fails then ends this
attempt as `interrupted`, which is free, and leaves the others and the host alone; one that hangs
does the same after `HANG_S`, and meanwhile the heartbeat's phase says what is waited for.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.errors import StoreError
from orchestrator.host.attempt import Attempt, heartbeat
from orchestrator.host.endings import RankEnd, write_ended
from orchestrator.host.finishing import came_to
from orchestrator.host.launch import prepare, start_ranks
from orchestrator.host.memory import GIB, group_members, oom_kills, pss_bytes
from orchestrator.host.parts import bad_word, words_of_others
from orchestrator.host.patience import FETCH_FOR_S, PUBLISH_FOR_S, is_hiccup, patiently
from orchestrator.host.processes import FILE as PROCESSES
from orchestrator.host.processes import end_leftovers, write_processes
from orchestrator.host.publish import Provenance, publish
from orchestrator.host.pump import Log, LogPump
from orchestrator.host.server import COMMAND, WarmServer
from orchestrator.store.protocol import Store
from workloads.contract.result import EXIT_ERROR, EXIT_STOPPED
from workloads.runtime.fault_points import point
from workloads.runtime.masking import mask, secrets_of

WATCH_S = 1.0
LOG_PATIENCE_S = 2.0  # for the last bytes of a log: a daemon that a rank left behind may hold the pipe open
SERVERS = 3  # warm servers in a row that may end without ever having been ready; a later attempt is one more try
IMPORT_S = 600.0  # for a warm server to import everything: a file system that is gone lets it wait for ever
HANG_S = 1800.0  # of a store that neither answers nor fails, until its attempt is given up
CLOSE_S = 10.0  # for threads in a store call, when the node closes
LONGEST_DETAIL = 2000  # characters

T = TypeVar("T")


class Node:
    """One node's share of processors, devices and memory.

    Args (keyword only):
        store: where inputs come from and results go.
        code: folder with the code that runs.
        provenance: what COMMITs say of code and host.
        address: of this node, for ranks that meet over the network.
        visible: the share's devices as CUDA_VISIBLE_DEVICES names them; a placement counts in them.
        command: the warm server's command line.
        leaves_word: write `ended.json` when an attempt ends, for a driver that comes after this node.
        publish_s: how long a store that refuses a result is tried again.
        fetch_s: and one that refuses inputs, and a disk that takes no request.
        import_s: how long a warm server may import before it is killed, and counts as one that failed.
    """

    def __init__(
        self,
        *,
        store: Store,
        code: Path,
        provenance: Provenance,
        address: str = "127.0.0.1",
        visible: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
        leaves_word: bool = False,
        publish_s: float = PUBLISH_FOR_S,
        fetch_s: float = FETCH_FOR_S,
        import_s: float = IMPORT_S,
    ) -> None:
        self._store = store
        self._code = code
        self._provenance = provenance
        self._address = address
        self._visible = tuple(visible)
        self._command = tuple(command)
        self._leaves_word = leaves_word
        self._publish_s = publish_s
        self._fetch_s = fetch_s
        self._import_s = import_s
        self._secrets = secrets_of(os.environ)
        self._lock = threading.RLock()
        self._attempts: dict[str, Attempt] = {}
        self._pump = LogPump()
        self._steps: set[threading.Thread] = set()
        self._closed = threading.Event()
        self._warm = False
        self._failed_servers = 0
        self._cold = ""
        self._server: WarmServer | None = None
        self._start_server()
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._watcher.start()

    def start(self, submission: Mapping[str, Any]) -> None:
        """Take an attempt (`Submission` as JSON); asking twice changes nothing."""
        with self._lock:
            attempt = Attempt(submission=submission)
            if attempt.name in self._attempts:
                return
            self._attempts[attempt.name] = attempt
            self._begin(self._prepare, attempt)

    def poll(self) -> dict[str, dict[str, Any]]:
        """What is known of all attempts taken and not forgotten: attempt -> the fields of a `Report`."""
        with self._lock:
            return {name: attempt.report() for name, attempt in self._attempts.items()}

    def forget(self, names: Sequence[str]) -> None:
        """Drop attempts whose end has been told, so that a poll stays short however many there were."""
        with self._lock:
            for name in names:
                if name in self._attempts and self._attempts[name].phase == "ended":
                    del self._attempts[name]

    @property
    def busy(self) -> bool:
        """Whether any attempt has not ended."""
        with self._lock:
            return any(attempt.phase != "ended" for attempt in self._attempts.values())

    def longest_grace(self) -> float:
        """Seconds that attempts may take to save when they are asked to end."""
        with self._lock:
            return max((float(attempt.execution["grace_s"]) for attempt in self._attempts.values()), default=0.0)

    @property
    def warm(self) -> bool:
        """Whether the server has imported everything."""
        return self._warm

    @property
    def cold(self) -> str:
        """Why no server is tried again before an attempt comes; empty: one is warm, or starts."""
        return self._cold

    def stop(self, names: Sequence[str]) -> None:
        """Ask attempts to save and end; `grace_s` later what still runs is killed."""
        for attempt in self._known(names):
            with self._lock:
                attempt.reason = attempt.reason or "stop"
                self._ask(attempt)

    def kill(self, names: Sequence[str]) -> None:
        """End attempts at once."""
        for attempt in self._known(names):
            with self._lock:
                attempt.reason = attempt.reason or "kill"
                attempt.kill_at = time.monotonic()  # the watch says it again until it is gone
                self._force(attempt)

    def close(self) -> None:
        """End everything; idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._watcher.join()
        deadline = time.monotonic() + CLOSE_S
        for thread in list(self._steps):
            thread.join(max(0.0, deadline - time.monotonic()))  # one that hangs in a store call is left
        if self._server is not None:
            self._server.close()
        self._pump.close()
        for attempt in self._attempts.values():
            if attempt.log is not None:
                attempt.log.close()

    def _known(self, names: Sequence[str]) -> list[Attempt]:
        with self._lock:
            found = [self._attempts[name] for name in names if name in self._attempts]
            return [attempt for attempt in found if attempt.phase != "ended"]

    def _start_server(self) -> None:
        self._warm, self._cold = False, ""
        self._server = WarmServer(self._on_reply, command=self._command, folder=self._code)

    # From here on: threads of the node.

    def _begin(self, step: Any, attempt: Attempt) -> None:
        """Run one step of an attempt in a thread of its own: a store that hangs holds up nobody else."""
        thread = threading.Thread(target=self._guarded, args=(step, attempt), name=f"attempt {attempt.name}")
        thread.daemon = True
        self._steps.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no process or memory is left for one
            self._steps.discard(thread)
            self._end(attempt, "interrupted", f"the host has no thread left for it: {error}")

    def _guarded(self, step: Any, attempt: Attempt) -> None:
        """What goes wrong on the host's side ends the attempt: `interrupted` where a disk or a store is the cause."""
        try:
            step(attempt)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            if is_hiccup(error) or (attempt.doing == "publishing" and isinstance(error, StoreError)):
                self._end(attempt, "interrupted", f"{attempt.waits_for or 'the host failed'}: {words}")
            else:
                self._end(attempt, "error", f"the host failed: {words}")
        finally:
            self._steps.discard(threading.current_thread())

    def _patiently(self, attempt: Attempt, phase: str, what: str, call: Callable[[], T], for_s: float) -> T:
        """Call a store or a disk until it answers; heartbeats say `phase`, and `what` is said of a failure."""
        attempt.waits(phase, what)
        answer = patiently(call, for_s=for_s, given_up=lambda: self._given_up(attempt))
        attempt.waits("", "")
        return answer

    def _given_up(self, attempt: Attempt) -> bool:
        """Whether nobody waits for an attempt any more."""
        return self._closed.is_set() or attempt.phase == "ended"

    def _prepare(self, attempt: Attempt) -> None:
        what = "its inputs cannot be fetched, or its folder cannot be written"
        prepared = self._patiently(
            attempt,
            "fetching",
            what,
            lambda: prepare(attempt, self._store, lambda: self._given_up(attempt)),
            self._fetch_s,
        )
        if not prepared:
            self._end(attempt, "interrupted", "the first node has ended before this one began")
            return
        point("request.written")
        with self._lock:
            attempt.ready = True
        self._fork(attempt)

    def _fork(self, attempt: Attempt) -> None:
        """Fork the ranks if request and server are ready; called by whichever comes last; again is harmless."""
        with self._lock:
            if not attempt.ready or attempt.phase != "waiting" or attempt.ending is not None or self._closed.is_set():
                return
            if self._failed_servers >= SERVERS:  # it was given up before this attempt came
                self._next_server(SERVERS - 1)
            if not self._warm:
                return
            assert self._server is not None
            attempt.log = Log(attempt.work / attempt.part.name("log.txt"), self._secrets)
            attempt.phase = "running"
            attempt.started = time.time()
            attempt.oom_before = oom_kills()
            attempt.limit_at = time.monotonic() + attempt.submission["resources"]["minutes"] * 60
            devices = [self._visible[index] for index in attempt.submission["placement"]["devices"]]
            try:
                start_ranks(
                    attempt, self._server, self._pump, devices=devices, address=self._address, code_folder=self._code
                )
            except OSError:  # the server has ended, or there is no descriptor left: some ranks may have been forked
                self._server.signal(attempt.name, signal.SIGKILL, group=True)
                raise

    def _on_reply(self, reply: Mapping[str, Any]) -> None:
        with self._lock:
            match reply["op"]:
                case "ready":
                    self._warm, self._failed_servers = True, 0
                    # Not in this thread: it must go on reading while the lines are sent.
                    for attempt in self._attempts.values():
                        if attempt.phase == "waiting":
                            self._begin(self._fork, attempt)
                case "started" | "ended" | "refused" if reply["attempt"] not in self._attempts:
                    return  # ended and forgotten before its ranks were gone
                case "started":
                    self._on_started(self._attempts[reply["attempt"]], reply)
                case "ended" | "refused":
                    self._on_rank_end(self._attempts[reply["attempt"]], reply)
                case "gone":
                    self._on_server_gone(reply)

    def _on_started(self, attempt: Attempt, reply: Mapping[str, Any]) -> None:
        attempt.processes[reply["rank"]] = (reply["pid"], reply["start_time"])
        self._note_processes(attempt)
        if attempt.reason is not None:  # asked to end between the line and the fork
            self._force(attempt) if attempt.reason == "kill" else self._ask(attempt)

    def _note_processes(self, attempt: Attempt) -> None:
        """Write process.json; where the disk takes nothing, the watch tries again: the ranks run all the same."""
        try:
            write_processes(attempt.work, attempt.processes, attempt.part.name(PROCESSES))
            attempt.unwritten = False
        except OSError:
            attempt.unwritten = True

    def _on_rank_end(self, attempt: Attempt, reply: Mapping[str, Any]) -> None:
        rank = reply["rank"]
        if reply["op"] == "refused":
            attempt.detail = f"the warm server refused: {reply['message']}"
            attempt.ends[rank] = RankEnd(code=EXIT_STOPPED if reply["free"] else EXIT_ERROR, signal=None)
        else:
            attempt.ends[rank] = RankEnd(code=reply["code"], signal=reply["signal"])
        if not attempt.ends[rank].well and attempt.first_failed is None:
            attempt.first_failed, attempt.first_failed_at = rank, time.time()
            self._ask(attempt)  # the others wait for a rank that will not come
        all_ended = len(attempt.ends) == attempt.part.ranks
        if all_ended:  # the limit of time is for ranks: what they made is published, however long the store takes
            attempt.limit_at = None
            if attempt.reason in (None, "time"):
                attempt.kill_at = None
        if all_ended and attempt.phase == "running" and not self._closed.is_set():
            self._begin(self._finish, attempt)

    def _on_server_gone(self, reply: Mapping[str, Any]) -> None:
        if self._closed.is_set():
            return
        was_warm, self._warm = self._warm, False
        said = f"the warm server ended with {reply['code']}: {reply['said'][-LONGEST_DETAIL:]}"
        for attempt in self._attempts.values():
            if attempt.phase == "running" and len(attempt.ends) < attempt.part.ranks:
                self._begin(self._lost, attempt)
        self._next_server(0 if was_warm else self._failed_servers + 1, said)

    def _next_server(self, failed: int, said: str = "") -> None:
        """Start a server after `failed` ones in a row; after too many nobody waits any more, and `said` is why."""
        while failed < SERVERS:
            self._failed_servers = failed
            try:
                self._start_server()
                return
            except OSError as error:  # no process or descriptor is left, or the code's folder is gone
                failed, said = failed + 1, f"the warm server cannot be started: {error}"
        self._failed_servers, self._cold = failed, said
        for attempt in self._attempts.values():
            if attempt.phase == "waiting":
                self._end(attempt, "error", said)

    def _lost(self, attempt: Attempt) -> None:
        """End an attempt whose server has died and taken the ranks along."""
        if not end_leftovers(attempt.work):
            self._end(attempt, "vanished", "the warm server died and a rank cannot be killed")
        elif oom_kills() > attempt.oom_before:
            self._end(attempt, "out_of_memory", "the warm server died, and the kernel's count of kills for memory rose")
        else:
            self._end(attempt, "vanished", "the warm server died and took the ranks along")

    def _finish(self, attempt: Attempt) -> None:
        ended = time.time()
        for logged in attempt.logged:
            logged.wait(LOG_PATIENCE_S)
        self._close_log(attempt)
        result = came_to(attempt, lambda: self._given_up(attempt))
        if isinstance(result, tuple):
            self._end(attempt, *result)
            return
        peak = {"peak_pss_mib": attempt.peak_bytes / 2**20} if attempt.peak_bytes else {}
        point("publish.begun")
        won = self._patiently(
            attempt,
            "publishing",
            "its result is there, but the store cannot be written",
            lambda: publish(
                self._store,
                request=attempt.request,
                label=attempt.submission["label"],
                inputs=attempt.inputs,
                result=replace(result, cost={**result.cost, **peak}),
                provenance=self._provenance,
                started=attempt.started or ended,
                ended=ended,
            ),
            self._publish_s,
        )
        point("commit.made")
        self._end(attempt, "ok", "" if won else "another attempt had published this job first", ended)

    def _end(self, attempt: Attempt, ending: str, detail: str, ended: float | None = None) -> None:
        with self._lock:
            if attempt.ending is not None:
                return
            attempt.ending, attempt.detail = ending, mask(detail, self._secrets)[:LONGEST_DETAIL]
            attempt.ended = ended or time.time()
        self._close_log(attempt)
        attempt.last_heartbeat = heartbeat(attempt.work)
        if self._leaves_word:
            write_ended(attempt.work, {**attempt.report(), "phase": "ended"})
        attempt.phase = "ended"

    def _close_log(self, attempt: Attempt) -> None:
        if attempt.log is not None:
            with contextlib.suppress(OSError):  # a full disk: the log is short, the attempt has ended all the same
                attempt.log.close()

    def _ask(self, attempt: Attempt) -> None:
        """SIGTERM now, SIGKILL after `grace_s`; an attempt that has not begun is ended where it would begin."""
        if attempt.kill_at is None:
            attempt.kill_at = time.monotonic() + attempt.execution["grace_s"]
        if attempt.phase == "running" and self._server is not None:
            self._server.signal(attempt.name, signal.SIGTERM, group=False)
        elif attempt.phase == "waiting":
            self._end(attempt, "interrupted", "asked to end before it began")

    def _force(self, attempt: Attempt) -> None:
        if attempt.phase == "running" and attempt.doing == "publishing":
            self._end(attempt, "interrupted", f"asked to end while {attempt.waits_for or 'it was published'}")
        elif attempt.phase == "running" and self._server is not None:
            self._server.signal(attempt.name, signal.SIGKILL, group=True)
        elif attempt.phase == "waiting":
            self._end(attempt, "interrupted", "asked to end before it began")

    def _watch(self) -> None:
        """Once a second: limits of memory and time, the end of a grace period, and a server that is never ready."""
        while not self._closed.wait(WATCH_S):
            with self._lock:
                if not self._warm and self._server is not None:
                    self._server.give_up_after(self._import_s)
                living = [attempt for attempt in self._attempts.values() if attempt.phase != "ended"]
            for attempt in living:
                with contextlib.suppress(OSError):  # no descriptor or memory is left: there may be at the next look
                    self._look_at(attempt)

    def _look_at(self, attempt: Attempt) -> None:
        if attempt.doing and time.monotonic() - attempt.doing_since > HANG_S:
            self._end(attempt, "interrupted", f"{attempt.waits_for}: no answer within {HANG_S:g} s")
        if attempt.unwritten:
            self._note_processes(attempt)
        if attempt.phase != "running":
            return
        if attempt.part.of > 1:
            self._hear_others(attempt)
        used = pss_bytes(group_members(attempt.living)) if attempt.living else 0
        with self._lock:
            self._hold_to_limits(attempt, used, time.monotonic())

    def _hear_others(self, attempt: Attempt) -> None:
        """A part that ended badly on another node leaves these ranks waiting for its own."""
        bad = bad_word(words_of_others(attempt.work, attempt.name, attempt.part), attempt.first_failed_at)
        if bad is not None and attempt.elsewhere is None:
            with self._lock:
                attempt.elsewhere = bad
                self._ask(attempt)

    def _hold_to_limits(self, attempt: Attempt, used: int, now: float) -> None:
        attempt.peak_bytes = max(attempt.peak_bytes, used)
        if used > attempt.submission["resources"]["memory_gib"] * GIB:
            attempt.reason = attempt.reason or "memory"
            self._force(attempt)
        elif attempt.limit_at is not None and now > attempt.limit_at and attempt.reason is None:
            attempt.reason = "time"
            self._ask(attempt)
        if attempt.kill_at is not None and now > attempt.kill_at:
            self._force(attempt)
