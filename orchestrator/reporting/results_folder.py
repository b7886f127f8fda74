"""Results folder: the input of a report as files that fit into a repository, and the report made from them.

```
input.json         what the report is made from beside values: rows, costs, thinned curves, verdicts, durations, notes
results.csv.gz     every value, as in results.csv
fingerprints.json  commit, controls, and the fingerprint of every job that is done
strips/            images and videos that the page shows of the best, middle and reference rows (reports/excerpt.py)
```

The same results give the same bytes. `input.json` has the sha256 of the values and of each image, so that a folder of
two runs, or an edited one, is refused. Other files of the folder are nobody's business.
"""

import gzip
import hashlib
import json
import math
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec, restricted
from orchestrator.reporting.decoding import decoded
from reports.columns import columns
from reports.excerpt import excerpt
from reports.input import (
    ControlsCertificate,
    Cost,
    Curve,
    Excluded,
    JobDuration,
    LeftOut,
    Missing,
    OfCell,
    Race,
    Registration,
    ReportInput,
    RowInfo,
    Source,
    Strip,
    Video,
)
from reports.results_csv import results_csv, written_table
from workloads.contract.json_files import object_of, read_plain

INPUT, VALUES, FINGERPRINTS, STRIPS = "input.json", "results.csv.gz", "fingerprints.json", "strips"
VERSION = 1
"""Of the layout; a folder of another one is refused."""
MOST_VALUES = 128 << 20
"""Bytes of the values, decompressed."""
STRIP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*\.(?:png|mp4)")
"""Name of the file of an image or a video."""


@dataclass(frozen=True, kw_only=True)
class KeptStrip(OfCell):
    """An image or a video: the file in `strips/` and its sha256."""

    branch: str
    case: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class KeptCurve(OfCell):
    """A training loss; null is a value that is not finite."""

    steps: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class KeptInput:
    """The content of input.json; names as in `ReportInput`."""

    version: int
    workload: str
    """`package.module` of the study, whose `ReportSpec` the report needs."""
    values_sha256: str
    """Of results.csv, decompressed."""
    study: str
    profile: str
    seeds: Sequence[int]
    rows: Sequence[RowInfo]
    missing: Sequence[Missing]
    sections: Mapping[str, Any]
    excluded: Sequence[Excluded]
    git: str
    tables: Mapping[str, Sequence[str]]
    costs: Sequence[Cost]
    strips: Sequence[KeptStrip]
    curves: Sequence[KeptCurve]
    controls: ControlsCertificate
    durations: Sequence[JobDuration]
    notes: Sequence[str] = field(default_factory=tuple)
    left_out: Sequence[LeftOut] = field(default_factory=tuple)
    outside: Sequence[str] = field(default_factory=tuple)
    defaults: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[Source] = field(default_factory=tuple)
    branches: Sequence[str] | None = None
    """Those that were on: the report is about no other one; None in older folders, whose branches all were."""
    registration: Registration | None = None
    race: Race | None = None
    videos: Sequence[KeptStrip] = field(default_factory=tuple)
    """In the same folder."""


SAME = ("study", "profile", "seeds", "rows", "missing", "sections", "excluded", "git", "tables", "costs", "controls")
SAME_AT_LAST = ("durations", "notes", "left_out", "outside", "registration", "race", "sources", "defaults")
"""Fields that are kept as they are."""


def write_results_folder(folder: Path, given: ReportInput, plan: Plan, done: frozenset[str]) -> int:
    """Write the input into a new folder, or over one that was written before; returns its bytes.

    Args:
        folder: made if need be.
        given: of the report.
        plan: of the same results.
        done: fingerprints of the jobs that are done.

    Raises:
        PlanError: the folder has other content.
    """
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / INPUT).is_file())):
        raise PlanError(f"--export {folder}: exists and has no {INPUT}; allowed: a new folder, or one of --export")
    kept = excerpt(given)
    values = results_csv(columns(kept.values)).encode("utf-8")
    pictures: list[Strip | Video] = [*kept.strips, *kept.videos]
    images = {_file_of(i, one): Path(one.path).read_bytes() for i, one in enumerate(pictures)}
    listed = [
        KeptStrip(**_cell(one), branch=one.branch, case=one.case, file=name, sha256=_sha256(content))
        for one, (name, content) in zip(pictures, images.items(), strict=True)
    ]
    document = KeptInput(
        version=VERSION,
        workload=plan.workload_name,
        values_sha256=_sha256(values),
        strips=listed[: len(kept.strips)],
        videos=listed[len(kept.strips) :],
        curves=[_kept_curve(curve) for curve in kept.curves],
        branches=plan.branches,
        **{name: getattr(kept, name) for name in (*SAME, *SAME_AT_LAST)},
    )
    fingerprints = {
        "commit": given.git,
        "controls": plan.controls_fingerprint,
        "jobs": {job.label: job.fingerprint for job in plan.jobs.values() if job.fingerprint in done},
    }
    files = {
        **{f"{STRIPS}/{name}": content for name, content in images.items()},
        VALUES: gzip.compress(values, 9, mtime=0),
        FINGERPRINTS: _json(fingerprints),
        INPUT: _json(asdict(document)),
    }
    shutil.rmtree(folder / STRIPS, ignore_errors=True)
    (folder / STRIPS).mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sum(map(len, files.values()))


