"""Room, queue and hosts as the driver keeps them, around the pure policy."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.backends.protocol import Placement
from orchestrator.plan.job import Job
from orchestrator.schedule.host_exclusion import Avoidance
from orchestrator.schedule.job_states import Board
from orchestrator.schedule.placement import Queue, Reserve, Shape, Target, misfit, priorities, usable

AT_ONCE = 256
"""Attempts placed in one tick at most, so that Ctrl-C and the view never wait for a long one."""


class Placer:
    """Who holds which place, and who is next."""

    def __init__(self, board: Board, mean_seconds: Callable[[], Mapping[str, float]], avoidance: Avoidance) -> None:
        self._board = board
        self._avoidance = avoidance
        self._mean_seconds = mean_seconds
        self._reserve = Reserve()
        self._queue = Queue({})
        self._hosts: tuple[Target, ...] | None = None

    @property
    def has_hosts(self) -> bool:
        """Whether there is a host, or nobody has asked yet."""
        return self._hosts is None or bool(self._hosts)

    def renew(self) -> None:
        """Make the queue anew: after a start, a retry, or a change of hosts."""
        jobs = [self._board.job(job_id) for job_id in self._board.open_jobs()]
        self._queue = Queue(priorities(jobs, self._mean_seconds()))
        self._queue.add(self._board.ready())

    def add(self, jobs: Iterable[Job]) -> None:
        """Jobs that became ready."""
        self._queue.add(jobs)

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one host."""
        return self._hosts is not None and len(self._hosts) > 1

    def place(self, hosts: Sequence[Target], now: float) -> list[tuple[str, Placement]]:
        """Job ids that fit now, with their places, best first; jobs that fit on no host at all become blocked."""
        if tuple(hosts) != self._hosts:
            self._hosts = tuple(hosts)
            hindered: dict[str, str] = {}
            for job_id in self._board.open_jobs():
                job = self._board.job(job_id)
                why = misfit(job.resources, job.stage, hosts)
                if why is not None:
                    hindered[job_id] = why
            self._board.hinder(hindered)
            self.renew()
        bad = {name: one.since for name, one in self._avoidance.hosts(now).items()}
        chosen: dict[Shape, frozenset[str]] = {}

        def allowed(kind: Shape) -> frozenset[str]:
            if kind not in chosen:
                chosen[kind] = usable(kind, hosts, bad)
            return chosen[kind]

        def tried(job_id: str) -> frozenset[str]:
            return self._avoidance.tried(self._board.job(job_id).fingerprint)

        rooms, choice = self._reserve.rooms(hosts), len(hosts) > 1
        return self._queue.place(
            rooms,
            self._board.is_ready,
            AT_ONCE,
            allowed=allowed if bad and choice else None,
            tried=tried if choice and self._avoidance.any_bad else None,
        )

    def take(self, attempt: str, job: Job, placement: Placement) -> None:
        """Book a place."""
        self._reserve.take(attempt, placement, job.resources.memory_gib)

    def give(self, attempt: str) -> None:
        """Let a place go."""
        self._reserve.give(attempt)
