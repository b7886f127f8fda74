"""Kinds of jobs: what all jobs of one stage and branch with the same sections and row share, and their items.

A plan has tens of thousands of jobs of a few dozen kinds, so what follows from a kind is computed once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import FingerprintsOfKind, content_of
from orchestrator.plan.job import Job, named_inputs
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload

Step = tuple[StageSpec, str | None, str]
"""Stage, branch and name of a job of a cell."""

SortedItems = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Item -> input stage -> items of that stage which it reads, sorted (`Workload.items`)."""


@dataclass(frozen=True, kw_only=True)
class ReadConfig:
    """What jobs of one stage and branch read of controls and branches, with equal sections."""

    given: Mapping[str, Any]
    """As in a request."""
    made: Mapping[str, Any]
    """What the fingerprint covers: of a job with items, without what it ignores and measures with."""
    measured: str = ""
    """Digest of what its items are measured with."""
    items: SortedItems | None = None
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def named(self) -> frozenset[str]:
        """Input stages of which items are read."""
        return named_inputs(self.reads, self.items or {})


class KindOfJob:
    """What all jobs of one stage and branch with the same sections and row share."""

    def __init__(self, step: Step, read: ReadConfig, row: Mapping[str, Any] | None, workload: Workload) -> None:
        self.spec, self.branch, self.name = step
        self.read, self.config, self.row = read, read.given, row
        try:
            self.revisions = workload.revisions_of(self.spec, read.given, row, self.branch)
        except KeyError as error:
            raise PlanError(
                f"workload {workload.name}: `revisions` has no line {error}, which stage {self.spec.name!r} reads; "
                f"add {error}: 1"
            ) from error
        self.needs: Mapping[str, str] = dict(inputs_of(workload, self.spec, self.branch))
        """Input stage -> name of the job of it that is read."""
        self.seeded = self.spec.name in workload.seeded
        """Whether its jobs differ in their seeds; else it has one."""
        self.jobs: dict[int | None, str] = {}
        """Seed -> id of its job; None: of all seeds."""
        self.fingerprints: FingerprintsOfKind | None = None
        """Of its jobs, once it has one; the fields below are filled at the same time."""
        self.inputs: dict[str, str] = {}
        """Stage -> id of the job of it that its first job reads."""
        self.stands: list[str] = []
        """What stands in its fingerprints for the inputs that have no seed."""
        self.varying: list[tuple[str, str, int]] = []
        """Stage and name of the other inputs, and the first digit of their fingerprints that stands there."""
        self.chosen: list[str] = []
        """Stages among these of which certain items stand there instead."""
        self.shared: dict[str, Any] = {}
        """The fields that all its jobs share."""


def own_contents(kind: KindOfJob, inputs: Mapping[str, Job]) -> dict[str, str]:
    """The items of jobs of a kind, with their contents."""
    found: dict[str, str] = {}
    for name, reads in sorted((kind.read.items or {}).items()):
        read = {
            stage: contents_of(inputs[stage], names, f"{kind.name}, item {name}")
            for stage, names in reads.items()
            if inputs[stage].items is not None
        }
        found[name] = content_of(name, read)
    return found


def contents_of(need: Job, names: Iterable[str], reader: str) -> dict[str, str]:
    """The contents of some items of an input.

    Raises:
        PlanError: it has no such item.
    """
    assert need.items is not None
    try:
        return {name: need.items[name] for name in sorted(names)}
    except KeyError as error:
        raise PlanError(
            f"{reader} reads item {error} of {need.label}, which has no such item; `items` and `reads` of the workload "
            "contradict each other"
        ) from error


def inputs_of(workload: Workload, stage: StageSpec, branch: str | None) -> Iterator[tuple[str, str]]:
    """Stage and name of each job whose artifact a job reads."""
    for need in stage.inputs:
        yield need, f"{need}/{branch}" if workload.by_name[need].branches else need
