"""Stages: what a workload declares of one kind of job. Standard library only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RecordCheck:
    """A value in a job's `result.records` that must be equal in all compared cells that agree on what it depends on.

    The report shows unequal values as `violated`.
    """

    record: str
    depends: tuple[str, ...] = ()
    """Sections under `controls`, or `section.key`, that the value depends on besides the seed."""
    declared: Mapping[str, str] = field(default_factory=dict)
    """Names in `Row.declared` that it depends on as well -> why rows may differ in them, for people. Rows that declare
    the same must have recorded the same; one that declares something else than most is listed among the report's
    deviations. Where the record itself is named, every row must have recorded what it declares."""
    optional: bool = False
    """Some studies record it and some do not: no line while no job of the study has it."""


@dataclass(frozen=True, kw_only=True)
class CountCheck:
    """A value in a job's `result.records` that counts what the job left out, such as rejected steps.

    The report lists it for each cell, with the bound; above it the cell is `violated`.
    """

    record: str
    what: str
    """What is counted, for people: `rejected steps`."""
    of: str
    """`section.key` under `controls`: how many there were."""
    most: str
    """`section.key` under `controls`: the largest share that a job may leave out."""

    @staticmethod
    def allowed(share: float, whole: int) -> int:
        """The largest number that is at most `share` of `whole`."""
        return math.floor(share * whole + 1e-9)  # 0.29 * 100 is 28.999999999999996


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a metric may move where a job is run again on a machine that computes other last digits."""

    metric: str
    """Name in cases.jsonl, or a glob; the first that matches counts."""
    most: float
    """Largest difference of the mean over the job's cases, in the metric's unit."""


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A stage: one kind of job.

    Fingerprint and request of a job have exactly what is declared here: sections, row, seed, branch and inputs.
    """

    name: str
    """Part of labels, ids and paths: letters, digits and '_', first a letter; no keyword of Python."""
    module: str
    """Module with `run(request, progress) -> StageOutcome`, imported by the job."""
    inputs: tuple[str, ...] = ()
    """Stages whose artifacts it reads; from a stage with branches, that of the same branch."""
    sections: tuple[str, ...] = ()
    """Sections under `controls` that it reads; `section.key` for a single key."""
    row: Literal["none", "trained", "evaluated", "references"] = "none"
    """Whether it reads the row, and in which form: `Row.trained()` or `Row.evaluated()`.

    "references": it reads all reference rows at once, as `config[REFERENCES]`, and they go through such stages and no
    others but those that these read. What a job of one row writes, it writes for each row in a folder, named as its
    part.
    """
    seed: bool = False
    """Whether it reads the seed; otherwise all seeds share its job."""
    branches: tuple[str, ...] = ()
    """One job for each of these; (): one job without a branch."""
    item: str = ""
    """What an item of its jobs is (`Workload.items`), for people: `case`; empty: they are not counted for people."""
    ignored: tuple[str, ...] = ()
    """Keys that are in no fingerprint of a job whose items are known (`Workload.items`): `section`, `section.key`,
    `branch` or `branch.key`. They say how many items there are, or only another stage reads them.
    """
    measuring: tuple[str, ...] = ()
    """Keys, likewise, that are read once an item is made, to measure it: with other values nothing is made again."""
    measuring_revision: int = 1
    """Increase it when what is measured of an item changes, such as by a new metric: nothing is made again for it."""
    pooled: tuple[str, ...] = ()
    """Branches on which its artifact has values over all items together: each set of items has an artifact of its own.

    Elsewhere a job whose items are all in another job's artifact is done.
    """
    continued: str = ""
    """`section.key` of how many steps a job takes, of a stage whose longer jobs continue shorter ones; empty: none do.

    Its item, if a job has one, is the step up to which it is the same as every longer one, zero-padded. A job begins
    with the longest finished one of its base up to its own item, whose state its artifact has; it is never done by
    another. A job that is like no longer one has no items.
    """
    states: str = ""
    """Folder of the artifact with the state with which longer jobs begin; it has times: its bits are no result."""
    anew: str = ""
    """Why a job of such a stage has no items, for people who ask for more steps, and what would have some."""
    revision: int = 1
    """Increase it when the stage changes its meaning: its jobs and their dependents run again."""
    performs: tuple[str, ...] = ()
    """Other stages whose work it does as well: their revisions and the kinds of theirs enter its fingerprint too."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Kind -> `section.key`; the revision `kind/VALUE` of `Workload.revisions` enters the fingerprint too."""
    resources_of: str = ""
    """Another stage whose resources it has in a profile that does not name it; for a stage that came later."""
    seconds_guess: float = 60.0
    """Guessed duration, s, until a first job has ended, of jobs whose FLOPs are not known (`Workload.flops`)."""
    smoke: bool = False
    """`run --smoke` shortens it (`request.smoke`); otherwise a smoke run uses the real jobs."""
    tracked: bool = False
    """Its jobs are results of a cell: in the cell's run of the tracker, in its cost, and missing if not done."""
    curve: str = ""
    """Metric of metrics.jsonl that the report draws and the tracker logs at every step; empty: none."""
    checks: tuple[RecordCheck, ...] = ()
    """Records that the report compares between cells, of a stage that is `tracked`."""
    counted: tuple[CountCheck, ...] = ()
    """Records that count what the job left out, and how much it may be."""
    of_items: tuple[str, ...] = ()
    """Records that are `{item: value}`."""
    uncompared: Mapping[str, str] = field(default_factory=dict)
    """Record -> why it is not compared between cells, for people."""
    told: str = ""
    """Record whose keys are sentences for the notes of the report, such as why cases have no value."""
    files: tuple[tuple[str, str, int | None], ...] = ()
    """(folder of the artifact, glob, how many at most) of files that the tracker logs."""
    about: str = ""
    """What its case values mean and how they are made, for people: the tracker shows it beside them. Markdown."""
    images: str = ""
    """Folder of the artifact with PNG files, one per case, for the report; `cases.json` may name the cases."""
    videos: str = ""
    """Folder of the artifact with MP4 files, named as the images, of some cases, for the report."""
    kept_videos: str = ""
    """Pattern (`fnmatch`) of the artifact's files that only later jobs read, such as the videos of its items, and that
    `gc` may remove (`keep_videos_gib` in cluster files); a job that needs them has them made again. Empty: none.
    """
    pointer: str = ""
    """File of the artifact to which the tracker logs only a link, because it is large."""
    global_batch: str = ""
    """`section.key` of the samples per step, which ranks and micro-batches divide; empty: it has no batches."""
    memory_remedies: tuple[str, ...] = ()
    """What reduces the memory it needs, besides more devices and memory: named to people when a job ran out of it."""
    whole_checkpoints: bool = False
    """Each checkpoint is complete, so that older ones are deleted; otherwise each holds a part of the work."""
    reshard: str = ""
    """Program (`python -m`) of the command `reshard`; empty: its checkpoints cannot be converted."""
    tolerances: tuple[Tolerance, ...] = ()
    """For `audit --rerun`: a metric that none of these names is not judged on another machine."""
    preload: tuple[str, ...] = ()
    """Modules that a warm server imports before its first job of this stage, and whose libraries `run` looks for.

    With torch among them, a job imports it and records its settings from the start; otherwise only once it is used.
    """
    environment: tuple[str, ...] = ()
    """Variables that its jobs read beside those of every job (`NAME` or `PREFIX_*`): addresses and keys of services.

    The jobs of other stages do not get them.
    """
