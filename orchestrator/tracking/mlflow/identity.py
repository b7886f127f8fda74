"""Which experiment a study's runs belong to, and which of them are its own on a server that others use too."""

import socket
import uuid
from pathlib import Path

from orchestrator.plan.job import REHEARSAL, Plan
from workloads.contract.json_files import read_object, write_object

NAME = "tracking.json"
"""File in the study's folder with its identity."""
LARGEST = 1 << 16


def experiment_of(plan: Plan, home: Path) -> str:
    """Name of the experiment: the study's, or one of its own for results that have no meaning.

    A smoke run and a run on a backend that only pretends have cells with the same fingerprints as the real ones.
    """
    rehearsal = home.name == f"{plan.study}{REHEARSAL}" or any(job.smoke for job in plan.jobs.values())
    return f"{plan.study}{REHEARSAL}" if rehearsal else plan.study


def home_id(home: Path) -> str:
    """Identity of a study's folder, made at the first call; a copy gets its own, and a folder that was moved keeps its.

    Runs of several folders of the same study may be on one server: two people, two machines.

    Raises:
        OSError: it cannot be written.
    """
    path, place = home / NAME, _place(home)
    try:
        known = read_object(path, LARGEST)
    except (OSError, ValueError):
        known = {}
    same = known.get("inode") == place["inode"] or all(known.get(key) == place[key] for key in ("host", "path"))
    found = str(known.get("id") or "") if same else ""
    found = found or uuid.uuid4().hex
    wanted = {"id": found, **place}
    if wanted != known:
        write_object(path, wanted)
    return found


def _place(home: Path) -> dict[str, str | int]:
    """Where a folder is; a copy has another inode, and one that was moved to another disk another path as well."""
    return {"host": socket.gethostname(), "path": str(home.resolve()), "inode": home.stat().st_ino}
