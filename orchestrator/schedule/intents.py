"""`intent.json` of an attempt's folder: what the ledger was told of it, for the day on which there is no ledger.

An attempt may outlive its driver and the ledger; who finds its folder then must know its place on the host, or would
give the place to another. Written before the intent is booked; a folder without it comes from older code.
"""

import json
from dataclasses import asdict
from pathlib import Path

from orchestrator.schedule.ledger.records import Attempt
from workloads.contract.json_files import read_object

NAME = "intent.json"
WORDS = ("id", "fingerprint", "job", "label", "stage", "backend")
FIELDS = (*WORDS, "intended", "begun", "cpus", "devices")


def write_intent(folder: Path, attempt: Attempt) -> None:
    """Write what is decided of an attempt into its folder."""
    decided = {name: value for name, value in asdict(attempt).items() if name in FIELDS}
    (folder / NAME).write_text(json.dumps(decided), encoding="utf-8")


def read_intent(folder: Path) -> Attempt | None:
    """What was decided of the attempt in `folder`; None where nobody can say."""
    try:
        raw = read_object(folder / NAME)
        words = {name: raw[name] for name in WORDS}
        devices, numbers = raw["devices"], (raw["begun"], raw["cpus"])
        intended = float(raw["intended"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(isinstance(word, str) for word in words.values()) or not isinstance(devices, list):
        return None
    if not all(isinstance(number, int) for number in (*numbers, *devices)):
        return None
    return Attempt(**words, intended=intended, begun=numbers[0], cpus=numbers[1], devices=tuple(devices))
