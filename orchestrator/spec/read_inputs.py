"""The control check `inputs`: whether all jobs that read a result have read the same of it.

Of a job of which others read items there may be several artifacts, since a study grows; there, items are compared: each
must have been made once, and taken over since.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.spec.cell import Cell
from orchestrator.wording import counted, shortened

Records = Mapping[str, Mapping[str, Any]]
"""Cell id -> record -> value, of the jobs that are done."""

SHOWN = 3
"""Cells that a detail names; the others are counted."""

DIGEST_DIGITS = 64
"""Hex digits of a sha256."""

Contents = dict[str, dict[str, None]]
"""Manifest -> ids of the cells that read it."""


def inputs_line(cells: Sequence[Cell], recorded: Mapping[str, Records]) -> dict[str, Any]:
    """What was read of each job, by all jobs of all steps.

    A read, in a record `inputs`, by stage, has `fingerprint` and `manifest`; `items`, where items are read: item ->
    manifest of the artifact in which it was made, and then `fingerprint` is that of the plan; and `planned`, where the
    plan has the fingerprint of a job that may not be read instead.

    `violated` where jobs read other contents of one job, or of one of its items (it was computed again between them),
    and where one read another job than its plan has.
    """
    readers = _readers(cells, recorded)
    details, odd = _unplanned(readers)
    reading: dict[tuple[str, str, str], Contents] = {}
    for (stage, fingerprint, manifest, _), (read, of_cells) in readers.items():
        for item, made in read.get("items", {"": manifest}).items():
            reading.setdefault((stage, fingerprint, item), {}).setdefault(made, {}).update(of_cells)
    alike: dict[tuple[str, str, str], list[str]] = {}
    for (stage, fingerprint, item), contents in reading.items():
        if len(contents) > 1:
            first, *others = sorted(contents, key=lambda manifest: -len(contents[manifest]))
            parts = (f"{short(manifest)} by {shortened(list(contents[manifest]), 1)}" for manifest in (first, *others))
            alike.setdefault((stage, fingerprint, ", ".join(parts)), []).append(item)
            odd |= {cell: None for manifest in others for cell in contents[manifest]}
    for (stage, fingerprint, how), items in alike.items():
        named = f" ({shortened(items, 1)})" if items != [""] else ""
        details.append(f"{stage} {short(fingerprint)}{named} was read as {how}")
    if details:
        return {"check": "inputs", "verdict": "violated", "detail": "; ".join(details), "cells": list(odd)}
    jobs = {(stage, fingerprint) for stage, fingerprint, _ in reading}
    verdict = "held" if jobs else "open"
    detail = f"{counted(len(jobs), 'job')} read with the same contents by all that read them" if jobs else "none yet"
    return {"check": "inputs", "verdict": verdict, "detail": detail, "cells": []}


_Readers = Mapping[tuple[str, str, str, int], tuple[Mapping[str, Any], dict[str, None]]]
"""Stage, fingerprint, manifest, identity of its items -> a read, and the cells that have it."""


def _readers(cells: Sequence[Cell], recorded: Mapping[str, Records]) -> _Readers:
    found: dict[tuple[str, str, str, int], tuple[Mapping[str, Any], dict[str, None]]] = {}
    for records in recorded.values():
        for cell in cells:
            for stage, read in records.get(cell.id, {}).get("inputs", {}).items():
                key = (stage, str(read["fingerprint"]), str(read["manifest"]), id(read.get("items")))
                found.setdefault(key, (read, {}))[1][cell.id] = None
    return found


def _unplanned(readers: _Readers) -> tuple[list[str], dict[str, None]]:
    """What was read in place of what the plan has, in words, and by which cells."""
    details: list[str] = []
    odd: dict[str, None] = {}
    for (stage, fingerprint, _, _), (read, of_cells) in readers.items():
        if "planned" in read:
            by = shortened(list(of_cells), 1)
            details.append(f"{stage} {short(fingerprint)} was read by {by}, and the plan has {short(read['planned'])}")
            odd |= of_cells
    return details, odd


def short(text: str) -> str:
    """A canonical value for display: digests are cut to twelve digits."""
    text = text.strip('"')
    return text[:12] if len(text) == DIGEST_DIGITS else text
