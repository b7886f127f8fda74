"""Exclusion: which cells of the full product of rows, axis values and seeds a matrix leaves out.

    exclude:
      - {rows: 'ssm-*', site: pre_norm}
      - {seeds: [1, 2], site: pre_qkv_gated}
    include:                               # of what `exclude` leaves out
      - {rows: ssm-hybrid, site: pre_norm, seeds: 0}

The keys of an entry are `rows`, `seeds` and names of axes; an entry is about the cells that match all its keys, and a
key that is absent matches everything. A value is one value or glob, or a list; for rows also `family:NAME`.
"""

import fnmatch
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

import yaml

from orchestrator.spec.canonical import axis_text
from orchestrator.spec.cell import ExcludedCell, cell_id
from orchestrator.spec.limits import MOST_CELLS
from orchestrator.spec.lines import Place, entries, is_null, kind_of, listed, nearest, place_of, read_text, refuse
from orchestrator.spec.patterns import is_glob, known_rows, split_names
from orchestrator.spec.typed import Reader
from workloads.contract.fields import Natural
from workloads.contract.rows import Row

ROWS, SEEDS = "rows", "seeds"

Labels = tuple[tuple[str, str], ...]
"""(axis, text of its value) of a cell, in the order of the axes."""


@dataclass(frozen=True, kw_only=True)
class CellPattern:
    """One entry of `exclude` or `include`."""

    place: str
    """`matrix.yaml:12`."""
    key: str
    """`exclude[0]`."""
    rows: frozenset[str]
    """Names of the rows."""
    seeds: tuple[str, ...] | None
    """Names or globs; None: all."""
    axes: Mapping[str, tuple[str, ...]]
    """Axis -> texts of values, or globs; the other axes: all values."""
    text: str
    """As written, `rows: ssm-*, site: pre_norm`."""

    def matches_some(self, row: str, labels: Labels) -> bool:
        """Whether it is about cells of this row and these axis values."""
        return row in self.rows and all(_any(self.axes[name], text) for name, text in labels if name in self.axes)

    def matches(self, row: str, labels: Labels, seed: int) -> bool:
        """Whether it is about this cell."""
        return (self.seeds is None or _any(self.seeds, str(seed))) and self.matches_some(row, labels)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """The entries of `exclude` and `include`."""

    exclude: tuple[CellPattern, ...] = ()
    """Which cells of the full product of rows, axis values and seeds are left out."""
    include: tuple[CellPattern, ...] = ()
    """Which of the excluded cells stay all the same."""

    def entry_of(self, row: str, labels: Labels, seed: int) -> CellPattern | None:
        """The first entry that leaves a cell out; None: it stays."""
        found = next((entry for entry in self.exclude if entry.matches(row, labels, seed)), None)
        if found is None or any(entry.matches(row, labels, seed) for entry in self.include):
            return None
        return found

    def keeps(self, row: str, labels: Labels) -> bool:
        """Whether a cell of this row with these axis values may stay, whatever the seeds are."""
        excluded = any(entry.seeds is None and entry.matches_some(row, labels) for entry in self.exclude)
        return not excluded or any(entry.matches_some(row, labels) for entry in self.include)


def read_exclusion(
    reader: Reader,
    nodes: Mapping[str, yaml.Node],
    rows: Mapping[str, Row],
    axes: Mapping[str, tuple[Any, Sequence[Any]]],
    seeds: Collection[int],
) -> Exclusion:
    """`exclude` and `include` of a matrix.

    Args:
        reader: of the file.
        nodes: of the two keys, if they are written.
        rows: of the matrix.
        axes: name -> type and values of the axis.
        seeds: of the base and of all profiles.

    Raises:
        MatrixError: an unknown key, a value that matches nothing, an included cell that is not excluded or that is
            included twice, or a row or an axis value without any cell.
    """
    found: dict[str, tuple[CellPattern, ...]] = {}
    for key in ("exclude", "include"):
        node = nodes.get(key)
        if node is None:
            continue
        if not isinstance(node, yaml.SequenceNode):
            allowed = "a list, [{rows: ROW, AXIS: VALUE}]"
            refuse(place_of(node, reader.source), key, f"is {kind_of(node)}; allowed: {allowed}")
        found[key] = tuple(
            _entry(reader, child, f"{key}[{i}]", rows, axes, seeds) for i, child in enumerate(node.value)
        )
    exclusion = Exclusion(**found)
    texts = {name: [axis_text(value) for value in values] for name, (_, values) in axes.items()}
    _check_includes(exclusion, texts, seeds)
    _check_emptied(exclusion, rows, texts)
    return exclusion


