"""Recorded runs: what each run asked for, as rows of the ledger.

`gc` keeps what they asked for, and commands that look show the newest one while matrix.yaml cannot be planned.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.plan.job import Plan
from orchestrator.plan.recorded import WRITTEN_APART, plan_document, plan_of


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What a run asked for; of equal requests, the newest."""

    number: int
    """Rises with each run."""
    matrix: str
    """Absolute path of its matrix file; empty: an older version recorded it, which did not know."""
    beside: str
    """The same, relative to the folder of the study: it stays right when both are moved together."""
    profile: str
    overrides: tuple[str, ...]
    selection: Mapping[str, Any]
    at: float
    """When it began, seconds since 1970; 0: not known."""

    def is_of(self, matrix: Path, home: Path) -> bool:
        """Whether this is a run of the file `matrix`, for the study in the folder `home`."""
        return bool(self.matrix) and text_of(matrix.resolve()) in (self.matrix, self._beside(home))

    def file(self, home: Path) -> str:
        """Where its matrix file is now: the place where it ran, unless only its place relative to `home` has a file."""
        moved = self._beside(home)
        return moved if self.matrix and self.is_gone and path_of(moved).exists() else self.matrix

    def _beside(self, home: Path) -> str:
        return os.path.normpath(f"{text_of(home.resolve())}{os.sep}{self.beside}")

    @property
    def is_gone(self) -> bool:
        """Whether its file may have another name now: there is none at its path, or the path is not known."""
        try:
            return not self.matrix or not path_of(self.matrix).exists()
        except OSError:  # it may be there, where this user may not look
            return False


def text_of(path: Path) -> str:
    """A path as the ledger keeps it: SQLite takes Unicode alone, and a name may be other bytes, or the locale C's."""
    return os.fsencode(path).decode(errors="backslashreplace")


def path_of(text: str) -> Path:
    """The path of a `text_of`; of a name that is no UTF-8, none that exists."""
    return Path(os.fsdecode(text.encode()))


COLUMNS = tuple(RecordedRun.__dataclass_fields__)


def run_of(row: Sequence[Any]) -> RecordedRun:
    """The run of a row of `COLUMNS`.

    Raises:
        ValueError: the row is damaged.
    """
    found = dict(zip(COLUMNS, row, strict=True))
    try:
        found |= {"overrides": tuple(json.loads(found["overrides"])), "selection": json.loads(found["selection"])}
    except TypeError as error:
        raise ValueError(str(error)) from error
    return RecordedRun(**found)


SHAPE = 1
"""Version of what `shape_of` and `plan_column` cover."""


def request_of(plan: Plan, selection: Mapping[str, Any] | None, matrix: Path | None, home: Path) -> dict[str, Any]:
    """What a run asks for, as columns; equal for equal requests."""
    path = None if matrix is None else matrix.resolve()
    return {
        "matrix": "" if path is None else text_of(path),
        "beside": "" if path is None else os.path.relpath(text_of(path), text_of(home.resolve())),
        "profile": plan.profile,
        "overrides": json.dumps(plan.overrides),
        "selection": json.dumps(selection or {}, sort_keys=True),
        "fingerprints": _packed(sorted(job.fingerprint for job in plan.jobs.values())),
    }


def shape_of(plan: Plan, settings: Mapping[str, Any] | None) -> str:
    """Digest of what `plan_column` has beside fingerprints, in a fraction of its time."""
    resources = {(job.stage, id(job.resources)): job.resources for job in plan.jobs.values()}
    kinds = sorted({f"{stage} {one}" for (stage, _), one in resources.items()})
    stages = [str(stage) for stage in plan.workload.stages]
    said = [settings, stages, kinds, [str(value) for name, value in vars(plan).items() if name not in WRITTEN_APART]]
    names = [job.label for job in plan.jobs.values()] + [cell.id for cell in plan.cells]
    return hashlib.sha256(json.dumps([SHAPE, said, names]).encode()).hexdigest()


def plan_column(plan: Plan, settings: Mapping[str, Any] | None) -> bytes:
    """A plan and the settings of its execution, as a column."""
    return _packed({"plan": plan_document(plan), "settings": dict(settings or {})})


def plan_and_settings(content: bytes) -> tuple[Plan, Mapping[str, Any]]:
    """What `plan_column` wrote.

    Raises:
        ValueError: the content is damaged, or of another version.
    """
    whole = _unpacked(content)
    return plan_of(whole["plan"]), whole["settings"]


def fingerprints_of(content: bytes) -> frozenset[str]:
    """Fingerprints of all jobs of a run's plan; empty: they are not known.

    Raises:
        ValueError: the content is damaged.
    """
    return frozenset(_unpacked(content)) if content else frozenset()


def _packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def _unpacked(content: bytes) -> Any:
    try:
        return json.loads(zlib.decompress(content))
    except (zlib.error, TypeError) as error:
        raise ValueError(str(error)) from error
