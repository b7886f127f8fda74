"""Thinning of long series: the least and the greatest value of each bucket of steps, decided by the steps alone.

Buckets grow with the step, so that a series can be thinned while it grows, without knowing its end, and gives the same
points as the finished file. Up to `whole` steps nothing is left out; each time the step doubles from there on,
`per_doubling` points are kept. A series of 5,000 steps keeps some 900 points of its curve. MLflow shows at most 320
points of a run in a chart, and a request holds 1,000.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.tracking.mlflow.projection import Point


@dataclass(frozen=True, kw_only=True)
class Grain:
    """How much of a series is kept."""

    whole: int
    """Steps below this one are all kept."""
    per_doubling: int
    """Points kept from there to twice as far, and so on."""

    def bucket(self, step: int) -> tuple[int, int] | None:
        """First step and length of the bucket of a step; None: the step is kept."""
        if step < self.whole:
            return None
        doubled = (step // self.whole).bit_length() - 1
        length = max(1, (self.whole << doubled) * 2 // self.per_doubling)
        return (step // length * length, length) if length > 1 else None


CURVE = Grain(whole=512, per_doubling=128)
"""Of the metric that is drawn in the report."""
OTHERS = Grain(whole=64, per_doubling=16)
"""Of what else a step tells."""


@dataclass(kw_only=True)
class _Bucket:
    """The extremes of a bucket that is not complete yet, and its last value."""

    place: tuple[int, int]
    least: Point
    greatest: Point
    last: Point

    def add(self, point: Point) -> None:
        """Take another value."""
        self.last = point
        if point.value < self.least.value:
            self.least = point
        if point.value > self.greatest.value:
            self.greatest = point

    def extremes(self) -> list[Point]:
        """One or two points, in the order of their steps."""
        return _in_order(self.least, self.greatest)


@dataclass(kw_only=True)
class Thinner:
    """Thins the series of one attempt, given in pieces with rising steps."""

    curve: str
    """Name of the metric that is kept most whole."""
    open: dict[str, _Bucket] = field(default_factory=dict)
    """By metric."""

    def add(self, points: Iterable[Point]) -> list[Point]:
        """The points that are certain to be kept, now that these have come."""
        return list(self._kept(points))

    def rest(self) -> list[Point]:
        """The series has ended: what is kept of its last buckets, and its last value."""
        found = [
            point for bucket in self.open.values() for point in _in_order(bucket.least, bucket.greatest, bucket.last)
        ]
        self.open = {}
        return found

    def _kept(self, points: Iterable[Point]) -> Iterator[Point]:
        for point in points:
            place = (CURVE if point.name == self.curve else OTHERS).bucket(point.step)
            bucket = self.open.get(point.name)
            if bucket is not None and bucket.place == place:
                bucket.add(point)
                continue
            if bucket is not None:
                yield from bucket.extremes()
                del self.open[point.name]
            if place is None:
                yield point
            else:
                self.open[point.name] = _Bucket(place=place, least=point, greatest=point, last=point)


def later_than(points: Iterable[Point], sent: Mapping[str, int]) -> list[Point]:
    """One point for each metric and step, the last one given, of steps later than the last one sent of that metric."""
    found = {(point.name, point.step): point for point in points if point.step > sent.get(point.name, -1)}
    return [found[place] for place in sorted(found)]


def _in_order(*points: Point) -> list[Point]:
    """Different points by step."""
    return sorted({point.step: point for point in points}.values(), key=lambda point: point.step)
