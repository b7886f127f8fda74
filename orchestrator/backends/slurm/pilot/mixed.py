"""Which backend `slurm` is: jobs of SLURM, packed, or both, each for stages of its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.protocol import Adoption, Backend, Elastic, HostShare, Report, Submission
from orchestrator.backends.slurm.core.backend import HOST, SlurmBackend
from orchestrator.backends.slurm.core.commands import SlurmSilent
from orchestrator.backends.slurm.core.queue import Queue
from orchestrator.backends.slurm.pilot.backend import PackedBackend
from orchestrator.backends.slurm.pilot.pilot import find_packs
from orchestrator.host.warm_server import COMMAND
from workloads.study.stages import STAGES


def slurm_backend(
    home: Path,
    store_kind: str,
    store_root: Path,
    cluster: Any,
    code_digest: str = "",
    git: str = "",
    *,
    server: Sequence[str] = COMMAND,
) -> Backend:
    """The backend that `slurm` in cluster/slurm.yaml describes; arguments as for its parts."""

    queue = Queue(cluster.slurm.poll_s)

    def make(kind: Any) -> Any:
        return kind(home, store_kind, store_root, cluster, code_digest, git, server=server, queue=queue)

    packed = cluster.slurm.packed
    if packed is None and not find_packs(home, code_digest):
        plain: Backend = make(SlurmBackend)
        return plain
    stages = () if packed is None else packed.stages
    others = () if stages is None else tuple(stage.name for stage in STAGES if stage.name not in stages)
    return MixedBackend(make(SlurmBackend), make(PackedBackend), others)


class MixedBackend:
    """Some stages as jobs of SLURM, the others packed; an attempt's host says to which of the two it belongs."""

    name = "slurm"
    outlives_driver = True

    def __init__(self, jobs: Backend, packed: PackedBackend, stages: tuple[str, ...]) -> None:
        """Join two backends; `stages` are those whose attempts are jobs: of an earlier driver's, if there is none."""
        self._jobs = jobs
        self._packed = packed
        self._stages = stages
        self._known: tuple[HostShare, ...] = ()

    def waiting_for_room(self, stages: Collection[str]) -> None:
        """What waits: allocations are asked for only for those that are packed."""
        self._packed.waiting_for_room(stages)

    def asking(self) -> str:
        """Which allocations are on their way."""
        return self._packed.asking()

    def hosts(self) -> Sequence[HostShare]:
        """The hosts of both, each for its stages.

        Raises:
            BackendError: as for the two. While SLURM is silent, allocations that serve are filled all the same.
        """
        if not self._stages:
            return self._packed.hosts()
        try:
            self._known = tuple(replace(host, stages=self._stages) for host in self._jobs.hosts())
        except SlurmSilent:
            if not self._known:
                raise
            self._known = tuple(replace(host, jobs=0) for host in self._known)
        return (*self._known, *self._packed.hosts())

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Start attempts, each where it was placed; what the first takes goes on when the second refuses."""
        jobs = [one for one in submissions if one.placement.host == HOST]
        others = [one for one in submissions if one.placement.host != HOST]
        return {
            **(self._jobs.submit(jobs) if jobs else {}),
            **(self._packed.submit(others) if others else {}),
        }

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Take up attempts of an earlier driver, each where it was placed."""
        if jobs := [one for one in attempts if one.placement.host == HOST]:
            self._jobs.adopt(jobs)
        self._packed.adopt([one for one in attempts if one.placement.host != HOST])

    def poll(self) -> Mapping[str, Report]:
        """What both know."""
        return {**self._jobs.poll(), **self._packed.poll()}

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end; each backend knows its own."""
        self._jobs.stop(attempts)
        self._packed.stop(attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._jobs.kill(attempts)
        self._packed.kill(attempts)

    def close(self) -> None:
        """Let go of both."""
        self._jobs.close()
        self._packed.close()


if TYPE_CHECKING:
    _packed = PackedBackend(Path(), "", Path(), None)
    _: Backend = MixedBackend(SlurmBackend(Path(), "", Path(), None), _packed, ())
    _elastic: tuple[Elastic, Elastic] = (MixedBackend(SlurmBackend(Path(), "", Path(), None), _packed, ()), _packed)
