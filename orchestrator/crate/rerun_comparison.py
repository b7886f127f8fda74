"""The result of a job that was run again against the one in the crate.

On a machine with the same record (kind of host, versions, numerics, threads, ranks) every file must have the same bits;
on another, the mean of each metric over the cases of a job may move by what the stage's `tolerances` state.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from orchestrator.crate.findings import Mismatch
from orchestrator.plan.job import SHORT, Job
from orchestrator.reporting.artifacts import lines_of
from orchestrator.spec.verdicts import EXECUTION
from orchestrator.store.protocol import PROGRAM, Commit, ManifestEntry
from orchestrator.wording import counted, shortened
from workloads.contract.metrics import CASES, METRICS, case_of, metric_of

SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """A result of a job: its commit record, its manifest, and a folder with those of its files that are compared."""

    commit: Commit
    manifest: Sequence[ManifestEntry]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class JobComparison:
    """How far two results of a job agree."""

    label: str
    equal: bool
    """Whether all bits are equal, but for the times in metrics.jsonl."""
    says: str
    differences: Sequence[Mismatch] = ()
    unchecked: Sequence[str] = ()
    compared: bool = True
    """False: its bits differ on another machine, and it has no values that could be compared."""


def compare_results(job: Job, recorded: JobResult, anew: JobResult) -> JobComparison:
    """Compare the result of the crate with the one that was made here.

    Raises:
        StoreError: a file of values is damaged.
    """
    other = _other_files(recorded.manifest, anew.manifest, job.spec.states)
    if job.spec.curve and _curve(job, recorded.folder) != _curve(job, anew.folder):
        other.append(f"{METRICS}: {job.spec.curve}")
    total = len({one.path for one in (*recorded.manifest, *anew.manifest)})
    if not other:
        return JobComparison(label=job.label, equal=True, says=f"equal bits in {counted(total, 'file')}")
    machine = machine_differences(recorded.commit, anew.commit)
    moved = _moved(job, recorded.folder, anew.folder)
    if (
        job.items is not None
        and not job.spec.continued
        and recorded.commit.origins.keys() >= job.items.keys()
        and not machine
    ):
        return _of_items(job, total, other, moved)
    if not machine:
        says = f"{counted(len(other), 'file')} of {total} with other bits, on a machine with the same record"
        means = f"{job.label} is not what the matrix and this code make of it: the recorded result was changed"
        ran, here = recorded.commit.code[:SHORT], anew.commit.code[:SHORT]
        if ran != here:
            means += f", or the code gives other results without a raised revision ({ran} there, {here} here)"
        where = f"{job.label}: {shortened(other, SHOWN)}"
        found = [Mismatch(where=where, expected="the recorded bits", found="other bits", means=means)]
        found += [one.mismatch(job.label, 0.0) for one in moved if one.distance]
        return JobComparison(label=job.label, equal=False, says=says, differences=found)
    says = f"{counted(len(other), 'file')} of {total} with other bits; another machine: {shortened(machine, SHOWN)}"
    judged = [(one, _allowed(job, one.metric)) for one in moved]
    differences = [
        one.mismatch(job.label, most) for one, most in judged if most is not None and not one.distance <= most
    ]
    without = [one.metric for one, most in judged if most is None and one.distance]
    unchecked = [f"{job.label}: no tolerance is stated for {shortened(without, SHOWN)}"] if without else []
    if moved:
        farthest = max(moved, key=lambda one: one.distance)
        says += f"; {counted(len(moved), 'mean')} compared, most moved {farthest.metric}: {farthest.distance:.2g}"
    else:
        says += "; it has no values to compare"
    return JobComparison(
        label=job.label,
        equal=False,
        says=says,
        differences=differences,
        unchecked=unchecked,
        compared=bool(moved),
    )


def _of_items(job: Job, total: int, other: Sequence[str], moved: Sequence["_Moved"]) -> JobComparison:
    """The comparison with an artifact of which a job has all its items: others may be in it too, so values decide."""
    far = [one for one in moved if one.distance]
    says = (
        f"taken over whole, so other items may be in the same artifact: {counted(total - len(other), 'file')} of equal "
    )
    says += f"bits, {counted(len(moved), 'mean')} over its own items compared"
    return JobComparison(
        label=job.label,
        equal=False,
        says=says,
        differences=[one.mismatch(job.label, 0.0) for one in far],
        unchecked=[] if moved else [f"{job.label}: {len(other)} of {total} files are of other items too"],
        compared=bool(moved),
    )


def _other_files(recorded: Sequence[ManifestEntry], anew: Sequence[ManifestEntry], states: str) -> list[str]:
    """Paths that differ; metrics.jsonl and the folder `states` have times, so their bits always do."""
    compared = ([one for one in listed if not _has_times(one.path, states)] for listed in (anew, recorded))
    ours, theirs = ({one.path: one for one in listed} for listed in compared)
    return sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))


def _has_times(path: str, states: str) -> bool:
    return path == METRICS or (bool(states) and path.startswith(f"{states}/"))


def _curve(job: Job, folder: Path) -> list[tuple[int, float]]:
    lines = lines_of(folder / METRICS, metric_of)
    return [(line["step"], line["value"]) for line in lines if line["name"] == job.spec.curve]


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """The mean of a metric in both results."""

    metric: str
    unit: str
    recorded: float
    anew: float
    case: str
    """The case that moved most, with both values."""

    @property
    def distance(self) -> float:
        return abs(self.recorded - self.anew)

    def mismatch(self, label: str, most: float) -> Mismatch:
        allowed = f"; allowed: {most:g}" if most else ""
        unit = "" if self.unit == "1" else f" {self.unit}"
        return Mismatch(
            where=f"{label}: mean of {self.metric}",
            expected=f"{self.recorded:.6g}{unit} as recorded",
            found=f"{self.anew:.6g}{unit} here",
            means=f"they differ by {self.distance:.3g}{allowed}; most in {self.case}",
        )


def _moved(job: Job, recorded: Path, anew: Path) -> list[_Moved]:
    """The metrics of both results, in order of the recorded one; a metric or case of only one is infinitely far."""
    if job.branch is None:
        return []
    return [one for part in job.parts for one in _moved_of(job, recorded / part, anew / part)]


def _moved_of(job: Job, recorded: Path, anew: Path) -> list[_Moved]:
    theirs, ours = _values(job, recorded), _values(job, anew)
    found = []
    for metric, unit in dict.fromkeys([*theirs, *ours]):
        a, b = theirs.get((metric, unit), {}), ours.get((metric, unit), {})
        if a.keys() != b.keys():
            one = sorted(a.keys() ^ b.keys())[0]
            found.append(
                _Moved(metric=metric, unit=unit, recorded=_mean(a), anew=float("nan"), case=f"{one} (in one only)")
            )
            continue
        case = max(a, key=lambda name: abs(a[name] - b[name]))
        text = f"{case}: {a[case]:.6g} and {b[case]:.6g}"
        found.append(_Moved(metric=metric, unit=unit, recorded=_mean(a), anew=_mean(b), case=text))
    return found


def _values(job: Job, folder: Path) -> Mapping[tuple[str, str], Mapping[str, float]]:
    """(metric, unit) -> case -> value, of the cases of the job."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for line in lines_of(folder / CASES, case_of):
        if job.has_case(line["case"]):
            found[line["metric"], line["unit"]][line["case"]] = line["value"]
    return found


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values) if values else float("nan")


