"""Configuration loading: validates matrix.yaml and merges one profile with the overrides.

`load_matrix` always validates the base and *every* profile, so that a mistake in a profile that is not used yet is
found at once. Precedence: base < profile < axis value < command line; for its own rows, a deviation's value comes
before all of them.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import MatrixError
from orchestrator.spec import parts
from orchestrator.spec.branches import check_branches, merged_branches
from orchestrator.spec.exclusion import read_exclusion
from orchestrator.spec.limits import MOST_CELLS
from orchestrator.spec.lines import (
    COMMAND_LINE,
    Place,
    compose_file,
    entries,
    listed,
    nearest,
    place_of,
    read_text,
    refuse,
)
from orchestrator.spec.overrides import Overrides, read_overrides
from orchestrator.spec.schema import Axis, Matrix, ResolvedMatrix, resources_of
from orchestrator.spec.typed import Reader, build
from orchestrator.spec.variants import changed, first_problem, labels_of, variants
from orchestrator.spec.workload import KEY, workload_of
from workloads.contract.fields import plain
from workloads.contract.loading import MATRIX_KEYS, OPTIONAL_KEYS
from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.contract.rows import Row, RowError, resolved, row_from
from workloads.contract.workload import Workload

MOST_PROFILES = 100

CHECKED_COMBINATIONS = 64
"""Combinations of axis values that are checked in each profile; `expand` checks all of the profile it expands."""


def top_keys(workload: Workload) -> tuple[str, ...]:
    """The keys of matrix.yaml, in its usual order."""
    after = MATRIX_KEYS.index("controls") + 1
    return (*MATRIX_KEYS[:after], workload.rows_key, *MATRIX_KEYS[after:])


def load_matrix(path: Path) -> Matrix:
    """Read matrix.yaml.

    Raises:
        MatrixError: anything that is not valid, with file, line, key and what is allowed.
    """
    source = str(path)
    places: dict[str, int] = {}
    reader = Reader(source, places)
    root = compose_file(path)
    nodes: dict[str, yaml.Node] = {}
    written = list(entries(root, source, ""))
    named = next(((node, place) for name, node, place in written if name == KEY), None)
    module = _module(named)
    workload = workload_of(module, path, Place(source, None) if named is None else named[1])
    top, rows_key = top_keys(workload), workload.rows_key
    for name, node, place in written:
        if name not in top:
            refuse(place, name, f"is unknown{nearest(name, top)}{listed(top)}")
        nodes[name] = node
        reader.note(name, place)
    absent = [name for name in top if name not in nodes and name not in OPTIONAL_KEYS]
    if absent:
        empty = {"axes": "{}", "tables": "{}", "deviations": "[]"}
        hints = ", ".join(f"{name}: {empty[name]}" for name in absent if name in empty)
        verb, hint = "is" if len(absent) == 1 else "are", f"; for none, write {hints}" if hints else ""
        raise MatrixError(f"{source}: {', '.join(absent)} {verb} missing{hint}{listed(top)}")

    study = read_text(nodes["study"], place_of(nodes["study"], source), "study")
    parts.check_name(study, place_of(nodes["study"], source), "study")
    rows = parts.named(reader, nodes[rows_key], rows_key, lambda r, n, k: parts.row(r, n, k, workload))
    if not rows:
        family = workload.families[0].family
        where = place_of(nodes[rows_key], source)
        refuse(where, rows_key, f"has no rows; write one, NAME: {{family: {family}, ...}}")
    controls = build(workload.controls, reader.section(nodes["controls"], workload.controls, "controls"))
    branches = build(workload.branches, reader.section(nodes["branches"], workload.branches, "branches"))
    axes = parts.named(reader, nodes["axes"], "axes", lambda r, n, k: parts.axis(r, n, k, workload))
    parts.check_axes(axes, reader)
    seeds = parts.seeds(reader, nodes["seeds"], "seeds")
    profiles = parts.named(
        reader, nodes["profiles"], "profiles", lambda r, n, k: parts.profile(r, n, k, workload, rows)
    )
    matrix = Matrix(
        path=path,
        study=study,
        seeds=seeds,
        workload_name=module,
        workload=workload,
        controls=controls,
        rows=rows,
        axes=axes,
        branches=branches,
        tables=parts.named(reader, nodes["tables"], "tables", lambda r, n, k: parts.ranked(r, n, k, rows)),
        deviations=parts.deviations(reader, nodes["deviations"], rows, axes, workload),
        exclusion=read_exclusion(
            reader,
            nodes,
            rows,
            {name: (parts.control_hint(axis.key, workload), axis.values) for name, axis in axes.items()},
            {*seeds, *(seed for profile in profiles.values() for seed in profile.seeds or ())},
        ),
        profiles=profiles,
        places=places,
    )
    if not 1 <= len(matrix.profiles) <= MOST_PROFILES:
        place = place_of(nodes["profiles"], source)
        refuse(place, "profiles", f"has {len(matrix.profiles)} profiles; allowed: 1 to {MOST_PROFILES}")
    _check_whole(matrix, plain(controls), plain(branches))
    for name, profile in matrix.profiles.items():
        _check_whole(
            matrix,
            _over(plain(controls), profile.controls),
            merged_branches(plain(branches), profile.branches),
            profile=name,
        )
    return matrix


def workload_named(path: Path) -> str:
    """The module that matrix.yaml names as its workload; nothing is imported.

    Raises:
        MatrixError: it is not YAML, or names none in a way that can be read.
    """
    written = entries(compose_file(path), str(path), "")
    return _module(next(((node, place) for name, node, place in written if name == KEY), None))


def _module(named: tuple[yaml.Node, Place] | None) -> str:
    return DEFAULT_WORKLOAD if named is None else read_text(named[0], named[1], KEY)


def resolve_profile(matrix: Matrix, profile: str, overrides: Sequence[str]) -> ResolvedMatrix:
    """One profile of `matrix` with `overrides` such as `controls.training.steps=7`.

    Raises:
        MatrixError: an unknown profile or key, a wrong type, a value out of range, an override of the key of an axis,
            or controls that are inconsistent.
    """
    if profile not in matrix.profiles:
        raise MatrixError(
            f"{matrix.path}: profile {profile!r} is unknown{nearest(profile, matrix.profiles)}{listed(matrix.profiles)}"
        )
    chosen, workload = matrix.profiles[profile], matrix.workload
    given = read_overrides(overrides, matrix)
    merged: Any = {
        "controls": _over(plain(matrix.controls), chosen.controls),
        "resources": plain(chosen.resources),
    }
    above = {name: changes for name, changes in given.tree.items() if name != "branches"}
    if above:
        from omegaconf import OmegaConf  # 50 ms, for overrides alone

        merged = OmegaConf.to_container(OmegaConf.merge(merged, above), resolve=False)
    branches = merged_branches(plain(matrix.branches), chosen.branches, given.tree.get("branches", {}))
    places = _places(matrix, profile, given)
    check_branches(matrix.workload, branches, matrix.rows, places, f" (profile {profile})", str(matrix.path))
    result = ResolvedMatrix(
        study=matrix.study,
        profile=profile,
        overrides=given.texts,
        seeds=given.seeds or chosen.seeds or matrix.seeds,
        workload_name=matrix.workload_name,
        workload=workload,
        controls=build(workload.controls, merged["controls"]),
        rows=_changed_rows(matrix, given),
        axes=_chosen(matrix, given),
        branches=build(workload.branches, branches),
        tables=matrix.tables,
        deviations=matrix.deviations,
        exclusion=matrix.exclusion,
        profile_rows=given.profile_rows or chosen.rows or tuple(matrix.rows),
        resources=build(resources_of(workload), merged["resources"]),
        places=places,
    )
    _check_number(result, matrix.path)
    _check_whole(matrix, merged["controls"], branches, profile=profile, given=given)
    return result


def _check_number(resolved: ResolvedMatrix, path: Path) -> None:
    """Refuse more cells than one plan can hold."""
    combinations = math.prod(len(axis.values) for axis in resolved.axes.values())
    rows, seeds = len(resolved.rows), len(resolved.seeds)
    if rows * combinations * seeds > MOST_CELLS:
        raise MatrixError(
            f"{path}: profile {resolved.profile} has {rows * combinations * seeds} cells, rows({rows}) * combinations "
            f"of axis values({combinations}) * seeds({seeds}); allowed: {MOST_CELLS}; split it into several matrices"
        )


def _changed_rows(matrix: Matrix, given: Overrides) -> dict[str, Row]:
    rows = dict(matrix.rows)
    for name, parameters in given.rows.items():
        try:
            rows[name] = row_from(matrix.workload.family, {**resolved(rows[name]), **parameters})
        except RowError as error:
            refuse(COMMAND_LINE, f"{matrix.workload.rows_key}.{name}", f"is not valid: {error}")
    return rows


def _places(matrix: Matrix, profile: str | None, given: Overrides | None) -> dict[str, str]:
    """Where the value of each key is set, by precedence."""
    prefix = f"profiles.{profile}."
    lines = {key: line for key, line in matrix.places.items() if not key.startswith("profiles.")}
    lines.update({key.removeprefix(prefix): line for key, line in matrix.places.items() if key.startswith(prefix)})
    lines.update({axis.key: matrix.places[f"axes.{name}.values"] for name, axis in matrix.axes.items()})
    places = {key: f"{matrix.path}:{line}" for key, line in lines.items()}
    if given is not None:
        places.update({key: COMMAND_LINE for key in given.keys})
        places.update({matrix.axes[name].key: COMMAND_LINE for name in given.axes})
    return places


def _over(base: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`base` with a profile's changes: as OmegaConf merges them, in a thirtieth of the time."""
    return {name: {**section, **changes.get(name, {})} for name, section in base.items()}


