"""Notes from other terminals: they never write the ledger, they put a small file into `inbox/`.

A note is written under a hidden name and renamed, so the driver never reads half of one. The driver
books it at its next tick and removes it afterwards: booking twice changes nothing.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from orchestrator.schedule.resilient_store import PASSING
from orchestrator.store.link import sync_folder
from workloads.contract.json_files import read_object

LARGEST = 64 << 20  # bytes of a note; one that names 600,000 jobs has 40 MiB

Verb = Literal["cancel", "retry", "interrupt"]


@dataclass(frozen=True, kw_only=True)
class Note:
    """What another terminal asks of the driver."""

    path: Path
    verb: Verb
    jobs: tuple[str, ...]
    """Fingerprints; for `interrupt`, the nonce of the driver that is asked, or nothing: whoever drives."""
    now: bool = False
    """Without asking for a checkpoint first: what a second Ctrl-C does."""
    stages: Mapping[str, str] = field(default_factory=dict)
    """Of the jobs, by fingerprint, for a driver whose plan does not have them."""


def put(
    home: Path, verb: Verb, jobs: Sequence[str] = (), *, now: bool = False, stages: Mapping[str, str] | None = None
) -> Path:
    """Leave a note for the driver of the study at `home`; `jobs` are fingerprints, `stages` those of the jobs."""
    folder = home / "inbox"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{_next_number(folder):020d}-{secrets.token_hex(4)}.json"
    temporary = folder / f".{name}.tmp"
    with temporary.open("w", encoding="utf-8") as note:
        json.dump({"verb": verb, "jobs": list(jobs), "now": now, "stages": dict(stages or {})}, note)
        note.flush()
        os.fsync(note.fileno())  # else a power cut may leave the name without the words
    put_there = temporary.rename(folder / name)
    for place in (folder, home):  # "asked" is a promise: the note is there after a power cut too
        sync_folder(place)
    return put_there


def _next_number(folder: Path) -> int:
    """One more than the last note that waits: `cancel` and then `retry` stay in this order whatever the clock does."""
    numbers = (entry.name.partition("-")[0] for entry in os.scandir(folder) if entry.name.endswith(".json"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1


def read(home: Path) -> list[Note]:
    """All notes, oldest first. What is no note is put aside as `*.broken`.

    One that the disk does not give now waits for the next look, and those after it with it: their order counts.
    """
    folder = home / "inbox"
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    except FileNotFoundError:
        return []
    notes: list[Note] = []
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        try:
            raw = read_object(path, LARGEST)
            if raw["verb"] not in get_args(Verb):
                raise ValueError(f"verb is {raw['verb']!r}")
            jobs = tuple(map(str, raw["jobs"]))
            stages = {str(job): str(stage) for job, stage in dict(raw.get("stages", {})).items()}
            notes.append(Note(path=path, verb=raw["verb"], jobs=jobs, now=raw.get("now") is True, stages=stages))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OSError) and error.errno in PASSING:
                break
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".broken"))
    return notes


def drop(notes: Sequence[Note]) -> None:
    """Remove notes that have been booked."""
    for note in notes:
        note.path.unlink(missing_ok=True)
