"""The SLURM backend: attempts as SLURM jobs, in pilot jobs, or both, each for stages of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import (
    Adoption,
    Autoscaling,
    Backend,
    ExpectedWork,
    HostShare,
    JobQueue,
    PlacingBackend,
    QueueingBackend,
    Report,
    Submission,
    WorkPlanning,
)
from orchestrator.backends.slurm.core.backend import QUEUE, JobBackend
from orchestrator.backends.slurm.core.commands import SlurmSilent
from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.pilot.backend import PilotBackend
from orchestrator.backends.slurm.pilot.pilot import find_pilots
from orchestrator.backends.slurm.settings import SlurmSettings
from orchestrator.spec.cell import Resources
from orchestrator.store.location import StoreLocation


def slurm_backend(context: BackendContext, slurm: SlurmSettings) -> Backend:
    """The backend that the section `slurm` describes.

    Pilot jobs of an earlier driver are followed although none are asked for any more.
    """
    slurm = slurm.without_spread(context.stages, context.resources)
    queue = SlurmQueue(slurm.poll_s)
    jobs = JobBackend(context, slurm, queue)
    if slurm.pilot is None and not find_pilots(context.home, context.code_digest):
        return jobs
    others = tuple(stage for stage in context.stages if not slurm.in_pilots(stage))
    return SlurmBackend(jobs, PilotBackend(context, slurm, queue), others)


class SlurmBackend:
    """Some stages as SLURM jobs, the others in pilot jobs; an attempt's host says to which of the two it belongs."""

    name = "slurm"
    outlives_driver = True

    def __init__(self, jobs: JobBackend, pilots: PilotBackend, stages: tuple[str, ...]) -> None:
        """Join two backends; `stages` are those that become SLURM jobs. None: attempts of an earlier driver alone."""
        self._jobs = jobs
        self._pilots = pilots
        self._stages = stages
        self._known: tuple[JobQueue, ...] = ()

    def waiting_for_room(self, jobs: Mapping[tuple[str, Resources], int]) -> None:
        """Pilot jobs are submitted only for stages that run in them."""
        self._pilots.waiting_for_room(jobs)

    def expected_work(self, work: Mapping[tuple[str, Resources], ExpectedWork]) -> None:
        """As `PilotBackend.expected_work`."""
        self._pilots.expected_work(work)

    def pending_hosts(self) -> str:
        """Which pilot jobs are on their way, and what sbatch does not take now."""
        return "; ".join(filter(None, (self._jobs.pending_hosts(), self._pilots.pending_hosts())))

    def queues(self) -> Sequence[JobQueue]:
        """SLURM's queue, for the stages that become jobs; it takes nothing while SLURM does not answer.

        Raises:
            BackendError: as for `JobBackend.queues`.
        """
        if not self._stages:
            return ()
        try:
            self._known = tuple(replace(queue, stages=self._stages) for queue in self._jobs.queues())
        except SlurmSilent:
            if not self._known:
                raise
            self._known = tuple(replace(queue, slots=0) for queue in self._known)
        return self._known

    def hosts(self) -> Sequence[HostShare]:
        """The nodes of the pilot jobs.

        Raises:
            BackendError: as for `PilotBackend.hosts`.
        """
        return self._pilots.hosts()

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Start attempts, each where it was placed; what the first takes goes on when the second refuses."""
        jobs = [one for one in submissions if one.placement.host == QUEUE]
        others = [one for one in submissions if one.placement.host != QUEUE]
        return {
            **(self._jobs.submit(jobs) if jobs else {}),
            **(self._pilots.submit(others) if others else {}),
        }

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Take up attempts of an earlier driver, each where it was placed."""
        if jobs := [one for one in attempts if one.placement.host == QUEUE]:
            self._jobs.adopt(jobs)
        self._pilots.adopt([one for one in attempts if one.placement.host != QUEUE])

    def poll(self) -> Mapping[str, Report]:
        """What both know."""
        return {**self._jobs.poll(), **self._pilots.poll()}

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end; each backend knows its own."""
        self._jobs.stop(attempts)
        self._pilots.stop(attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._jobs.kill(attempts)
        self._pilots.kill(attempts)

    def close(self) -> None:
        """Let go of both."""
        self._jobs.close()
        self._pilots.close()


if TYPE_CHECKING:
    _context = BackendContext(home=Path(), store=StoreLocation(folder=""))
    _jobs, _pilots = JobBackend(_context, SlurmSettings()), PilotBackend(_context, SlurmSettings())
    _both = SlurmBackend(_jobs, _pilots, ())
    _queueing: tuple[QueueingBackend, QueueingBackend] = _jobs, _both
    _placing: tuple[PlacingBackend, PlacingBackend] = _pilots, _both
    _autoscaling: tuple[Autoscaling, Autoscaling, Autoscaling] = _jobs, _pilots, _both
    _planning: tuple[WorkPlanning, WorkPlanning] = _pilots, _both
