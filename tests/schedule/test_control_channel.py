"""Notes from other terminals; attempt folders and checkpoints."""

import json
import time
from pathlib import Path

import pytest
from toy_study import Settings, fingerprint, make_job

from orchestrator.errors import PlanError
from orchestrator.host.checkpoints import JobCheckpoints, attempt_folder, newest_checkpoint, step_of
from orchestrator.schedule.control import channel
from orchestrator.schedule.control.commands import request
from orchestrator.schedule.launcher import build_request, new_attempt_id
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.retry_policy import Charges, verdict
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import BUILT_IN

JOB = make_job("train", "train/a")


def write_checkpoint(home: Path, attempt: str, step: int, *, size: int = 3, manifest: bool = True) -> Path:
    folder = attempt_folder(home, JOB.fingerprint, attempt) / "checkpoints" / f"step-{step}"
    folder.mkdir(parents=True)
    (folder / "state.bin").write_bytes(b"123")
    if manifest:
        files = [{"path": "state.bin", "size": size, "sha256": ""}]
        (folder / "manifest.json").write_text(json.dumps({"step": step, "files": files}))
    return folder


def test_notes_are_read_in_the_order_in_which_they_were_put(tmp_path: Path) -> None:
    channel.send(tmp_path, "cancel", ["f1"])
    channel.send(tmp_path, "retry", ["f1", "f2"])
    notes = channel.pending(tmp_path)
    assert [(note.verb, note.jobs) for note in notes] == [("cancel", ("f1",)), ("retry", ("f1", "f2"))]
    channel.remove(notes)
    channel.remove(notes)
    assert channel.pending(tmp_path) == []


def test_notes_keep_their_order_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, verb in enumerate(("cancel", "retry", "cancel", "retry")):
        monkeypatch.setattr(time, "time", lambda number=number: 1e9 - 86400.0 * number)
        monkeypatch.setattr(time, "time_ns", lambda number=number: 10**18 - number)
        channel.send(tmp_path, verb, ["f1"])  # type: ignore[arg-type]
        if number == 1:
            channel.remove(channel.pending(tmp_path)[:1])
    assert [note.verb for note in channel.pending(tmp_path)] == ["retry", "cancel", "retry"]


def test_what_is_no_note_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "0.json").write_text('{"verb": "format", "jobs": []}')
    assert channel.pending(tmp_path) == []
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["0.broken"]


def test_a_note_that_the_disk_does_not_give_now_waits_and_what_was_asked_later_with_it(tmp_path: Path) -> None:
    first, second = channel.send(tmp_path, "cancel", ["a" * 64]), channel.send(tmp_path, "retry", ["a" * 64])
    hidden = first.rename(first.with_suffix(".hidden"))
    first.symlink_to("/proc/self/mem")  # whose first page is nobody's: EIO
    assert channel.pending(tmp_path) == []
    hidden.rename(first)
    assert [note.path for note in channel.pending(tmp_path)] == [first, second]


def test_without_a_driver_a_cancel_is_recorded_at_once_and_with_one_it_is_requested(tmp_path: Path) -> None:
    assert request("cancel", [JOB], home=tmp_path) == "done"
    with Ledger.read(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.job_records()[JOB.fingerprint].state == "cancelled"
    with acquire(tmp_path):
        assert request("retry", [JOB], home=tmp_path) == "requested"
    assert [note.verb for note in channel.pending(tmp_path)] == ["retry"]
    assert request("retry", [JOB], home=tmp_path) == "done"
    with Ledger.read(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.job_records() == {}


def test_the_newest_complete_checkpoint_of_any_attempt_is_resumed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "a001-x", 90)
    best = write_checkpoint(tmp_path, "a002-y", 100)
    write_checkpoint(tmp_path, "a003-z", 20)
    write_checkpoint(tmp_path, "a003-z", 110, manifest=False)
    write_checkpoint(tmp_path, "a003-z", 120, size=4)
    found = newest_checkpoint(tmp_path, JOB.fingerprint)
    assert found is not None
    assert (found.path, found.step, found.attempt) == (best, 100, "a002-y")
    assert step_of(JobCheckpoints(tmp_path, JOB.fingerprint, "a003-z").newest()) == 20


def test_a_job_that_was_never_attempted_has_nothing_to_resume(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, fingerprint("x")) is None


def test_attempt_ids_sort_and_differ() -> None:
    ids = [new_attempt_id(number) for number in (1, 2, 10)]
    assert ids == sorted(ids)
    assert new_attempt_id(1) != ids[0]


def test_a_global_batch_that_the_devices_cannot_share_is_refused_with_both_numbers(tmp_path: Path) -> None:
    job = make_job("train", "train/a", resources=Resources(cpus=3, devices=3, memory_gib=1.0, minutes=1.0))
    with pytest.raises(PlanError, match=r"devices is 3, but controls\.training\.global_batch is 8"):
        build_request(job, attempt="a", home=tmp_path, settings=Settings(), accumulate=1, resume=None)


def test_ranks_without_devices_are_as_many_as_asked_for(tmp_path: Path) -> None:
    two = Resources(cpus=4, devices=0, memory_gib=1.0, minutes=1.0, ranks=2)
    request = build_request(
        make_job("train", "train/a", resources=two),
        attempt="a",
        home=tmp_path,
        settings=Settings(),
        accumulate=1,
        resume=None,
    )
    execution = request["execution"]
    assert (execution["device"], execution["ranks"], execution["threads"], execution["micro_batch"]) == ("cpu", 2, 2, 4)


def test_a_rank_has_a_device_of_its_own(tmp_path: Path) -> None:
    job = make_job("train", "train/a", resources=Resources(cpus=4, devices=2, memory_gib=1.0, minutes=1.0, ranks=4))
    with pytest.raises(PlanError, match=r"train/a: resources\.train\.ranks is 4, but devices is 2; .* leave"):
        build_request(job, attempt="a", home=tmp_path, settings=Settings(), accumulate=1, resume=None)


def test_devices_make_ranks_that_share_threads_and_batch(tmp_path: Path) -> None:
    job = make_job("train", "train/a", resources=Resources(cpus=8, devices=4, memory_gib=1.0, minutes=1.0))
    request = build_request(job, attempt="a", home=tmp_path, settings=Settings(), accumulate=1, resume=None)
    execution = request["execution"]
    assert (execution["device"], execution["ranks"], execution["threads"]) == ("cuda", 4, 2)
    assert execution["ranks"] * execution["micro_batch"] * execution["accumulate"] == 8


@pytest.mark.parametrize(
    ("batch", "before", "ranks", "shape"), [(8, 8, 4, (1, 2)), (6, 2, 2, (1, 3)), (9, 2, 1, (3, 3))]
)
def test_a_smaller_micro_batch_survives_a_change_of_ranks(
    tmp_path: Path, batch: int, before: int, ranks: int, shape: tuple[int, int]
) -> None:
    resources = Resources(cpus=4, devices=0, memory_gib=1.0, minutes=1.0, ranks=ranks)
    job = make_job("train", "train/a", resources=resources, batch=batch)
    request = build_request(job, attempt="a", home=tmp_path, settings=Settings(), accumulate=before, resume=None)
    execution = request["execution"]
    assert (execution["micro_batch"], execution["accumulate"]) == shape
    assert ranks * shape[0] * shape[1] == batch
    words = verdict(
        "out_of_memory", Charges(accumulate=before), BUILT_IN.retries, progressed=False, share=batch // ranks
    )
    assert ("out of memory at micro-batch 1" if shape[0] == 1 else "micro-batch is now 1") in words.reason
