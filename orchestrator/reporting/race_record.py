"""The file of a race, `race-PROFILE.json` in the folder of the study: what was stopped, when, and by which e-value.

It shows what the results say, and decides nothing: the next `run --race` looks at the results again.
"""

import json
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.plan.job import Plan
from orchestrator.reporting.decoding import decoded
from orchestrator.spec.canonical import digest
from orchestrator.store.link import sync_folder, write_synced
from workloads.contract.json_files import object_of, read_plain

if TYPE_CHECKING:
    from reports.input import Race

VERSION = 1
LARGEST = 64 << 20


def race_file(home: Path, profile: str) -> Path:
    """The file of one profile."""
    return home / f"race-{profile}.json"


def read_race(home: Path, plan: Plan) -> "Race | None":
    """The race of a plan's rows; None: none, or with other controls or branches, or the file cannot be read.

    What is lost with it, the next `run --race` finds in the results.
    """
    path = race_file(home, plan.profile)
    try:
        raw = object_of(read_plain(path, LARGEST), path)
        if (raw.get("version"), raw.get("declared")) != (VERSION, _declared(plan)):
            return None
        from reports.input import Race  # most studies do not race, and `status` reads nothing else of the report

        found: Race = decoded(Race, raw.get("race"), f"{path}: race")
        return found
    except (OSError, ValueError):
        return None


def write_race(home: Path, plan: Plan, race: "Race") -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = race_file(home, plan.profile)
    document = {"version": VERSION, "declared": _declared(plan), "race": asdict(race)}
    temporary = path.with_name(f".race-{secrets.token_hex(8)}.tmp")
    write_synced(temporary, (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    temporary.replace(path)
    sync_folder(home)


def _declared(plan: Plan) -> str:
    """Digest of what the values that decide depend on beside rows and seeds."""
    branches = {name: section for cell in plan.cells for name, section in cell.branches.items()}
    return digest({"controls": plan.controls_fingerprint, "branches": branches})
