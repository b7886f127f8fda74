"""The file of a race, `race-PROFILE.json` in the folder of the study: what was stopped, when, and by which e-value.

It shows what the results say, and decides nothing: the next `run --race` looks at the results again.
"""

import json
import secrets
from dataclasses import asdict
from pathlib import Path

from orchestrator.errors import PlanError
from orchestrator.plan.job import Plan
from orchestrator.reporting.decoding import decoded
from orchestrator.store.link import sync_folder, write_synced
from reports.input import Race
from workloads.contract.json_files import object_of, read_plain

VERSION = 1
LARGEST = 64 << 20


def race_file(home: Path, profile: str) -> Path:
    """The file of one profile."""
    return home / f"race-{profile}.json"


def read_race(home: Path, plan: Plan) -> Race | None:
    """The race of a plan's rows; None: they did not race, or only with other controls.

    Raises:
        PlanError: the file is damaged.
    """
    path = race_file(home, plan.profile)
    try:
        raw = object_of(read_plain(path, LARGEST), path)
        if raw.get("version") != VERSION:
            raise ValueError(f"{path}: version is {str(raw.get('version'))[:40]!r}; this code reads {VERSION}")
        if raw.get("controls") != plan.controls_fingerprint:
            return None
        found: Race = decoded(Race, raw.get("race"), f"{path}: race")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PlanError(f"{error}; `echo-matrix run --race` makes {path.name} again once it is moved away") from error


def write_race(home: Path, plan: Plan, race: Race) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = race_file(home, plan.profile)
    document = {"version": VERSION, "controls": plan.controls_fingerprint, "race": asdict(race)}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_synced(temporary, (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    temporary.replace(path)
    sync_folder(home)
