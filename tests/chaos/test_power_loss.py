"""A power cut at any moment: what was acknowledged is there, and what is there is whole or known to be torn."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import Disk, cuts

from orchestrator.host.checkpoints import newest_checkpoint
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.control import channel
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.lease_holder import this_process
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.store.files import FilesStore
from orchestrator.store.link import write_synced
from orchestrator.store.manifest import verify_bytes
from orchestrator.testing.stores import FINGERPRINT, make_commit
from workloads.runtime.step_folders import MANIFEST, Damaged, check, complete, entry, read_manifest

OTHER = "cd" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the disk holds, and has held for long."""
    root = tmp_path / "disk"
    (root / "study").mkdir(parents=True)
    return root


@pytest.fixture
def disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    yield Disk(root, monkeypatch)


def write_and_commit(store: FilesStore, attempt: str, fingerprint: str) -> bool:
    """As a workload does: nothing is synced before `commit`."""
    commit = make_commit(attempt, fingerprint)
    folder = store.prepare(commit.stage, fingerprint, attempt)
    (folder / "samples").mkdir()
    (folder / "weights.bin").write_bytes(attempt.encode() * 50)
    (folder / "samples" / "step-1.txt").write_text("one", encoding="utf-8")
    return store.commit(commit, folder)


def test_no_commit_names_what_is_missing_or_torn_and_an_acknowledged_one_stays(
    root: Path, disk: Disk, tmp_path: Path
) -> None:
    with disk:
        store = FilesStore(root / "study" / "store")
        store.check()
        for attempt, fingerprint in (("a001-x", FINGERPRINT), ("a001-y", OTHER)):
            assert write_and_commit(store, attempt, fingerprint)
            disk.promise(fingerprint)
    number, names = 0, {FINGERPRINT, OTHER}
    for number, (folder, promised, where) in enumerate(cuts(disk, tmp_path / "cuts"), 1):
        left = FilesStore(folder / "study" / "store")
        assert left.commits() >= promised, where
        for fingerprint in left.commits():
            commit = left.read(fingerprint)
            verify_bytes(left.fetch(fingerprint), commit.manifest)
        if number % 8:
            continue  # the disk of the tests is slow
        left.check()
        left.sweep(())
        assert all(write_and_commit(left, "a002-z", fingerprint) for fingerprint in names - left.commits()), where
        assert left.commits() == names
        assert not list(left.root.glob("commits/.*"))
    assert number > 100


def test_a_commit_that_is_withdrawn_is_here_or_there(root: Path, disk: Disk, tmp_path: Path) -> None:
    store = FilesStore(root / "study" / "store")
    assert write_and_commit(store, "a001-x", FINGERPRINT)
    with disk:
        store.withdraw(FINGERPRINT)
        disk.promise("withdrawn")
    for folder, promised, where in cuts(disk, tmp_path / "cuts"):
        left = FilesStore(folder / "study" / "store")
        aside = list((left.root / "withdrawn").glob("*.json"))
        assert left.commits() or aside, where
        assert not (promised and left.commits()), where


def test_a_study_whose_driver_lost_its_power_is_taken_over(root: Path, disk: Disk, tmp_path: Path) -> None:
    earlier = dataclasses.replace(this_process(), boot_id="before the cut")
    with disk:
        lease = acquire(root / "outputs" / "study", SimulatedClock(), earlier)
        disk.promise("home")
        lease.beat()
        lease.release()
    for folder, promised, where in cuts(disk, tmp_path / "cuts"):
        home, clock = folder / "outputs" / "study", SimulatedClock()
        assert home.is_dir() or not promised, where
        with acquire(home, clock) as taken:
            taken.check()
            assert clock.monotonic() <= 1_000_065.0, where
        names = {path.name for path in home.iterdir()}
        assert names <= {f".driver-{earlier.nonce}.tmp"}, "a file of another boot may belong to another machine"


def test_a_note_is_whole_or_not_there_and_one_that_was_put_is_there(root: Path, disk: Disk, tmp_path: Path) -> None:
    with disk:
        channel.send(root / "study", "cancel", [FINGERPRINT])
        disk.promise("note")
    for folder, promised, where in cuts(disk, tmp_path / "cuts"):
        notes = channel.pending(folder / "study")
        assert [(note.verb, note.jobs) for note in notes] in ([], [("cancel", (FINGERPRINT,))]), where
        assert notes or not promised, where
        assert not list((folder / "study").rglob("*.broken")), where


def is_intact(checkpoint: Path) -> bool:
    try:
        _, files = read_manifest(checkpoint)
        check(checkpoint, files, list(files))
    except Damaged:
        return False
    return True


def test_a_checkpoint_is_whole_or_known_to_be_torn_and_one_that_was_completed_is_there(
    root: Path, disk: Disk, tmp_path: Path
) -> None:
    attempt = root / "study" / "attempts" / FINGERPRINT[:16] / "a001-x"
    with disk:
        attempt.mkdir(parents=True)
        for step in (1, 2, 3):
            temporary = attempt / "checkpoints" / f".step-{step}.tmp"
            temporary.mkdir(parents=True)
            for name in ("model", "optimizer"):
                (temporary / name).write_bytes(f"{name} {step} ".encode() * 20)
            files = [entry(path) for path in sorted(temporary.iterdir())]
            complete(temporary, attempt / "checkpoints" / f"step-{step}", {"step": step, "files": files}, durable=True)
            disk.promise(str(step))
    for folder, promised, where in cuts(disk, tmp_path / "cuts"):
        found = sorted((folder / "study").rglob("step-*"))
        steps = [int(path.name.removeprefix("step-")) for path in found if is_intact(path)]
        assert max(steps, default=0) >= max(map(int, promised), default=0), where
        offered = newest_checkpoint(folder / "study", FINGERPRINT)
        if offered is not None and not is_intact(offered.path):
            assert (offered.path / MANIFEST).stat().st_size > 0, "passed over by the workload, which reads the bytes"


def test_an_intention_is_on_disk_before_the_act(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger._connection.execute("PRAGMA synchronous").fetchone()[0] == 3, "EXTRA: the folder too"
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_the_disk_forgets_a_write_that_was_not_synced_and_a_name_whose_folder_was_not(
    root: Path, disk: Disk, tmp_path: Path
) -> None:
    (root / "old").write_text("old")
    with disk:
        (root / "loose").write_text("gone perhaps")
        write_synced(root / "kept", b"its name may be gone")
        (root / "old").rename(root / "new")
    states = [
        {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        for folder, _, _ in cuts(disk, tmp_path / "cuts")
    ]
    assert {"old": "old"} in states, "all is forgotten"
    assert {"new": "old", "loose": "gone perhaps", "kept": "its name may be gone"} in states, "nothing is"
    assert {"old": "old", "loose": ""} in states, "a name without its bytes"
    assert {"new": "old", "kept": "its name may be gone"} in states, "a later rename without an earlier name"
    assert all(("old" in state) != ("new" in state) for state in states), "a rename is whole or not at all"
