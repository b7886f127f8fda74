"""Finding and deleting a job's checkpoints lists a number of folders that does not grow with its attempts."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.checkpoints import (
    JobCheckpoints,
    attempt_folder,
    job_folder,
    newest_checkpoint,
    step_of,
)

FINGERPRINT = "f" * 64
LISTING = ("os.scandir", "os.listdir")


class Listings:
    """Counts directory listings below a folder; an audit hook cannot be removed, so it is installed once."""

    def __init__(self) -> None:
        self.below = ""
        self.count = 0
        sys.addaudithook(self._hear)

    def of(self, below: Path) -> "Listings":
        self.below, self.count = str(below), 0
        return self

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.below and event in LISTING and str(arguments[0]).startswith(self.below):
            self.count += 1


@pytest.fixture(scope="module")
def listings() -> Listings:
    return Listings()


def save(home: Path, attempt: str, step: int) -> Path:
    """Write a complete checkpoint."""
    folder = attempt_folder(home, FINGERPRINT, attempt) / "checkpoints" / f"step-{step}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (folder / "manifest.json").write_text(json.dumps({"step": step, "files": [{"path": "state.json", "size": 2}]}))
    return folder


def test_listings_grow_with_the_attempts_and_not_with_their_square(tmp_path: Path, listings: Listings) -> None:
    counts = []
    for number in range(60):
        attempt = f"a{number:03d}"
        counter = listings.of(job_folder(tmp_path, FINGERPRINT))
        newest = newest_checkpoint(tmp_path, FINGERPRINT)
        assert (-1 if newest is None else newest.step) == number - 1
        save(tmp_path, attempt, number)
        assert step_of(JobCheckpoints(tmp_path, FINGERPRINT, attempt).newest()) == number
        JobCheckpoints(tmp_path, FINGERPRINT).drop_older(2)
        counts.append(counter.count)
    listings.below = ""
    assert max(counts) <= 10 and counts[-1] == counts[10], counts
    assert len(list(job_folder(tmp_path, FINGERPRINT).glob("*/checkpoints/*"))) == 2


def test_only_the_newest_complete_checkpoints_stay(tmp_path: Path) -> None:
    save(tmp_path, "a001", 90)
    kept = [save(tmp_path, "a001", 100), save(tmp_path, "a002", 95)]
    torn = save(tmp_path, "a003", 110)
    (torn / "manifest.json").unlink()
    short = save(tmp_path, "a003", 120)
    (short / "state.json").write_text("")
    unfinished = attempt_folder(tmp_path, FINGERPRINT, "a002") / "checkpoints" / ".step-99.tmp"
    unfinished.mkdir()
    foreign = attempt_folder(tmp_path, FINGERPRINT, "a001") / "checkpoints" / "notes.txt"
    foreign.touch()
    JobCheckpoints(tmp_path, FINGERPRINT).drop_older(2)
    assert sorted(job_folder(tmp_path, FINGERPRINT).glob("*/checkpoints/*")) == sorted([*kept, foreign])
    newest = newest_checkpoint(tmp_path, FINGERPRINT)
    assert newest is not None and newest.path == kept[0]
    JobCheckpoints(tmp_path, FINGERPRINT).drop()
    assert list(job_folder(tmp_path, FINGERPRINT).glob("*/checkpoints")) == []
    JobCheckpoints(tmp_path / "nowhere", FINGERPRINT).drop()