def _check_whole(
    matrix: Matrix,
    controls: Mapping[str, Any],
    branches: Mapping[str, Any],
    *,
    profile: str | None = None,
    given: Overrides | None = None,
) -> None:
    """Refuse inconsistent controls, in the first combinations of axes and deviations."""
    seen: list[Mapping[str, Any]] = []
    places, where = _places(matrix, profile, given), f" (profile {profile})" if profile else ""
    check_branches(matrix.workload, branches, matrix.rows, places, where, str(matrix.path))
    axes = matrix.axes if given is None else _chosen(matrix, given)
    for name, axis in axes.items():
        top, branch, _ = axis.key.split(".")
        if top == "branches" and branch not in branches:
            off = f"is {axis.key}, but branch {branch} is off{where}; switch it on there, or remove the axis"
            refuse(places.get(f"axes.{name}.key", str(matrix.path)), f"axes.{name}.key", off)
    combinations = variants(axes, matrix.deviations, matrix.rows)
    for values, changes_of in itertools.islice(combinations, CHECKED_COMBINATIONS):
        labels = labels_of(axes, values)
        kept = [changes for row, changes in changes_of.items() if matrix.exclusion.keeps(row, labels)]
        for changes in {id(changes): changes for changes in kept}.values():
            if changes in seen:
                continue
            seen.append(changes)
            found = first_problem(matrix.workload, *changed(controls, branches, changes))
            if found is not None:
                key, problem = found
                refuse(places.get(key, str(matrix.path)), key, f"{problem}{where}")


def _chosen(matrix: Matrix, given: Overrides) -> dict[str, Axis]:
    """The axes, with values from the command line where given."""
    return {name: replace(axis, values=given.axes.get(name, axis.values)) for name, axis in matrix.axes.items()}
