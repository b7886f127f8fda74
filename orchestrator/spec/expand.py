"""Matrix expansion: one cell for each row x axis values x seed, in file order.

A cell holds only what its computation reads: row controls that its row does not read are left out, and a row that
resolves to another computation holds that one. So two cells are the same computation exactly if they are equal, and
the later one becomes an alias of the first. Equal sections are one object in all cells, which keeps ten thousand
cells cheap.

A branch that is evaluated for chosen rows alone is in the branches of their cells alone, and of cells that are the same
computation. The identity of a cell does not depend on that choice.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.errors import MatrixError
from orchestrator.spec.branches import chosen_rows
from orchestrator.spec.canonical import axis_text, canonical, digest, digest_of_text
from orchestrator.spec.cell import Cell, ExcludedCell, cell_id
from orchestrator.spec.exclusion import excluded_cells
from orchestrator.spec.frozen import frozen
from orchestrator.spec.schema import ResolvedMatrix
from orchestrator.spec.variants import changed, first_problem, labels_of, variants
from workloads.contract.fields import plain, row_choice, section_kinds, without_choices, without_defaults
from workloads.contract.rows import Row, resolved
from workloads.contract.workload import FORMAT

Sections = Mapping[str, Mapping[str, Any]]


def expand(matrix: ResolvedMatrix, planned: Collection[str] | None = None) -> tuple[Cell, ...]:
    """All cells of these rows with the controls of one profile, without those that are excluded.

    Args:
        matrix: with the profile merged in.
        planned: names of rows; None: all of the matrix, also those that the profile does not have.

    Raises:
        MatrixError: controls that are inconsistent at some combination of axis values, or no cell is left.
    """
    excludes = bool(matrix.exclusion.exclude)
    views = _Views(matrix)
    rows = [(name, row, _reads(row), _Forms(row)) for name, row in matrix.rows.items()]
    chosen = _chosen_forms(matrix, {name: forms.text for name, _, _, forms in rows})
    combinations = [
        (labels_of(matrix.axes, values), changes)
        for values, changes in variants(matrix.axes, matrix.deviations, matrix.rows)
    ]
    first_of: dict[str, str] = {}
    aliases: dict[str, int] = {}
    cells: list[Cell] = []
    for name, row, reads, forms in rows:
        left_out = frozenset(branch for branch, texts in chosen.items() if forms.text not in texts)
        for axes, changes in combinations:
            controls, branches, shared = views.of(changes[name], reads)
            for seed in matrix.seeds:
                computation = f"{shared}{forms.text},{seed}]"
                # Cells that are left out count too, so that they change no fingerprint.
                nth = aliases[computation] = aliases.get(computation, -1) + 1
                if planned is not None and name not in planned:
                    continue
                if excludes and matrix.exclusion.entry_of(name, axes, seed) is not None:
                    continue
                views.check(changes[name])
                cells.append(
                    frozen(
                        Cell,
                        {
                            "id": cell_id(name, axes, seed),
                            "row": name,
                            "axes": axes,
                            "seed": seed,
                            "family": row.family,
                            "reference": row.reference,
                            "trained": forms.trained,
                            "evaluated": forms.evaluated,
                            "controls": controls,
                            "branches": views.without(branches, left_out),
                            "alias_of": first_of.get(computation),
                            "fingerprint": digest_of_text(f'[{FORMAT},"cell",{nth},{computation}]'),
                        },
                    )
                )
                first_of.setdefault(computation, cells[-1].id)
    if not cells:
        last = matrix.exclusion.exclude[-1]
        where = f"{last.place}: {last.key}"
        raise MatrixError(
            f"{where} leaves profile {matrix.profile} without any cell; exclude less, or add seeds or rows"
        )
    return tuple(cells)


def cells_of_rows(cells: Iterable[Cell], planned: Collection[str]) -> tuple[Cell, ...]:
    """What `expand` makes of these rows, from the `cells` of all rows of the matrix; empty: it would refuse them."""
    first_of: dict[str, str] = {}
    found: list[Cell] = []
    for cell in cells:
        if cell.row in planned:
            computation = cell.alias_of or cell.id
            alias_of = first_of.get(computation)
            first_of.setdefault(computation, cell.id)
            found.append(cell if cell.alias_of == alias_of else replace(cell, alias_of=alias_of))
    return tuple(found)


def excluded_of(matrix: ResolvedMatrix) -> tuple[ExcludedCell, ...]:
    """The cells that the matrix leaves out, in file order."""
    axes = {name: [axis_text(value) for value in axis.values] for name, axis in matrix.axes.items()}
    return excluded_cells(matrix.exclusion, matrix.rows, axes, matrix.seeds)


class _Forms:
    """A row resolved for training and for evaluation, and the digests of both for the cell's fingerprint."""

    def __init__(self, row: Row) -> None:
        self.trained = resolved(row.trained())
        self.evaluated = resolved(row.evaluated())
        self.text = f'"{digest(self.trained)}","{digest(self.evaluated)}"'


