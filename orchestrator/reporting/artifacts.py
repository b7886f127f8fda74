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
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.plan.job import Plan
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


class ArtifactReader:
    """Reads commit records and artifacts of a plan, each once; make it after the states that it is used with."""

    def __init__(self, plan: Plan, store: StoreReader) -> None:
        self.plan = plan
        """The plan."""
        self._store = store
        self._done = store.commits(RECENT_S)
        self._commits: dict[str, Commit] = {}
        self._sources: dict[str, Commit | None] = {}
        self._cases: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._files: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        self._series: dict[str, tuple[list[int], list[float], dict[str, float]]] = {}

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

    def read_ahead(self, read: Callable[..., object], wanted: Iterable[tuple[str, ...]]) -> None:
        """Call `read`, which is `cases`, `images` or `series`, with the jobs that are done, several at a time.

        A store in another place answers as many requests in about the time of one.
        """
        done = [one for one in dict.fromkeys(wanted) if self.commit(one[0]) is not None]
        with ThreadPoolExecutor(AT_ONCE, "read-ahead") as pool:
            list(pool.map(lambda one: read(*one), done))

    def cases(self, job: str, part: str = "") -> list[dict[str, Any]]:
        """The lines of a done job's cases.jsonl, or of that of a part (`Job.parts`)."""
        if (job, part) not in self._cases:
            lines = self._lines(job, f"{part}/{CASES}".lstrip("/"), case_of)
            self._cases[job, part] = [line for line in lines if self._is_of(job, line["case"])]
        return self._cases[job, part]

    def images(self, job: str, part: str = "") -> list[tuple[str, str]]:
        """(case, path) of a done job's first images, or of those of a part (`Job.parts`)."""
        return self._files_of_cases(job, part, self.plan.jobs[job].spec.images, ".png", IMAGES)

    def videos(self, job: str, part: str = "") -> list[tuple[str, str]]:
        """(case, path) of a done job's first videos, or of those of a part (`Job.parts`)."""
        return self._files_of_cases(job, part, self.plan.jobs[job].spec.videos, ".mp4", VIDEOS)

    def _files_of_cases(self, job: str, part: str, folder: str, ending: str, most: int) -> list[tuple[str, str]]:
        if (job, part, ending) in self._files:
            return self._files[job, part, ending]
        inside = PurePosixPath(part, folder)
        every = [PurePosixPath(path) for path in self._named(job)]
        listed = PurePosixPath(part, CASE_NAMES)
        place = self._fetch(job, [str(listed)])
        names: dict[str, str] | None = {}
        listing = place / listed
        if listed in every and listing.is_file():
            try:
                names = case_names_of(read_plain(listing))
            except (OSError, ValueError) as error:
                raise StoreError(f"{listing}: cannot be read as a plain file: {error}; {REFRESH_HINT}") from error
        if names is None:
            raise StoreError(f"{listing}: is not a list of cases with slug and id; {REFRESH_HINT}")
        own = sorted(path for path in every if path.parent == inside and path.suffix == ending)
        found = [path for path in own if self._is_of(job, names.get(path.stem, path.stem))][:most]
        place = self._fetch(job, [escape(str(path)) for path in found])
        self._files[job, part, ending] = [(names.get(path.stem, path.stem), str(place / path)) for path in found]
        return self._files[job, part, ending]

    def _is_of(self, job: str, case: str) -> bool:
        """Whether a case is of a job: the artifact of one without values of all cases together may have others."""
        items, spec, branch = self.plan.jobs[job].items, self.plan.jobs[job].spec, self.plan.jobs[job].branch
        return items is None or case in items or branch in spec.pooled

    def series(self, job: str) -> tuple[list[int], list[float], dict[str, float]]:
        """Steps and values of a done job's curve, thinned, and the last value of every metric."""
        if job not in self._series:
            curve = self.plan.jobs[job].spec.curve
            points: list[tuple[int, float]] = []
            last: dict[str, float] = {}
            for line in self._lines(job, METRICS, metric_of):
                last[line["name"]] = line["value"]
                if line["name"] == curve:
                    points.append((line["step"], line["value"]))
            self._series[job] = (*_thinned(points), last)
        return self._series[job]

    def _lines(
        self, job: str, name: str, line_of: Callable[[bytes], dict[str, Any] | None]
    ) -> Iterable[dict[str, Any]]:
        """The lines of a file of a done job's artifact; none where its manifest names no such file."""
        path = self._fetch(job, [name]) / name
        return lines_of(path, line_of) if name in self._named(job) else ()

    def _named(self, job: str) -> list[str]:
        """The files of a done job's artifact."""
        return [entry.path for entry in self._store.manifest(self.plan.jobs[job].fingerprint)]

    def _fetch(self, job: str, patterns: Sequence[str]) -> Path:
        return self._store.fetch_files(self.plan.jobs[job].fingerprint, patterns)


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