def read_results_folder(folder: Path, plan: Plan) -> ReportInput:
    """The input of a report from a folder that `write_results_folder` wrote.

    Args:
        folder: with `input.json`.
        plan: of a matrix with the same workload, which says how its results are reported.

    Raises:
        PlanError: a file is missing, damaged or edited, or has another version; or the workload is another one.
    """
    try:
        raw = object_of(read_plain(folder / INPUT, links=False), folder / INPUT)
        if raw.get("version") != VERSION:
            raise ValueError(
                f"{folder / INPUT}: version is {str(raw.get('version'))[:40]!r}; this echo-matrix reads version "
                f"{VERSION}; use the one that wrote the folder"
            )
        kept: KeptInput = decoded(KeptInput, raw, str(folder / INPUT))
        if kept.workload != plan.workload_name:
            raise ValueError(
                f"{folder / INPUT}: results of workload {kept.workload!r}, and the matrix has {plan.workload_name!r}; "
                "name a matrix of that workload with --matrix"
            )
        values = _decompressed(folder / VALUES)
        _check(values, kept.values_sha256, folder / VALUES)
        spec = report_spec(plan.workload)
        table = written_table(values.decode("utf-8"), str(folder / VALUES))
        table.check(spec, [info.name for info in kept.rows], kept.seeds)
        return ReportInput(
            values=table.values,
            strips=[Strip(**_picture(folder, one)) for one in kept.strips],
            videos=[Video(**_picture(folder, one)) for one in kept.videos],
            curves=[_curve(curve) for curve in kept.curves],
            spec=spec if kept.branches is None else restricted(spec, kept.branches),
            **{name: getattr(kept, name) for name in (*SAME, *SAME_AT_LAST)},
        )
    except OSError as error:
        raise PlanError(f"--source {folder}: {error}; allowed: a folder that `report --export` wrote") from error
    except ValueError as error:
        raise PlanError(str(error)) from error


def _picture(folder: Path, kept: KeptStrip) -> dict[str, Any]:
    """The fields of an image or a video."""
    if not STRIP.fullmatch(kept.file):
        raise ValueError(f"{folder / INPUT}: {kept.file!r} is no name of a file in {STRIPS}/")
    path = folder / STRIPS / kept.file
    _check(read_plain(path, links=False), kept.sha256, path)
    return {**_cell(kept), "branch": kept.branch, "case": kept.case, "path": str(path)}


def _kept_curve(curve: Curve) -> KeptCurve:
    values = [value if math.isfinite(value) else None for value in curve.values]
    return KeptCurve(**_cell(curve), steps=curve.steps, values=values)


def _curve(kept: KeptCurve) -> Curve:
    values = [math.nan if value is None else value for value in kept.values]
    return Curve(**_cell(kept), steps=kept.steps, values=values)


def _cell(of: OfCell) -> dict[str, Any]:
    return {"row": of.row, "seed": of.seed, "axes": of.axes}


def _file_of(number: int, of: Strip | Video) -> str:
    """`07-return-context-k20.png`: unique by its number."""
    name = "-".join(filter(None, (of.branch, of.row, of.axes)))
    return f"{number:02d}-{re.sub(r'[^A-Za-z0-9._=-]+', '_', name)[:100]}.{'png' if isinstance(of, Strip) else 'mp4'}"


def _decompressed(path: Path) -> bytes:
    try:
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(read_plain(path, links=False), MOST_VALUES)
    except zlib.error as error:
        raise ValueError(f"{path}: is no gzip file: {error}") from error
    if not stream.eof:
        raise ValueError(f"{path}: ends early, or has more than {MOST_VALUES} bytes")
    return content


def _check(content: bytes, digest: str, path: Path) -> None:
    if _sha256(content) != digest:
        raise ValueError(f"{path}: is not the file that {INPUT} was written with: its sha256 is another one")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(content: Mapping[str, Any]) -> bytes:
    """A key a line, and an entry a line of lists and objects, in their order, so that versions can be compared."""
    keys = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            entries = ",\n  ".join(f"{_compact(name)}: {_compact(entry)}" for name, entry in value.items())
            keys.append(f"{_compact(key)}: {{\n  {entries}\n }}")
        elif isinstance(value, list | tuple) and value:
            entries = ",\n  ".join(map(_compact, value))
            keys.append(f"{_compact(key)}: [\n  {entries}\n ]")
        else:
            keys.append(f"{_compact(key)}: {_compact(value)}")
    return ("{\n " + ",\n ".join(keys) + "\n}\n").encode("utf-8")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
