"""One job of a study, as the tracker sees it: its last state, its series while that grows, and its artifact."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.tracking.mlflow.projection import Point, branch_points, point_of
from orchestrator.tracking.mlflow.thinning import Thinner, later_than
from workloads.contract.metrics import CASES, METRICS, case_of, metric_of


@dataclass(kw_only=True)
class MetricsTail:
    """A growing metrics.jsonl, read up to `offset`."""

    path: Path
    offset: int = 0

    def appended(self) -> Iterator[dict[str, Any]]:
        """Complete lines after `offset`, which moves behind them; a line still being written is left for later.

        An invalid line is skipped.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        yield from _valid(whole, metric_of)


@dataclass(kw_only=True)
class JobView:
    """One job, as its last message described it."""

    state: str
    stage: str
    branch: str
    curve: str
    """Metric of its series that is drawn; empty: no series is followed."""
    files: list[tuple[str, str, int | None]]
    """Folder of the artifact, glob, and how many at most are shown."""
    pointer: str
    """File of the artifact that is only pointed to; empty: none."""
    cells: list[str]
    items: list[str] | None = None
    """Its cases, of which its artifact may have more; None: all that are there are its own."""
    attempt: str | None = None
    tail: MetricsTail | None = None
    thinner: Thinner
    fresh: list[Point] = field(default_factory=list)
    """Read from the tail, and not sent yet."""
    artifact: Path | None = None
    manifest: str = ""
    """sha256 of the artifact's manifest, or its attempt."""
    started: float | None = None
    ended: float | None = None
    record: str = ""
    """Where its commit record is, for people."""
    place: str = ""
    """Where the artifact is, for people."""
    git: str = ""
    """Commit of the code that made the artifact."""
    version: str = ""
    """And its version."""

    def part(self, folder: str) -> "JobView":
        """The same job as a cell sees it whose results are in this folder of the artifact; "": all of it."""
        return replace(self, artifact=self.artifact / folder) if folder and self.artifact is not None else self

    def rewind(self) -> None:
        """Read its series again from the beginning."""
        self.thinner, self.fresh = Thinner(curve=self.thinner.curve), []
        if self.tail is not None:
            self.tail.offset = 0

    def grow(self) -> bool:
        """Read what has been appended to its series; True: there is something to send."""
        if self.tail is not None and self.state in ("running", "unknown"):
            points = [point_of(self.stage, line) for line in self.tail.appended()]
            self.fresh += self.thinner.add(point for point in points if point is not None)
        return bool(self.fresh)

    def follow(self, path: Path) -> None:
        """Read its series from this file; another one is read from the beginning."""
        if self.tail is None or self.tail.path != path:
            self.tail = MetricsTail(path=path)
            self.rewind()

    def points(self, sent: Mapping[str, int]) -> list[Point]:
        """The values of its artifact that were not sent yet; `sent`: metric -> last step."""
        found: list[Point] = []
        if self.curve and self.artifact is not None:
            thinner = Thinner(curve=self.thinner.curve)
            points = [point_of(self.stage, line) for line in _lines_of(self.artifact / METRICS, metric_of)]
            kept = thinner.add(point for point in points if point is not None)
            found += later_than([*kept, *thinner.rest()], sent)
        if self.branch:
            found += branch_points(self.branch, self.cases(), sent)
        return found

    def cases(self) -> list[dict[str, Any]]:
        """The lines of its artifact's cases.jsonl; none where there is no such file."""
        return [] if self.artifact is None else case_lines(self.artifact, self.items)


def case_lines(artifact: Path, items: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The valid lines of an artifact's cases.jsonl, of these cases or of all; none where there is no such file."""
    own = None if items is None else frozenset(items)
    return [line for line in _lines_of(artifact / CASES, case_of) if own is None or line["case"] in own]


def _lines_of(path: Path, line_of: Callable[[bytes], dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
    """The valid lines of a file that is complete; none where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    yield from _valid(content, line_of)


def _valid(content: bytes, line_of: Callable[[bytes], dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        known = line_of(line)
        if known is not None:
            yield known
