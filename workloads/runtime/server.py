"""Warm server (fork server): imports once, then forks a rank for every request it reads.

`python -m workloads.runtime.server WORKLOAD [STAGE...]` is a plain process of one thread; it imports what jobs of these
stages of the workload need, of all stages by default. Lines of JSON come in on its standard input and go out on its
standard output:

| in | |
|---|---|
| `{"op": "start", "attempt", "rank", "request": path, "env", "rendezvous", "log": path, "fds": [...]}` | fork a rank |
| `{"op": "signal", "attempt", "signal": number, "group": bool}` | to its ranks, or all their processes |

| out | |
|---|---|
| `{"op": "ready", "pid", "start_time", "import_s", "versions"}` | everything is imported |
| `{"op": "started", "attempt", "rank", "pid", "start_time"}` | |
| `{"op": "refused", "attempt", "rank", "message", "free"}` | not started; free: the host is to blame |
| `{"op": "ended", "attempt", "rank", "code", "signal"}` | one of code and signal is null |

Standard input may be a socket: then `fds` names, in order, the descriptors that came with the line
(`log`: where the rank writes; `listen`: the rendezvous socket for rank 0). A closed standard
input ends all ranks and the server; ranks die with their server (PR_SET_PDEATHSIG).

Only the standard library is imported at the top: the number of threads must be set before the rest.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import stat
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from workloads.contract.loading import load_workload
from workloads.contract.request import DEFAULT_WORKLOAD, Rendezvous, read_request
from workloads.contract.result import EXIT_BAD_INPUT, EXIT_ERROR
from workloads.runtime.blas import BLAS
from workloads.runtime.huge_pages import use_huge_pages
from workloads.runtime.numerics import drop_overrides
from workloads.runtime.run import run_request, versions

OOM_SCORE = 800  # a rank is killed before its server, its host and the driver
PR_SET_PDEATHSIG = 1
READ_BYTES = 1 << 16
MAX_DESCRIPTORS = 8  # of one line
OF_EVERY_JOB = ("threadpoolctl",)
"""Modules that jobs import themselves, once it is known what their stage computes with."""


@dataclass
class Ranks:
    """The living ranks of one server, by process id."""

    of: dict[int, tuple[str, int]] = field(default_factory=dict)
    """pid -> (attempt, rank)."""

    def pids(self, attempt: str) -> list[int]:
        """Process ids of an attempt."""
        return [pid for pid, (name, _) in self.of.items() if name == attempt]


class RequestReader:
    """Reads lines from standard input, with the descriptors sent along."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.closed = False
        self._bytes = b""
        self._received: deque[int] = deque()
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        self._socket = socket.socket(fileno=descriptor) if is_socket else None

    def read(self) -> list[tuple[dict[str, Any], dict[str, int]]]:
        """The complete lines received: each object, and its descriptors by name."""
        if self._socket is not None:
            data, descriptors, _, _ = socket.recv_fds(self._socket, READ_BYTES, MAX_DESCRIPTORS)
            self._received.extend(descriptors)
        else:
            data = os.read(self.descriptor, READ_BYTES)
        if not data:
            self.closed = True
        *whole, self._bytes = (self._bytes + data).split(b"\n")
        messages = [json.loads(line) for line in whole if line.strip()]
        return [(message, {name: self._received.popleft() for name in message.get("fds", [])}) for message in messages]


class Server:
    """Forks, signals and reaps ranks."""

    def __init__(self, requests: RequestReader, replies: int) -> None:
        self._requests = requests
        self._replies = replies
        self._ranks = Ranks()
        self._pid = os.getpid()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)

    def reply(self, **message: Any) -> None:
        """Send one line to the host."""
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._replies, data) :]

    def run(self) -> None:
        """Serve until standard input is closed, then end all ranks."""
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # the wake-up descriptor needs a handler
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests.descriptor, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._requests.closed:
                ready = {key.fd for key, _ in selector.select()}
                if self._woken in ready:
                    os.read(self._woken, READ_BYTES)
                    self._reap()
                if self._requests.descriptor in ready:
                    for message, descriptors in self._requests.read():
                        self._handle(message, descriptors)
        for pid in self._ranks.of:
            send_signal(pid, signal.SIGKILL, group=True)

    def _handle(self, message: Mapping[str, Any], descriptors: Mapping[str, int]) -> None:
        try:
            if message["op"] == "start":
                self._start(message, descriptors)
            elif message["op"] == "signal":
                for pid in self._ranks.pids(message["attempt"]):
                    send_signal(pid, message["signal"], group=message.get("group", False))
            else:
                raise ValueError(f"op is {message['op']!r}; allowed: start, signal")
        except (KeyError, ValueError, OSError) as error:
            self.reply(
                op="refused",
                attempt=message.get("attempt"),
                rank=message.get("rank"),
                message=f"{type(error).__name__}: {error}",
                free=isinstance(error, OSError),  # no process, memory or descriptor is left
            )
        finally:
            for descriptor in descriptors.values():
                os.close(descriptor)

    def _start(self, message: Mapping[str, Any], descriptors: Mapping[str, int]) -> None:
        attempt, rank = str(message["attempt"]), int(message["rank"])
        pid = os.fork()
        if pid == 0:
            self._become_rank(message, descriptors)
        self._ranks.of[pid] = (attempt, rank)
        self.reply(op="started", attempt=attempt, rank=rank, pid=pid, start_time=start_time(pid))

    def _reap(self) -> None:
        while self._ranks.of:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            pid = ended.si_pid
            # Kill what the rank has started and left behind; before the wait, its id cannot have been reused.
            send_signal(pid, signal.SIGKILL, group=True)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            attempt, rank = self._ranks.of.pop(pid)
            self.reply(
                op="ended",
                attempt=attempt,
                rank=rank,
                code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
            )

    def _become_rank(self, message: Mapping[str, Any], descriptors: Mapping[str, int]) -> NoReturn:
        code = EXIT_ERROR
        try:
            os.setsid()
            die_with_parent(self._pid)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray blocks SIGINT in all that it starts
            use_streams(message, descriptors)
            for descriptor in (self._replies, self._woken, self._wake):
                os.close(descriptor)
            code = run_rank(message, descriptors.get("listen"))
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)  # exit handlers and the loop belong to the server


