"""Provenance of the code that runs: the git commits of this package and of a workload that lies elsewhere."""

import subprocess
from pathlib import Path

from orchestrator.host.code import PACKAGES, Package


def commits_of(workload: Package) -> str:
    """The commit of this checkout, and that of a workload's package in another repository behind its name.

    `-dirty` stands where files were changed; a part is left out where there is no checkout.
    """
    ours = _describe(Path(__file__).parent)
    name, place = workload
    if name in PACKAGES:
        return ours
    theirs = _describe(place if place.is_dir() else place.parent)
    return ours if theirs in ("", ours) else f"{ours} {name}:{theirs}".strip()


def _describe(folder: Path) -> str:
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
