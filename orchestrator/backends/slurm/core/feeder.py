"""Feeder: hands attempts to sbatch, and keeps those that it does not take now for later.

Failures of sbatch slow it down (`brake.py`) instead of failing jobs: a full queue, a limit of an account or QOS, a
slurmctld that does not answer. Jobs of one stage ask for the same and fail alike, so each stage has a brake; a
slurmctld that does not answer holds back all.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from orchestrator.backends.protocol import Submission
from orchestrator.backends.slurm.core.brake import Brake
from orchestrator.backends.slurm.core.submit import SiteFull
from orchestrator.errors import BackendError

ALL = ""
"""In place of a stage."""


class Feeder:
    """Attempts on their way to SLURM.

    Args:
        submit: gives attempts that share a script to sbatch; returns why nobody knows whether it took them, or nothing;
            raises SiteFull or BackendError.
        hold: is told of an attempt that waits here, and why.
        give_back: is told of an attempt that will not be submitted, and why.
    """

    def __init__(
        self,
        submit: Callable[[Sequence[Submission]], str],
        hold: Callable[[Submission, str], None],
        give_back: Callable[[Submission, str], None],
    ) -> None:
        self._submit = submit
        self._on_hold = hold
        self._give_back = give_back
        self._brakes: dict[str, Brake] = {}
        self._in_queue = 0
        """Jobs of the user that SLURM had when it was last asked."""
        self.held: list[Submission] = []
        """Not submitted yet, oldest first."""

    @property
    def trouble(self) -> str:
        """What sbatch does not take and why, for people; empty: nothing. The same words as long as it lasts."""
        return "; ".join(
            f"sbatch takes no jobs{f' of stage {stage}' if stage else ''} now ({brake.why}): they wait, and are "
            "submitted again, less often the longer this lasts"
            for stage, brake in self._brakes.items()
            if brake.why
        )

    def feed(self, groups: Iterable[Sequence[Submission]], now: float, *, silent: str = "") -> None:
        """Submit groups of attempts that share a script each, as far as sbatch takes them.

        Args:
            groups: the attempts.
            now: monotonic clock, s.
            silent: why SLURM does not answer; then each sbatch would wait for an answer.
        """
        for group in groups:
            self._feed_one(list(group), now, silent)

    def retry(
        self,
        regroup: Callable[[Sequence[Submission]], Iterable[Sequence[Submission]]],
        now: float,
        *,
        in_queue: int,
    ) -> None:
        """Submit again what is due.

        Args:
            regroup: makes groups of attempts.
            now: monotonic clock, s.
            in_queue: jobs of the user that SLURM has: fewer than before make room.
        """
        if in_queue < self._in_queue:
            for brake in self._brakes.values():
                brake.release()
        self._in_queue = in_queue
        due = [one for one in self.held if not any(brake.holds(now) for brake in self._brakes_of(one))]
        if due:
            self.feed(regroup(self.withdraw({one.attempt for one in due})), now)

    def note_in_queue(self, jobs: int) -> None:
        """Take in how many jobs of the user SLURM has."""
        self._in_queue = jobs

    def withdraw(self, attempts: Collection[str]) -> list[Submission]:
        """Take back those of these attempts that are held."""
        found = [one for one in self.held if one.attempt in attempts]
        self.held = [one for one in self.held if one.attempt not in attempts]
        return found

    def hold(self, group: Sequence[Submission], why: str) -> None:
        """Keep attempts for later."""
        for one in group:
            self.held.append(one)
            self._on_hold(one, why)

    def _brakes_of(self, one: Submission) -> list[Brake]:
        stage = str(one.request["stage"])
        return [self._brakes[key] for key in (ALL, stage) if key in self._brakes]

    def _feed_one(self, group: list[Submission], now: float, silent: str) -> None:
        stage = str(group[0].request["stage"])
        held_back = silent or next((brake.why for brake in self._brakes_of(group[0]) if brake.holds(now)), "")
        if held_back:
            self.hold(group, held_back)
            return
        brake = self._brakes.setdefault(stage, Brake())
        try:
            unanswered = self._submit(group)
        except SiteFull as error:
            half = len(group) // 2
            if half:
                self._feed_one(group[:half], now, silent)
                self._feed_one(group[half:], now, silent)
            else:
                brake.failed(now, without_name(str(error)), refused=False)
                self.hold(group, str(error))
        except BackendError as error:
            brake.failed(now, without_name(str(error)), refused=True)
            if not brake.given_up(now):
                self.hold(group, str(error))
                return
            for one in (*self.withdraw({one.attempt for one in self.held if one.request["stage"] == stage}), *group):
                self._give_back(one, str(error))
        else:
            if unanswered:
                why = f"slurmctld does not answer: {without_name(unanswered)}"
                self._brakes.setdefault(ALL, Brake()).failed(now, why, refused=False)
            else:
                brake.taken()
                self._brakes.pop(ALL, None)


def without_name(text: str) -> str:
    """What sbatch said, without the name of the job before it, which is another one at each try."""
    return text.partition(": ")[2] or text