def _allowed(job: Job, metric: str) -> float | None:
    """The stated tolerance of a metric; None: none is."""
    return next((one.most for one in job.spec.tolerances if fnmatchcase(metric, one.metric)), None)


def machine_differences(recorded: Commit, here: Commit) -> list[str]:
    """In what the machine of a result differs from this one, as far as it decides bits; empty: in nothing."""
    theirs, ours = _machine(recorded), _machine(here)
    found: list[str] = []
    for name in ours:
        a, b = _flat(name, theirs[name]), _flat(name, ours[name])
        if a and b:
            found += [f"{key} {a.get(key)} there, {b.get(key)} here" for key in {**a, **b} if a.get(key) != b.get(key)]
        elif a or b:
            found.append(f"{name} not recorded {'here' if a else 'there'}")
    return found


def _machine(commit: Commit) -> dict[str, Any]:
    versions = {name: version for name, version in commit.versions.items() if name != PROGRAM}
    records: Mapping[str, Any] = commit.result.get("records", {})
    return {"host_kind": commit.host_kind, **{key: records.get(key) for key in EXECUTION}, "versions": versions}


def _flat(at: str, value: Any) -> dict[str, str]:
    """Setting -> value as text, at every depth."""
    if isinstance(value, Mapping):
        return {name: text for key, one in value.items() for name, text in _flat(f"{at}.{key}", one).items()}
    return {} if value is None else {at: str(value)}
