"""Rebuilding the report if its input has changed; what writes it (scipy, matplotlib) is imported only then."""

import dataclasses
import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.plan.durations import Duration
from orchestrator.plan.job import Plan, Standing
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.collect import report_input
from orchestrator.reporting.registration.file import Entry
from orchestrator.store.protocol import RECENT_S, Store
from reports.input import NUMBERS, PAGE, RESULTS, ReportInput
from reports.spec import ReportSpec

DIGEST = ".input-digest"
"""File in the report folder with the digest of the report's input, and of what was written from it."""
WRITTEN = (RESULTS, NUMBERS, PAGE)


def input_digest(input: ReportInput) -> str:
    """sha256 of the input and of the report's code: equal digests give equal reports."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(input), sort_keys=True, default=_named).encode("utf-8"))
    return _with_code(digest, input.spec)


def _named(value: Any) -> str:
    """A function or file by its name, since addresses and folders vary."""
    if isinstance(value, Path):
        return value.name
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else str(value)


def report_code(spec: ReportSpec) -> str:
    """Digest of the code that writes the report, and of the study's part of it: equal code writes equal reports."""
    return _with_code(hashlib.sha256(), spec)


def rebuild_if_changed(folder: Path, input: ReportInput) -> bool:
    """Write the report into `folder` unless it was made from the same input; returns whether it was written.

    A report of another profile in `folder` is kept beside it as `report-{profile}`.
    """
    return _rebuild(folder, input, input_digest(input), quick="")


def report_if_needed(
    folder: Path,
    plan: Plan,
    standings: Mapping[str, Standing],
    store: Store,
    durations: Callable[[], Iterable[Duration]] = tuple,
    registered: Sequence[Entry] = (),
) -> bool:
    """Like `rebuild_if_changed`, but without reading commit records if none was added or withdrawn since.

    It first compares the plan, the standings and the store's revision. `durations` returns how long jobs took,
    `registered` is what was registered of the plan.
    """
    quick = _quick(plan, standings, store.revision(RECENT_S), registered)
    remembered = _remembered(folder)
    if remembered.get("quick") == quick and _is_as_written(folder, remembered):
        return False
    given = report_input(plan, standings, store, durations(), registered)
    return _rebuild(folder, given, input_digest(given), quick)


def _rebuild(folder: Path, given: ReportInput, digest: str, quick: str) -> bool:
    remembered = _remembered(folder)
    note = {"digest": digest, "quick": quick, "profile": given.profile}
    if remembered.get("digest") == digest and _is_as_written(folder, remembered):
        _write_note(folder, {**note, "written": remembered["written"]})
        return False
    other = remembered.get("profile")
    if other is not None and other != given.profile:
        kept = folder.with_name(f"{folder.name}-{other}")
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)
    elif remembered:
        _write_note(folder, {"profile": given.profile})  # the digest no longer matches from here on
    from reports.build import build

    build(folder, given)
    _write_note(folder, {**note, "written": _digest_of_written(folder)})
    return True


def _is_as_written(folder: Path, remembered: Mapping[str, str]) -> bool:
    """Whether nobody has removed or edited a file of the report since."""
    try:
        return remembered.get("written") == _digest_of_written(folder)
    except OSError:
        return False


def _digest_of_written(folder: Path) -> str:
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in WRITTEN]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _write_note(folder: Path, note: Mapping[str, str]) -> None:
    temporary = folder / f"{DIGEST}.tmp"
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(folder / DIGEST)


def _remembered(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / DIGEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _quick(plan: Plan, standings: Mapping[str, Standing], revision: str, registered: Sequence[Entry]) -> str:
    digest = hashlib.sha256(f"{plan.study} {plan.profile} {plan.controls_fingerprint}".encode())
    for cell in plan.cells:
        digest.update(f"{cell.id} {cell.fingerprint} {cell.alias_of}\n".encode())
    for job in plan.jobs.values():
        standing = standings.get(job.id)
        said = "" if standing is None else f"{standing.state} {standing.reason}"
        digest.update(f"{job.id} {job.fingerprint} {said}\n".encode())
    digest.update(repr((sorted((k, tuple(v)) for k, v in plan.tables.items()), plan.deviations)).encode())
    digest.update(repr([(one.id, one.entry) for one in plan.excluded]).encode())
    digest.update(repr(list(plan.outside)).encode())
    digest.update(revision.encode())
    digest.update(repr([one.digest for one in registered]).encode())
    for metric in plan.workload.derived:
        digest.update(f"{metric.name} {metric.of} {metric.branches} {metric.unit}\n".encode())
        digest.update(_source_of(metric.value))
    return _with_code(digest, report_spec(plan.workload))


def _source_of(function: Callable[..., Any]) -> bytes:
    """The file of a function; of one that has none, such as `max` or a `partial`, how it is printed."""
    try:
        return Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):
        return repr(function).encode()


def _with_code(digest: Any, spec: ReportSpec) -> str:
    """Add the code of the report and of its specification to a digest, so that an upgrade rebuilds the report."""
    import reports

    for root in (*map(Path, reports.__path__), *spec.code):
        for path in sorted(root.rglob("*")):
            if path.suffix in (".py", ".j2", ".css", ".csv"):
                digest.update(path.read_bytes())
    return str(digest.hexdigest())
