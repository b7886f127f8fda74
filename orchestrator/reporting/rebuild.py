"""Rebuilding the report if its input has changed; what writes it (scipy, matplotlib) is imported only then."""

import dataclasses
import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import PlanError
from orchestrator.plan.durations import Duration
from orchestrator.plan.job import Plan, Standing
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.collect import report_input
from orchestrator.reporting.registration.file import Entry
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.requirements import missing_libraries
from orchestrator.store.protocol import RECENT_S, Store
from reports.input import Race, ReportInput, ResultLine
from reports.spec import ReportSpec

if TYPE_CHECKING:  # what writes it is imported only then
    from reports.against import ResultsComparison

DIGEST = ".input-digest"
"""File in the report folder with the digest of the report's input, and of each file that was written from it."""

DIGESTED_AT_ONCE = 1000
"""Values."""

Tell = Callable[[str], None]
"""Takes a sentence for the user."""


def input_digest(input: ReportInput) -> str:
    """sha256 of the input and of the report's code: equal digests give equal reports."""
    rest = dataclasses.asdict(dataclasses.replace(input, values=()))
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True, default=_named).encode("utf-8"))
    # There may be millions: `asdict` copies every one of them.
    of_line = attrgetter(*(one.name for one in dataclasses.fields(ResultLine)))
    for first in range(0, len(input.values), DIGESTED_AT_ONCE):
        some = input.values[first : first + DIGESTED_AT_ONCE]
        digest.update(repr(list(map(of_line, some))).encode("utf-8"))
    return _with_code(digest, input.spec)


def _named(value: Any) -> str:
    """A function or file by its name, since addresses and folders vary."""
    if isinstance(value, Path):
        return value.name
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else str(value)


def report_code(spec: ReportSpec) -> str:
    """Digest of the code that writes the report, and of the study's part of it: equal code writes equal reports."""
    return _with_code(hashlib.sha256(), spec)


def _silent(_: str) -> None:
    """Tell nobody."""


def rebuild_if_changed(folder: Path, input: ReportInput, formats: Collection[str] = (), tell: Tell = _silent) -> bool:
    """Write the report into `folder` unless it was made from the same input; returns whether it was written.

    A report of another profile in `folder` is kept beside it as `report-{profile}`. A file that somebody has edited
    since it was written is kept as `NAME.edited-{sha256}`, and `tell` gets a sentence about it.

    Args:
        folder: of the report.
        input: of the report.
        formats: `reports.build.FORMATS` to write too; those that were asked for once are kept up to date.
        tell: gets what the user should know.
    """
    return _rebuild(folder, input, input_digest(input), "", formats, tell)


def report_if_needed(
    folder: Path,
    plan: Plan,
    standings: Mapping[str, Standing],
    store: Store,
    durations: Callable[[], Iterable[Duration]] = tuple,
    registered: Sequence[Entry] = (),
    formats: Collection[str] = (),
    tell: Tell = _silent,
    runs: Callable[[], Mapping[str, str]] = dict,
    cache: ResultsCache | None = None,
    race: Race | None = None,
) -> bool:
    """Like `rebuild_if_changed`, but without reading commit records if none was added or withdrawn since.

    It first compares the plan, the standings and the store's revision. `durations` returns how long jobs took,
    `registered` is what was registered of the plan, `runs` returns addresses of cells' runs, `cache` has what was read
    of artifacts before, and `race` is of the rows (`report_input`).

    Raises:
        PlanError: the results contradict each other.
    """
    quick = _quick(plan, standings, store.revision(RECENT_S), registered, race)
    remembered = _remembered(folder)
    if remembered.get("quick") == quick and _is_as_asked(folder, remembered, formats):
        return False
    given = report_input(plan, standings, store, durations(), registered, runs(), cache, race)
    try:
        return _rebuild(folder, given, input_digest(given), quick, formats, tell)
    except ValueError as error:
        raise PlanError(f"there is no report: {error}") from error