def _chosen_forms(matrix: ResolvedMatrix, forms: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Branch that is evaluated for chosen rows -> the texts of their forms; `forms`: text of each row's."""
    found = {}
    for branch, kind in section_kinds(matrix.workload.branches).items():
        choice, section = row_choice(kind), plain(matrix.branches).get(branch)
        if choice is not None and section is not None:
            key = f"branches.{branch}.{choice}"
            names = chosen_rows(section[choice], matrix.rows, matrix.places.get(key, "matrix.yaml"), key)
            found[branch] = frozenset(text for name, text in forms.items() if name in names)
    return found


def _reads(row: Row) -> tuple[str, ...]:
    """Row controls that the computation reads."""
    return row.trained().reads


class _Views:
    """Controls and branches as cells see them; each distinct view is made once."""

    def __init__(self, matrix: ResolvedMatrix) -> None:
        self._matrix = matrix
        self._controls: Sections = plain(matrix.controls)
        self._branches: Sections = plain(matrix.branches)
        self._views: dict[tuple[int, tuple[str, ...]], tuple[Sections, Sections, str]] = {}
        self._checked: set[int] = set()
        self._whole: dict[int, tuple[Any, Any]] = {}
        self._kept: dict[str, tuple[Any, str]] = {}
        self._parts: dict[tuple[int, frozenset[str]], Sections] = {}

    def without(self, branches: Sections, left_out: frozenset[str]) -> Sections:
        """The branches, of `of`, without some; equal ones are one object."""
        if left_out.isdisjoint(branches):
            return branches
        same = (id(branches), left_out)
        if same not in self._parts:
            self._parts[same] = {name: section for name, section in branches.items() if name not in left_out}
        return self._parts[same]

    def of(self, changes: Mapping[str, Any], reads: tuple[str, ...]) -> tuple[Sections, Sections, str]:
        """Controls, branches, and the start of the text that is hashed into a cell's fingerprint."""
        known = self._views.get((id(changes), reads))
        if known is not None:
            return known
        if id(changes) not in self._whole:
            workload = self._matrix.workload
            controls, branches = changed(self._controls, self._branches, changes)
            self._whole[id(changes)] = (
                without_defaults(workload.controls, controls),
                without_defaults(workload.branches, branches),
            )
        controls, branches = self._whole[id(changes)]
        branches = without_choices(self._matrix.workload.branches, branches)
        sections = {name: self._shared(self._without(name, section, reads)) for name, section in controls.items()}
        parts = {name: self._shared(section) for name, section in branches.items()}
        text = canonical([{name: d for name, (_, d) in sections.items()}, {name: d for name, (_, d) in parts.items()}])
        view = (
            {name: section for name, (section, _) in sections.items()},
            {name: section for name, (section, _) in parts.items()},
            text[:-1] + ",",
        )
        self._views[id(changes), reads] = view
        return view

    def check(self, changes: Mapping[str, Any]) -> None:
        """Refuse inconsistent controls; `changes`: of a cell that is not excluded, after `of`."""
        if id(changes) in self._checked:
            return
        self._checked.add(id(changes))
        controls, branches = self._whole[id(changes)]
        found = first_problem(self._matrix.workload, controls, branches)
        if found is not None:
            key, problem = found
            at = ", ".join(f"{path}={axis_text(value)}" for path, value in changes.items())
            where = self._matrix.places.get(key, "matrix.yaml")
            raise MatrixError(f"{where}: {key} {problem} (profile {self._matrix.profile}{', ' + at if at else ''})")

    def _shared(self, section: Mapping[str, Any]) -> tuple[Any, str]:
        text = canonical(section)
        if text not in self._kept:
            self._kept[text] = (section, digest_of_text(text))
        return self._kept[text]

    def _without(self, name: str, section: Mapping[str, Any], reads: tuple[str, ...]) -> Mapping[str, Any]:
        """A section without row controls that are not read."""
        unread = {key for key in self._matrix.workload.row_controls if key not in reads}
        if not any(key.startswith(f"{name}.") for key in unread):
            return section
        return {key: value for key, value in section.items() if f"{name}.{key}" not in unread}