def excluded_cells(
    exclusion: Exclusion, rows: Iterable[str], axes: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> tuple[ExcludedCell, ...]:
    """The cells of the full product that are left out, in file order; `axes`: name -> texts of its values."""
    if not exclusion.exclude:
        return ()
    return tuple(
        ExcludedCell(row=row, axes=labels, seed=seed, entry=f"{entry.key}: {entry.text}", place=entry.place)
        for row, labels, seed in itertools.product(rows, list(_labels(axes)), seeds)
        if (entry := exclusion.entry_of(row, labels, seed)) is not None
    )


def _entry(
    reader: Reader,
    node: yaml.Node,
    key: str,
    rows: Mapping[str, Row],
    axes: Mapping[str, tuple[Any, Sequence[Any]]],
    seeds: Collection[int],
) -> CellPattern:
    place = place_of(node, reader.source)
    allowed = (ROWS, SEEDS, *axes)
    for name in (ROWS, SEEDS):
        if name in axes:
            refuse(place, key, f"is ambiguous: an axis is named {name}; rename axes.{name}")
    chosen_rows, chosen_seeds, chosen_axes = frozenset(rows), None, dict[str, tuple[str, ...]]()
    said: list[str] = []
    for name, child, where in entries(node, reader.source, key):
        at = f"{key}.{name}"
        if name not in allowed:
            refuse(where, at, f"is no axis{nearest(name, allowed)}{listed(allowed)}")
        if name == ROWS:
            written = _names(child, where, at)
            chosen_rows = frozenset(row for text in written for row in known_rows(text, where, at, rows))
        elif name == SEEDS:
            written = _seeds(reader, child, where, at)
            chosen_seeds = tuple(_known(written, [str(seed) for seed in seeds], "seed", where, at))
        else:
            hint, values = axes[name]
            written = _values(reader, child, hint, where, at)
            texts = [axis_text(value) for value in values]
            chosen_axes[name] = tuple(_known(written, texts, f"value of axis {name}", where, at))
        said.append(f"{name}: {', '.join(written)}")
    if not said:
        refuse(place, key, f"is empty, which is every cell; write at least one key{listed(allowed)}")
    return CellPattern(
        place=str(place), key=key, rows=chosen_rows, seeds=chosen_seeds, axes=chosen_axes, text=", ".join(said)
    )


def _items(node: yaml.Node, place: Place, key: str) -> list[yaml.Node]:
    """The node, or the items of a list that is not empty."""
    if not isinstance(node, yaml.SequenceNode):
        return [node]
    if not node.value:
        refuse(place, key, "is an empty list; write a value, or remove the key, which then matches everything")
    return list(node.value)


def _names(node: yaml.Node, place: Place, key: str) -> list[str]:
    return split_names(read_text(item, place, key) for item in _items(node, place, key))


def _seeds(reader: Reader, node: yaml.Node, place: Place, key: str) -> list[str]:
    texts: list[str] = []
    for item in _items(node, place, key):
        if isinstance(item, yaml.ScalarNode) and (is_glob(item.value) or "," in item.value):
            texts += _names(item, place, key)
        else:
            texts.append(str(reader.value(item, Natural, key, place)))
    return texts


def _values(reader: Reader, node: yaml.Node, hint: Any, place: Place, key: str) -> list[str]:
    """Texts of values of an axis's type, or globs over these texts."""
    is_list = get_origin(hint) is tuple
    of_lists = isinstance(node, yaml.SequenceNode) and any(isinstance(one, yaml.SequenceNode) for one in node.value)
    items = [node] if is_list and not of_lists else _items(node, place, key)
    texts: list[str] = []
    for item in items:
        if isinstance(item, yaml.ScalarNode) and not is_null(item) and is_glob(item.value):
            texts.append(read_text(item, place, key))
            continue
        value = reader.value(item, hint, key, place)
        texts.append(axis_text(tuple(value) if isinstance(value, list) else value))
    return texts


def _known(written: Sequence[str], allowed: Sequence[str], what: str, place: Place, key: str) -> Iterator[str]:
    for text in written:
        if not any(_any((text,), one) for one in allowed):
            refuse(place, key, f"matches no {what}, {text!r}{nearest(text, allowed)}{listed(allowed)}")
        yield text


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(text == pattern or fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def _labels(axes: Mapping[str, Sequence[str]]) -> Iterator[Labels]:
    for texts in itertools.product(*axes.values()):
        yield tuple(zip(axes, texts, strict=True))


def _check_includes(exclusion: Exclusion, axes: Mapping[str, Sequence[str]], seeds: Collection[int]) -> None:
    """Every included cell must be one that is excluded, and be included once."""
    if math.prod(map(len, axes.values())) * len(seeds) > MOST_CELLS:
        return  # expanding it is refused
    owner: dict[tuple[str, Labels, int], CellPattern] = {}
    for entry in exclusion.include:
        for row, labels, seed in itertools.product(sorted(entry.rows), list(_labels(axes)), sorted(seeds)):
            if not entry.matches(row, labels, seed):
                continue
            cell = cell_id(row, labels, seed)
            if not any(other.matches(row, labels, seed) for other in exclusion.exclude):
                why = "is in the matrix anyway, as no entry of `exclude` leaves it out"
                refuse(entry.place, entry.key, f"includes {cell}, which {why}; remove the entry, or make it narrower")
            before = owner.setdefault((row, labels, seed), entry)
            if before is not entry:
                refuse(entry.place, entry.key, f"includes {cell}, as {before.key} does; remove one")


def _check_emptied(exclusion: Exclusion, rows: Iterable[str], axes: Mapping[str, Sequence[str]]) -> None:
    """No row and no value of an axis may be left without a cell, whatever the seeds are."""
    if not exclusion.exclude or math.prod(map(len, axes.values())) > MOST_CELLS:
        return
    names = list(rows)
    left_rows, left_values = set[str](), set[tuple[str, str]]()
    for row, labels in itertools.product(names, list(_labels(axes))):
        if exclusion.keeps(row, labels):
            left_rows.add(row)
            left_values |= set(labels)
    for row in names:
        if row not in left_rows:
            last = [entry for entry in exclusion.exclude if row in entry.rows][-1]
            refuse(last.place, last.key, f"leaves row {row} without any cell; remove the row, or exclude less")
    for name, texts in axes.items():
        for text in texts:
            if (name, text) not in left_values:
                last = [one for one in exclusion.exclude if name not in one.axes or _any(one.axes[name], text)][-1]
                remedy = f"remove the value from axes.{name}.values, or exclude less"
                refuse(last.place, last.key, f"leaves {name}={text} without any cell; {remedy}")
