"""The table of scores as text. Lines are never wrapped: columns that do not fit into the width form a further block."""

from collections import Counter
from collections.abc import Sequence

from orchestrator.ui.words import STATE_WORDS
from orchestrator.wording import counted, shortened
from reports.formats import number
from reports.input import CaseValues, Missing
from reports.scoreboard import Headline, Score, Scoreboard, scoreboard

GAP = "  "
BEST = "*"
NOT_DEFINED = "–"
SHOWN = 3
"""Rows, or kinds of missing results, that are listed; the others are counted."""


def scores_text(given: CaseValues, width: int) -> str:
    """The table, what its marks mean, and what is missing.

    Args:
        given: the values that are scored.
        width: characters of a line; a single column may need more.
    """
    board = scoreboard(given)
    absent = [*_missing_lines(given.missing), *_excluded_lines(len(given.excluded)), *_outside_lines(given)]
    if not any(score.mean is not None for score in board.scores.values()):
        return "\n".join(["there are no scores yet", *absent])
    lines: list[str] = []
    rows = [row for row in (*board.rows, *board.references) if _is_scored(board, row)]
    compared = sum(row not in board.references for row in rows)
    names = ["", "row", *(_name(board, row) for row in rows)]
    left = {(one.row, one.branch) for one in given.missing}

    def expects(row: str, column: Headline) -> bool:
        """Whether a row should have a value: a reference row may have no meaning on a branch."""
        return row not in board.references or (row.partition("/")[0], column.branch) in left

    columns = [
        [f"{column.branch}  ", f"{_title(column)}  "]
        + [
            _cell(board.scores[row, column.key], column.decimals, "missing" if expects(row, column) else NOT_DEFINED)
            for row in rows
        ]
        for column in board.columns
    ]
    first = max(map(len, names))
    for block in _blocks([max(map(len, column)) for column in columns], width - first):
        for i, name in enumerate(names):
            if i == 2 + compared:
                lines.append(f"{'references':<{first}}".rstrip())
            cells = [f"{columns[at][i]:>{max(map(len, columns[at]))}}" for at in block]
            lines.append(GAP.join([f"{name:<{first}}", *cells]).rstrip())
        lines.append("")
    without = [row for row in (*board.rows, *board.references) if row not in rows]
    return "\n".join([*lines, *_legend(board), *_suspect_lines(board), *_without_lines(without), *absent])


def _is_scored(board: Scoreboard, row: str) -> bool:
    return any(board.scores[row, column.key].mean is not None for column in board.columns)


def _without_lines(rows: Sequence[str]) -> list[str]:
    """The rows that have no score at all."""
    return [f"rows without a score: {shortened(rows, SHOWN)}"] if rows else []


def _excluded_lines(excluded: int) -> list[str]:
    return [f"excluded by the matrix: {counted(excluded, 'cell')}; see `echo-matrix plan`"] if excluded else []


def _suspect_lines(board: Scoreboard) -> list[str]:
    """The columns that give a floor more than the baseline."""
    lines = []
    for column in board.columns:
        if wins := board.suspects.get(column.key):
            floors = shortened([f"{one.row} ({number(one.mean, column.decimals)})" for one in wins], SHOWN)
            above = f"{wins[0].baseline} ({number(wins[0].baseline_mean, column.decimals)})"
            lines.append(f"suspect: {column.branch} {column.name} rates {floors} above {above}")
    return lines


def _outside_lines(given: CaseValues) -> list[str]:
    rows = counted(len(given.outside), "row")
    named = shortened(given.outside, SHOWN)
    return [f"not in profile {given.profile}: {rows}, {named}"] if given.outside else []


def _missing_lines(missing: Sequence[Missing]) -> list[str]:
    """What is missing, by state and branch, the most frequent first."""
    kinds = Counter((one.state, one.branch) for one in missing)
    if not kinds:
        return []
    shown = kinds.most_common(SHOWN)
    found = [
        f"{counted(count, 'job')} of {branch} ({STATE_WORDS.get(state, state)})" for (state, branch), count in shown
    ]
    if left := sum(kinds.values()) - sum(count for _, count in shown):
        found.append(f"{counted(left, 'other job')}")
    return [f"missing: {', '.join(found)}; see `echo-matrix status`"]


def _legend(board: Scoreboard) -> list[str]:
    """What the marks mean, as far as they occur, and over what the intervals are."""
    shown = board.scores.values()
    over = "" if len(board.seeds) > 1 else " over cases"
    lines = []
    if any(score.best for score in shown):
        lines.append(f"{BEST} best of its column, or not significantly worse{over} (paired, Holm, p >= 0.05)")
    if any(score.low is not None for score in shown):
        lines.append(f"± half the 95 % interval over cases and {len(board.seeds)} seeds")
    elif len(board.seeds) < 2:
        lines.append("one seed: no intervals, and another training may change the order")
    if any(score.mean is not None and _is_partial(score) for score in shown):
        lines.append("(k/n) k of n values exist; a row that lacks a whole seed is not marked")
    if fewer := [row for row in board.rows if _has_fewer_seeds(board, row)]:
        lines.append(f"never marked, since the matrix excludes some of their seeds: {shortened(fewer, SHOWN)}")
    return lines


def _has_fewer_seeds(board: Scoreboard, row: str) -> bool:
    scores = [board.scores[row, column.key] for column in board.columns]
    return any(one.mean is not None and one.seeds_expected < len(board.seeds) for one in scores)


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns that stand side by side, by number: as many as fit, at least one."""
    blocks: list[list[int]] = []
    left = 0
    for at, width in enumerate(widths):
        if not blocks or width + len(GAP) > left:
            blocks.append([])
            left = room
        blocks[-1].append(at)
        left -= width + len(GAP)
    return blocks


def _title(column: Headline) -> str:
    unit = f", {column.unit.partition(':')[0]}" if column.unit else ""
    return f"{column.name}{unit}{'' if column.better == 'high' else ' (low is better)'}"


def _cell(score: Score, decimals: int, absent: str) -> str:
    if score.mean is None:
        return f"{absent}  "
    half = "" if score.low is None or score.high is None else f" ± {number((score.high - score.low) / 2, decimals)}"
    part = f" ({score.values}/{score.values_expected})" if _is_partial(score) else ""
    return f"{number(score.mean, decimals)}{half}{part} {BEST if score.best else ' '}"


def _is_partial(score: Score) -> bool:
    return score.values < score.values_expected or score.seeds < score.seeds_expected


def _name(board: Scoreboard, row: str) -> str:
    """A row's name, with the row of which it is another name."""
    return f"{row} = {board.same_as[row]}" if row in board.same_as else row
