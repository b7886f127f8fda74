"""Control channel: commands from other processes, one small file each in `inbox/` of the study.

Only the controller writes the ledger. A command is written under a hidden name and renamed, so the controller never
reads half of one. The controller carries it out at its next tick and removes the file afterwards; commands are
idempotent.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from orchestrator.schedule.resilient_store import TRANSIENT_ERRNOS
from orchestrator.store.link import sync_folder, write_synced
from workloads.contract.json_files import read_object

LARGEST = 64 << 20  # bytes of a command; one that names 600,000 jobs has 40 MiB

Verb = Literal["cancel", "retry", "interrupt"]


@dataclass(frozen=True, kw_only=True)
class ControlCommand:
    """A command of another process to the controller."""

    path: Path
    verb: Verb
    jobs: tuple[str, ...]
    """Fingerprints; for `interrupt`, the nonce of the lease holder that is meant; empty: any holder."""
    now: bool = False
    """Attempts are killed without a checkpoint, as by a second Ctrl-C."""
    stages: Mapping[str, str] = field(default_factory=dict)
    """Of the jobs, by fingerprint, for a controller whose plan does not have them."""


def send(
    home: Path, verb: Verb, jobs: Sequence[str] = (), *, now: bool = False, stages: Mapping[str, str] | None = None
) -> Path:
    """Send a command to the controller of the study at `home`; `jobs` are fingerprints, `stages` those of the jobs."""
    folder = home / "inbox"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{_next_number(folder):020d}-{secrets.token_hex(4)}.json"
    temporary = folder / f".{name}.tmp"
    content = {"verb": verb, "jobs": list(jobs), "now": now, "stages": dict(stages or {})}
    write_synced(temporary, json.dumps(content).encode())
    sent = temporary.rename(folder / name)
    for place in (folder, home):  # a command that was sent survives a power cut
        sync_folder(place)
    return sent


def _next_number(folder: Path) -> int:
    """One more than the last pending one, so that the order of commands does not depend on a clock."""
    numbers = (entry.name.partition("-")[0] for entry in os.scandir(folder) if entry.name.endswith(".json"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1


def pending(home: Path) -> list[ControlCommand]:
    """All pending commands, oldest first; a file that holds no command is renamed to `*.broken`.

    A command that cannot be read now, and those after it, are left for the next call, because their order counts.
    """
    folder = home / "inbox"
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    except FileNotFoundError:
        return []
    commands: list[ControlCommand] = []
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
            now = raw.get("now") is True
            commands.append(ControlCommand(path=path, verb=raw["verb"], jobs=jobs, now=now, stages=stages))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS:
                break
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".broken"))
    return commands


def remove(commands: Sequence[ControlCommand]) -> None:
    """Remove commands that have been carried out."""
    for command in commands:
        command.path.unlink(missing_ok=True)
