"""Committed artifacts of a plan: commit records, case values, curves and images, each read once.

What is read has the bytes that were committed: `fetch_files` compares them, and a file that no manifest names is none.
Only the files that are read are fetched: never weights.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from orchestrator.errors import StoreError
from orchestrator.plan.job import Plan
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.store.manifest import REFRESH_HINT
from orchestrator.store.protocol import RECENT_S, Commit, StoreReader
from workloads.contract.json_files import read_plain
from workloads.contract.metrics import CASE_NAMES, CASES, METRICS, case_names_of, case_of, metric_of

CURVE_POINTS = 500
"""Most points of a loss curve; a longer one is averaged over equal parts."""

LONGEST_LINE = 1 << 20
"""Bytes; lines of results have hundreds."""

IMAGES = 4
"""Images of each row and branch in the report's input, the first by name."""

VIDEOS = 1
"""Videos, likewise: a page has room for few, and all are of one case."""


AT_ONCE = 16
"""Artifacts that are read ahead at a time."""

CASE_KEYS = ("case", "metric", "unit", "better", "value")
"""Of a line of cases.jsonl."""

T = TypeVar("T")


class ArtifactReader:
    """Reads commit records and artifacts of a plan, each once; make it after the states that it is used with.

    What a cache has of an artifact is not read again: it was compared with the manifest when it was read.
    """

    def __init__(self, plan: Plan, store: StoreReader, cache: ResultsCache | None = None) -> None:
        self.plan = plan
        """The plan."""
        self._store = store
        self._cache = cache
        self._done = store.commits(RECENT_S)
        self._commits: dict[str, Commit] = {}
        self._sources: dict[str, Commit | None] = {}
        self._named: dict[str, Sequence[str]] = {}
        self._read: dict[tuple[str, str], Any] = {}

    def commit(self, job: str) -> Commit | None:
        """The commit record of a job; None: it is not done."""
        fingerprint = self.plan.jobs[job].fingerprint
        if fingerprint not in self._done:
            return None
        if job not in self._commits:
            self._commits[job] = self._store.read(fingerprint)
        return self._commits[job]

    def source(self, read: Mapping[str, str]) -> Commit | None:
        """The commit record of what a job has read, of this plan or an earlier one; None: it is not there any more.

        Args:
            read: fingerprint and manifest, of the reader's commit record.
        """
        fingerprint = read.get("fingerprint", "")
        if fingerprint not in self._sources:
            found = None
            with suppress(StoreError):  # a damaged one proves nothing
                found = self._store.read(fingerprint) if fingerprint in self._done else None
            self._sources[fingerprint] = found
        known = self._sources[fingerprint]
        return known if known is not None and known.manifest == read.get("manifest") else None

    def read_all(self) -> None:
        """Read what a report is made from, of all jobs that are done."""
        jobs = self.plan.jobs.values()
        self.read_ahead(self.cases, ((job.id, part) for job in jobs if job.branch is not None for part in job.parts))
        self.read_ahead(self.series, ((job.id,) for job in jobs if job.spec.curve))
        self.read_ahead(self.images, ((job.id, part) for job in jobs if job.spec.images for part in job.parts))
        self.read_ahead(self.videos, ((job.id, part) for job in jobs if job.spec.videos for part in job.parts))

    def read_ahead(self, read: Callable[..., object], wanted: Iterable[tuple[str, ...]]) -> None:
        """Call `read` with a job and what else it takes, of the jobs that are done: several at a time.

        A store in another place answers as many requests in about the time of one.
        """
        done = [one for one in dict.fromkeys(wanted) if self.commit(one[0]) is not None]

        def read_some(some: Sequence[tuple[str, ...]]) -> None:
            for one in some:
                read(*one)

        with ThreadPoolExecutor(AT_ONCE, "read-ahead") as pool:
            list(pool.map(read_some, (done[first::AT_ONCE] for first in range(min(AT_ONCE, len(done))))))

    def cases(self, job: str, part: str = "") -> list[dict[str, Any]]:
        """The lines of a done job's cases.jsonl, or of that of a part (`Job.parts`)."""
        name = _inside(part, CASES)

        def own_lines() -> list[dict[str, Any]]:
            return [line for line in self._lines(job, name, case_of) if self.plan.jobs[job].has_case(line["case"])]

        return self._once(job, name, own_lines, _rows_of, _cases_from)

    def images(self, job: str, part: str = "") -> list[tuple[str, str]]:
        """(case, file) of a done job's first images, or of those of a part (`Job.parts`); `fetch` has the files."""
        return self._files_of_cases(job, part, self.plan.jobs[job].spec.images, ".png", IMAGES)

    def videos(self, job: str, part: str = "") -> list[tuple[str, str]]:
        """(case, file) of a done job's first videos, or of those of a part (`Job.parts`); `fetch` has the files."""
        return self._files_of_cases(job, part, self.plan.jobs[job].spec.videos, ".mp4", VIDEOS)

    def series(self, job: str) -> tuple[list[int], list[float], dict[str, float]]:
        """Steps and values of a done job's curve, thinned, and the last value of every metric."""
        curve = self.plan.jobs[job].spec.curve
        what = f"{METRICS} {CURVE_POINTS} {curve}"
        return self._once(job, what, lambda: self._series(job, curve), list, _series_from)

    def fetch(self, job: str, files: Sequence[str]) -> Path:
        """The folder of a done job's artifact with these files, whose bytes are those that were committed."""
        return self._store.fetch_files(self.plan.jobs[job].fingerprint, [escape(file) for file in files])

    def save(self) -> None:
        """Keep what was read for the next reader."""
        if self._cache is not None:
            self._cache.save()

    def _once(
        self, job: str, what: str, read: Callable[[], T], plain: Callable[[T], object], parse: Callable[[Any], T]
    ) -> T:
        """What is read of a job's artifact: here, or in the cache, which keeps `plain` of it and gives `parse`."""
        if (job, what) not in self._read:
            commit = self.commit(job) if self._cache is not None else None
            found = None if self._cache is None or commit is None else self._cache.get(commit, what, parse)
            if found is None:
                found = read()
                if self._cache is not None and commit is not None:
                    self._cache.put(commit, what, plain(found))
            self._read[job, what] = found
        known: T = self._read[job, what]
        return known

    def _files_of_cases(self, job: str, part: str, folder: str, ending: str, most: int) -> list[tuple[str, str]]:
        what = f"{_inside(part, folder)}/*{ending} {most}"
        return self._once(job, what, lambda: self._named_of_cases(job, part, folder, ending, most), list, _files_from)

    def _named_of_cases(self, job: str, part: str, folder: str, ending: str, most: int) -> list[tuple[str, str]]:
        inside = f"{_inside(part, folder)}/"
        within = (name for name in self._names(job) if name.startswith(inside) and name.endswith(ending))
        listed = _inside(part, CASE_NAMES)
        names = self._case_names(self.fetch(job, [listed]) / listed) if listed in self._names(job) else {}
        every = sorted(name for name in within if "/" not in name.removeprefix(inside))
        named = [(names.get(PurePosixPath(path).stem, PurePosixPath(path).stem), path) for path in every]
        return [(case, path) for case, path in named if self.plan.jobs[job].has_case(case)][:most]

    def _case_names(self, listing: Path) -> Mapping[str, str]:
        """Name of a case's files -> case; none where a crate does not hold the list."""
        if not listing.is_file():
            return {}
        try:
            names = case_names_of(read_plain(listing))
        except (OSError, ValueError) as error:
            raise StoreError(f"{listing}: cannot be read as a plain file: {error}; {REFRESH_HINT}") from error
        if names is None:
            raise StoreError(f"{listing}: is not a list of cases with slug and id; {REFRESH_HINT}")
        return names

    def _series(self, job: str, curve: str) -> tuple[list[int], list[float], dict[str, float]]:
        points: list[tuple[int, float]] = []
        last: dict[str, float] = {}
        for line in self._lines(job, METRICS, metric_of):
            last[line["name"]] = line["value"]
            if line["name"] == curve:
                points.append((line["step"], line["value"]))
        return (*_thinned(points), last)

    def _lines(
        self, job: str, name: str, line_of: Callable[[bytes], dict[str, Any] | None]
    ) -> Iterable[dict[str, Any]]:
        """The lines of a file of a done job's artifact; none where its manifest names no such file."""
        path = self.fetch(job, [name]) / name
        return lines_of(path, line_of) if name in self._names(job) else ()

    def _names(self, job: str) -> Sequence[str]:
        """The files of a done job's artifact."""
        if job not in self._named:
            self._named[job] = [one.path for one in self._store.manifest(self.plan.jobs[job].fingerprint)]
        return self._named[job]