def run_rank(message: Mapping[str, Any], listen: int | None) -> int:
    """Run the rank that `message` describes, in this process; returns its exit code."""
    os.environ.clear()
    os.environ.update(message["env"])
    score = Path("/proc/self/oom_score_adj")
    # utf-8, since any other encoding would be imported by each rank.
    if int(score.read_text(encoding="utf-8")) < OOM_SCORE:  # may be higher in a container, and not to be lowered
        score.write_text(str(OOM_SCORE), encoding="utf-8")
    gc.enable()
    try:
        request = read_request(Path(message["request"]))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    if message.get("rendezvous") is not None:
        rendezvous = Rendezvous(**{**message["rendezvous"], "listen_fd": listen})
        request = replace(request, rendezvous=rendezvous)
    os.chdir(request.work)
    return run_request(request)


def use_streams(message: Mapping[str, Any], descriptors: Mapping[str, int]) -> None:
    """Read from /dev/null and write to the rank's log: the descriptor sent along, or the named file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    log = descriptors.get("log")
    if log is None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = os.open(message["log"], flags, 0o644) if message.get("log") else nothing
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for descriptor in {nothing, log}:
        if descriptor > 2:
            os.close(descriptor)


def die_with_parent(parent: int) -> None:
    """Be killed when `parent` dies; ends at once if it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_ERROR)


def send_signal(pid: int, number: int, *, group: bool) -> None:
    """Signal a rank, or its whole process group; does nothing if it has ended.

    A rank that was forked just now leads no group yet: then it alone is signalled, since it has started
    nothing.
    """
    try:
        if group:
            os.killpg(pid, number)
            return
    except ProcessLookupError:
        group = False
    except PermissionError:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; with the pid, it identifies the process."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(text.rpartition(")")[2].split()[19])


def import_all(modules: Sequence[str]) -> None:
    """Import `modules` and freeze their objects, so that forks share them.

    Raises:
        AssertionError: an import started a thread or used a device, which a fork cannot inherit.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            # Only the jobs that need it fail.
            print(f"{name} is not preloaded: {type(error).__name__}: {error}", file=sys.stderr)
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert not threads, f"importing {name} started threads, which no fork inherits: {threads}; start them in run()"
    if "deepspeed" in sys.modules:
        # Its shared-memory extension is compiled on first use, and a kill meanwhile leaves a lock behind for ever.
        sys.modules["deepspeed"].ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if "numpy" in sys.modules:
        BLAS.find()
    torch = sys.modules.get("torch")
    assert torch is None or not torch.cuda.is_initialized(), "an import created a CUDA context, which no fork can use"
    gc.collect()
    gc.freeze()
    use_huge_pages()


def preload(workload: str, stages: Sequence[str] = ()) -> tuple[str, ...]:
    """What jobs of `stages` of a workload would import, in order; of all its stages by default.

    A module that cannot be imported is left to the job that needs it.
    """
    found = load_workload(workload)
    chosen = [stage for stage in found.stages if stage.name in stages or not stages]
    before = [module for stage in chosen for module in stage.preload]
    return (*found.preload, *OF_EVERY_JOB, *before, *(stage.module for stage in chosen))


def main(imports: Sequence[str]) -> int:
    """Import, say `ready`, and serve standard input until it is closed; returns the exit code."""
    drop_overrides(os.environ)  # each job says what it drops; here torch would read it for all of them
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTORCH_NVML_BASED_CUDA_CHECK="1")
    gc.disable()
    began = time.monotonic()
    replies = os.dup(1)
    os.dup2(2, 1)  # a library's output must not be read as a reply
    try:
        import_all(imports)
    except AssertionError as error:  # its last line is what people see of a server that ended
        print(error, file=sys.stderr)
        return EXIT_ERROR
    server = Server(RequestReader(0), replies)
    server.reply(
        op="ready",
        pid=os.getpid(),
        start_time=start_time(os.getpid()),
        import_s=round(time.monotonic() - began, 3),
        versions=versions(),
    )
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(preload(sys.argv[1] if sys.argv[1:] else DEFAULT_WORKLOAD, sys.argv[2:])))
