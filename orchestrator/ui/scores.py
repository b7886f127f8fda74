"""The table of scores as text. Lines are never wrapped: columns that do not fit into the width form a further block."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from orchestrator.ui.words import STATE_WORDS
from orchestrator.wording import counted, shortened
from reports.formats import number
from reports.input import CaseValues, Excluded, Missing
from reports.marks import explained, sign_of, test_of, too_few
from reports.scoreboard import Headline, Score, Scoreboard, scoreboard

GAP = "  "
CROSSED_OUT = "\N{MULTIPLICATION SIGN}"
"""Behind a number that rests on a control that did not hold."""
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
    absent = [*_missing_lines(given.missing), *_excluded_lines(given.excluded), *_outside_lines(given)]
    if not any(score.mean is not None for score in board.scores.values()):
        return "\n".join(["there are no scores yet", *absent])
    lines: list[str] = []
    rows = [row for row in (*board.rows, *board.references) if _is_scored(board, row)]
    compared = sum(row not in board.references for row in rows)
    shown = [
        *((column, board.scores, column.key) for column in board.columns),
        *((column, board.others, f"{column.branch}/{column.metric}") for column in board.beside),
    ]
    titles = [[f"{line}  " for line in _title(column)] for column, _, _ in shown]
    if not any(unit.strip() for *_, unit in titles):
        titles = [title[:-1] for title in titles]
    names = ["", "row", "", *(_name(board, row) for row in rows)]
    del names[len(titles[0]) : 3]
    left = {(one.row, one.branch) for one in given.missing}

    def absent_text(row: str, column: Headline) -> str:
        """What stands for no value: a reference row may have no meaning on a branch."""
        expected = row not in board.references or (row.partition("/")[0], column.branch) in left
        return "missing" if expected else NOT_DEFINED

    columns = [
        title + [_cell(scores[row, key], column.decimals, absent_text(row, column)) for row in rows]
        for title, (column, scores, key) in zip(titles, shown, strict=True)
    ]
    first = max(map(len, names))
    headlines = len(board.columns)
    groups = [[at] for at in range(headlines)]
    for _, group in groupby(range(len(board.beside)), lambda at: board.beside[at].branch):
        groups.append([headlines + at for at in group])
    for block in _blocks([max(map(len, column)) for column in columns], width - first, groups, headlines):
        for i, name in enumerate(names):
            if i == len(titles[0]) + compared:
                lines.append(f"{'references':<{first}}".rstrip())
            cells = [f"{columns[at][i]:>{max(map(len, columns[at]))}}" for at in block]
            lines.append(GAP.join([f"{name:<{first}}", *cells]).rstrip())
        lines.append("")
    without = [row for row in (*board.rows, *board.references) if row not in rows]
    marks = [*_legend(board), *_crossed_out_lines(board)]
    return "\n".join([*lines, *marks, *_suspect_lines(board), *_without_lines(without), *absent])


def _is_scored(board: Scoreboard, row: str) -> bool:
    return any(board.scores[row, column.key].mean is not None for column in board.columns)


def _without_lines(rows: Sequence[str]) -> list[str]:
    """The rows that have no score at all."""
    return [f"rows without a score: {shortened(rows, SHOWN)}"] if rows else []


def _excluded_lines(excluded: Sequence[Excluded]) -> list[str]:
    words = {"matrix": ("excluded by the matrix", "plan"), "race": ("stopped by the race", "status")}
    by = Counter[str](one.by for one in excluded)
    return [
        f"{what}: {counted(by[one], 'cell')}; see `echo-matrix {see}`" for one, (what, see) in words.items() if by[one]
    ]


def _crossed_out_lines(board: Scoreboard) -> list[str]:
    """Which controls did not hold, and in which rows."""
    return [
        f"{CROSSED_OUT} not comparable: {check} is violated in {shortened(rows, SHOWN) if rows else 'every row'}; "
        "see `echo-matrix report`"
        for check, rows in board.crossed_out
    ]


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
    lines = explained(score.mark for score in shown)
    lines += [test_of(board.units, len(board.seeds))] if lines else []
    few = too_few({column.key: board.shared[column.key] for column in _compared(board)}, board.units)
    lines += [few] if few else []
    if board.beside and board.note:
        lines.append(board.note)
    if any(score.low is not None for score in shown):
        lines.append(f"± half the 95 % interval over cases and {len(board.seeds)} seeds")
    elif len(board.seeds) < 2:
        lines.append("one seed: no intervals, and another training may change the order")
    if any(score.mean is not None and _is_partial(score) for score in shown):
        lines.append("(k/n) k of n values exist; rows are compared over what both of them have")
    if any(score.unanswered for score in shown):
        lines.append("[a to b] the mean if every case without an answer were at the worst or at the best of its scale")
    return lines


def _compared(board: Scoreboard) -> list[Headline]:
    """The columns in which some row has a mark."""
    return [column for column in board.columns if any(board.scores[row, column.key].mark for row in board.rows)]


def _blocks(widths: Sequence[int], room: int, groups: Sequence[Sequence[int]], first_beside: int) -> list[list[int]]:
    """Columns that stand side by side, by number: as many as fit, at least one.

    Args:
        widths: of the columns.
        room: for them.
        groups: columns that are not parted if they fit together.
        first_beside: this column begins a block.
    """
    blocks: list[list[int]] = []
    left = 0
    for group in groups:
        whole = sum(widths[at] + len(GAP) for at in group)
        if first_beside in group or left < whole <= room:
            left = 0
        for at in group:
            if not blocks or widths[at] + len(GAP) > left:
                blocks.append([])
                left = room
            blocks[-1].append(at)
            left -= widths[at] + len(GAP)
    return blocks


def _title(column: Headline) -> tuple[str, str, str]:
    """Branch, name and unit."""
    unit = column.unit.partition(":")[0]
    return (
        column.branch,
        f"{column.name}{'' if column.better == 'high' else ' (low is better)'}",
        "" if unit == "1" else unit,
    )


def _cell(score: Score, decimals: int, absent: str) -> str:
    if score.mean is None:
        return f"{absent}  "
    half = "" if score.low is None or score.high is None else f" ± {number((score.high - score.low) / 2, decimals)}"
    half = f" ({score.part})" if score.part else half
    part = f" ({score.values}/{score.values_expected})" if _is_partial(score) else ""
    if score.at_worst is not None and score.at_best is not None:
        low, high = sorted((score.at_worst, score.at_best))
        part += f" [{number(low, decimals)} to {number(high, decimals)}]"
    mark = CROSSED_OUT if not score.comparable else sign_of(score.mark) or " "
    return f"{number(score.mean, decimals)}{half}{part} {mark}"


def _is_partial(score: Score) -> bool:
    return score.values < score.values_expected or score.seeds < score.seeds_expected


def _name(board: Scoreboard, row: str) -> str:
    """A row's name, with the row of which it is another name."""
    return f"{row} = {board.same_as[row]}" if row in board.same_as else row