def _inside(part: str, name: str) -> str:
    """Path of a file or folder of a part."""
    return f"{part}/{name}".lstrip("/")


def _rows_of(lines: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [[line[key] for key in CASE_KEYS] for line in lines]


def _cases_from(rows: Any) -> list[dict[str, Any]]:
    return [dict(zip(CASE_KEYS, row, strict=True)) for row in rows]


def _files_from(pairs: Any) -> list[tuple[str, str]]:
    return [(case, file) for case, file in pairs]


def _series_from(parts: Any) -> tuple[list[int], list[float], dict[str, float]]:
    steps, values, last = parts
    return steps, values, dict(last)


def lines_of(path: Path, line_of: Callable[[bytes], dict[str, Any] | None]) -> Iterable[dict[str, Any]]:
    """The lines of cases.jsonl or metrics.jsonl, by `case_of` or `metric_of`; none if there is no such file.

    Raises:
        StoreError: a line is not valid.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), 1):
            if line.strip():
                known = line_of(line)
                if known is None:
                    raise StoreError(f"{path}:{number}: is not a line of {path.name}: {line[:80]!r}; {REFRESH_HINT}")
                yield known


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    width = -(-len(points) // CURVE_POINTS) or 1
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [group[-1][0] for group in groups], [sum(v for _, v in group) / len(group) for group in groups]
