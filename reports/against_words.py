"""A comparison of two sets of results in words and printed numbers: for the page, Markdown and a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.against import ResultsComparison, RowChange
from reports.formats import number, shown_unit

VERDICTS = ("better", "worse", "the same", "not told apart", "no verdict")


@dataclass(frozen=True, kw_only=True)
class ChangeLine:
    """One row and metric in both, as it is printed."""

    row: str
    metric: str
    ours: str
    theirs: str
    effect: str
    interval: str
    verdict: str
    how: str


def change_line(change: RowChange, found: ResultsComparison) -> ChangeLine:
    """One change with the decimals of its metric."""
    decimals = next((n for start, n in found.decimals.items() if change.metric.startswith(start)), 3)
    return ChangeLine(
        row=change.row,
        metric=f"{change.branch} {change.metric}" + (f" ({shown_unit(change.unit)})" if change.unit else ""),
        ours=number(change.ours, decimals),
        theirs=number(change.theirs, decimals),
        effect=("+" if change.effect > 0 else "") + number(change.effect, decimals),
        interval="" if change.low is None else f"{number(change.low, decimals)} to {number(change.high, decimals)}",
        verdict=change.verdict,
        how=change.how
        if change.low is None
        else f"{change.how}, {change.scenes} scenes, {change.seeds} {'seed' if change.seeds == 1 else 'seeds'}",
    )


def summary(found: ResultsComparison) -> list[str]:
    """Sentences: how many rows changed, and how the differences were computed."""
    changes = found.headlines
    of = " of the metrics that stand for branches" if any(change.headline for change in changes) else ""
    counts = {verdict: sum(change.verdict == verdict for change in changes) for verdict in VERDICTS}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    lines = [f"{len(changes)} differences{of}: {said} (p < 0.05 after Holm over them)"]
    if any(change.how == "paired" for change in changes):
        lines.append("paired: both have the same scenes and seeds, which are compared one by one")
    if any(change.how == "two samples" for change in changes):
        lines.append("two samples: scenes or seeds differ; the interval has the variance of both (Welch)")
    if any(change.how == "means only" for change in changes):
        lines.append("means only: values of cases are not known of both, so that there is no interval")
    if any(change.over == "scenes only" for change in changes):
        lines.append("one seed: intervals are over scenes only, and there is no verdict; another training may differ")
    return lines


def differing(found: ResultsComparison, most: int | None = None, shown: Callable[[str], str] = str) -> list[str]:
    """What is only in one, what is not compared, and settings that differ.

    Args:
        found: the comparison.
        most: settings that are listed, and four times the names; None: all.
        shown: makes a name printable.
    """
    lines = [
        f"{what}: {_names(names, most, shown)}"
        for what, names in (
            ("rows only in ours", found.rows_only_ours),
            ("rows only in theirs", found.rows_only_theirs),
            ("metrics only in ours", found.metrics_only_ours),
            ("metrics only in theirs", found.metrics_only_theirs),
        )
        if names
    ]
    lines += [f"not compared: {shown(metric)}: {shown(reason)}" for metric, reason in found.not_compared]
    settings = [f"{shown(what)}: {shown(a)} in ours, {shown(b)} in theirs" for what, a, b in found.settings]
    more = [f"and {len(settings) - most} more that differ"] if most is not None and len(settings) > most else []
    return [*lines, *settings[:most], *more]


def _names(names: Sequence[str], most: int | None, shown: Callable[[str], str]) -> str:
    kept = names if most is None else names[: most // 4]
    more = f" and {len(names) - len(kept)} more" if len(names) > len(kept) else ""
    return ", ".join(map(shown, kept)) + more