def write_report(
    folder: Path,
    given: ReportInput,
    formats: Collection[str] = (),
    tell: Tell = _silent,
    against: "ResultsComparison | None" = None,
) -> None:
    """Write the report into a folder of its own: a new or empty one, or one with a report.

    Args:
        folder: of the report.
        given: of the report.
        formats: as of `rebuild_if_changed`.
        tell: as of `rebuild_if_changed`.
        against: the comparison with other results, if the report is to have one.

    Raises:
        PlanError: the folder has other content.
    """
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / DIGEST).is_file())):
        raise PlanError(f"{folder} exists and has no report; allowed: a new folder, or one that `report` wrote")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / DIGEST).is_file():
        _write_note(folder, {"profile": given.profile})
    _rebuild(folder, given, "", "", formats, tell, replaced=True, against=against)


def remembered_files(folder: Path) -> Mapping[str, str]:
    """The files of the report in a folder -> the sha256 that each was written with; empty: there is no report."""
    return _files_of(_remembered(folder))


def edited_files(folder: Path) -> list[str]:
    """The files of the report in `folder` that are not as they were written; not those that were removed."""
    return [name for name, digest in remembered_files(folder).items() if _digest_of(folder / name) not in ("", digest)]


def _rebuild(
    folder: Path,
    given: ReportInput,
    digest: str,
    quick: str,
    formats: Collection[str],
    tell: Tell,
    *,
    replaced: bool = False,
    against: "ResultsComparison | None" = None,
) -> bool:
    remembered = _remembered(folder)
    note: dict[str, Any] = {"digest": digest, "quick": quick, "profile": given.profile}
    if digest and remembered.get("digest") == digest and _is_as_asked(folder, remembered, formats):
        _write_note(folder, {**remembered, **note})
        return False
    other = remembered.get("profile")
    if other is not None and other != given.profile and not replaced:
        kept = folder.with_name(f"{folder.name}-{other}")
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)
        remembered = {}
    elif remembered:
        for name in edited_files(folder):
            aside = f"{name}.edited-{_digest_of(folder / name)[:8]}"
            (folder / name).rename(folder / aside)
            tell(f"{folder / name} was edited since it was written: it is written anew, and the edited one is {aside}")
        _write_note(folder, {"profile": given.profile})  # the digest no longer matches from here on
    from reports.build import build
    from reports.forms.forms import FORMATS

    # What was asked for earlier may need what is not installed here.
    earlier = (name for name in _formats_of(remembered) if not missing_libraries(FORMATS.get(name, (name,))))
    wanted = sorted({*formats, *earlier})
    names = build(folder, given, wanted, against)
    for name in {*_files_of(remembered)} - {*names}:  # of a table or figure that there is no more
        (folder / name).unlink(missing_ok=True)
    _write_note(folder, {**note, "formats": wanted, "files": {name: _digest_of(folder / name) for name in names}})
    return True


def _is_as_asked(folder: Path, remembered: Mapping[str, Any], formats: Collection[str]) -> bool:
    """Whether every file is there as it was written, and in every format that is asked for."""
    files = _files_of(remembered)
    return (
        bool(files)
        and set(formats) <= set(_formats_of(remembered))
        and all(_digest_of(folder / name) == digest for name, digest in files.items())
    )


def _files_of(remembered: Mapping[str, Any]) -> Mapping[str, str]:
    files = remembered.get("files")
    return files if isinstance(files, dict) else {}


def _formats_of(remembered: Mapping[str, Any]) -> list[str]:
    formats = remembered.get("formats")
    return [str(name) for name in formats] if isinstance(formats, list) else []


def _digest_of(path: Path) -> str:
    """sha256 of a file; empty: it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _write_note(folder: Path, note: Mapping[str, Any]) -> None:
    temporary = folder / f"{DIGEST}.tmp"
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(folder / DIGEST)


def _remembered(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / DIGEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _quick(
    plan: Plan, standings: Mapping[str, Standing], revision: str, registered: Sequence[Entry], race: Race | None
) -> str:
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
    digest.update(repr(race).encode())
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
