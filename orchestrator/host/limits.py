"""Limit watcher: once a second, the memory, time and grace limits of running attempts, other nodes, hanging calls."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from orchestrator.host.attempt import HostAttempt
from orchestrator.host.attempt_runner import AttemptRunner, NodeContext
from orchestrator.host.exchange import Exchange
from orchestrator.host.machine import GIB, group_members, pss_bytes
from orchestrator.host.multi_node import failure_elsewhere
from orchestrator.host.warm_server import WarmServerSupervisor

WATCH_S = 1.0


class LimitWatcher:
    """A thread that enforces the limits of all attempts of a node."""

    def __init__(
        self,
        context: NodeContext,
        runner: AttemptRunner,
        servers: WarmServerSupervisor,
        living: Callable[[], Sequence[HostAttempt]],
        import_s: float,
    ) -> None:
        """Start it; the event `closed` of the context ends it.

        Args:
            context, runner, servers: of the node.
            living: returns the attempts that have not ended.
            import_s: how long a warm server may import, seconds.

        Raises:
            RuntimeError: no thread is left.
        """
        self._context = context
        self._runner = runner
        self._servers = servers
        self._living = living
        self._import_s = import_s
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def enforce(self, attempt: HostAttempt, used: int, now: float) -> None:
        """Stop or kill a running attempt at its limits.

        Args:
            attempt: with the node's lock held.
            used: bytes of memory its processes use.
            now: monotonic clock, s.
        """
        attempt.peak_bytes = max(attempt.peak_bytes, used)
        if used > attempt.submission["resources"]["memory_gib"] * GIB:
            attempt.stop_reason = attempt.stop_reason or "memory"
            self._runner.force_kill(attempt)
        elif attempt.limit_at is not None and now > attempt.limit_at and attempt.stop_reason is None:
            attempt.stop_reason = "time"
            self._runner.request_stop(attempt)
        if attempt.kill_at is not None and now > attempt.kill_at:
            self._runner.force_kill(attempt)

    def _watch(self) -> None:
        while not self._context.closed.wait(WATCH_S):
            with self._context.lock:
                self._servers.kill_after(self._import_s)
            for attempt in self._living():
                with contextlib.suppress(OSError):  # no descriptor or memory is left: there may be some next time
                    self._check(attempt)

    def _check(self, attempt: HostAttempt) -> None:
        self._runner.end_if_hanging(attempt)
        if attempt.processes_unwritten:
            self._runner.write_processes(attempt)
        if attempt.phase != "running":
            return
        if attempt.exchange is not None and not attempt.all_ranks_ended:
            self._check_other_nodes(attempt, attempt.exchange)
        used = pss_bytes(group_members(attempt.living)) if attempt.living else 0
        with self._context.lock:
            self.enforce(attempt, used, time.monotonic())

    def _check_other_nodes(self, attempt: HostAttempt, exchange: Exchange) -> None:
        """End these ranks when another node has failed: they wait for its ranks."""
        failure = failure_elsewhere(exchange, attempt.ranks, attempt.first_failed_at)
        failing = any(news.get("failing") for news in exchange.heard().values())
        with self._context.lock:
            if failure is not None and attempt.failure is None:
                attempt.failure = failure
                self._runner.request_stop(attempt)
            failed = failure is not None and failure.ending != "interrupted"  # which saves, as these ranks do
            if (failed or failing) and not attempt.hurried and attempt.first_failed is None:
                attempt.hurried = True
                self._runner.hurry(attempt)
