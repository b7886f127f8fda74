"""The table of endings, and when two tracebacks are the same."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.protocol import Ending
from orchestrator.schedule.retry_policy import (
    Charges,
    paused_stages,
    progressed,
    signature,
    smaller_share,
    verdict,
)
from orchestrator.spec.cluster import RetrySettings

BUDGETS = RetrySettings(error=1, out_of_memory=1, vanished=3, free_in_a_row=10)


@pytest.mark.parametrize(
    ("ending", "before", "after"),
    [
        ("ok", Charges(), "done"),
        ("bad_input", Charges(), "failed"),
        ("diverged", Charges(), "failed"),
        ("cancelled", Charges(), "cancelled"),
        ("error", Charges(), "again"),
        ("error", Charges(error=1), "failed"),
        ("timed_out", Charges(), "again"),
        ("timed_out", Charges(error=1), "failed"),
        ("vanished", Charges(vanished=2), "again"),
        ("vanished", Charges(vanished=3), "failed"),
        ("out_of_memory", Charges(), "again"),
        ("out_of_memory", Charges(out_of_memory=1, accumulate=2), "failed"),
        ("preempted", Charges(error=1, vanished=3), "again"),
        ("node_lost", Charges(free=8), "again"),
        ("interrupted", Charges(free=9), "failed"),
    ],
)
def test_each_ending_has_its_next_step(ending: Ending, before: Charges, after: str) -> None:
    assert verdict(ending, before, BUDGETS, progressed=False, share=8).next == after


@pytest.mark.parametrize(
    "ending", [ending for ending in get_args(Ending) if ending not in ("ok", "bad_input", "diverged")]
)
def test_progress_forgives_what_came_before(ending: Ending) -> None:
    worn = Charges(error=1, out_of_memory=1, vanished=3, free=9)
    assert verdict(ending, worn, BUDGETS, progressed=True, share=8).next in ("again", "cancelled")


def test_a_free_ending_charges_nothing() -> None:
    after = verdict("preempted", Charges(error=1), BUDGETS, progressed=False, share=None).charges
    assert (after.error, after.out_of_memory, after.vanished) == (1, 0, 0)


def test_a_charged_ending_breaks_the_row_of_free_ones() -> None:
    assert verdict("vanished", Charges(free=9), BUDGETS, progressed=False, share=None).charges.free == 0


def test_a_smaller_micro_batch_survives_progress() -> None:
    after = verdict("error", Charges(accumulate=4), BUDGETS, progressed=True, share=8)
    assert after.charges.accumulate == 4


@given(st.integers(1, 512), st.data())
def test_the_smaller_micro_batch_is_at_most_half_and_keeps_the_global_batch(share: int, data: st.DataObject) -> None:
    accumulate = data.draw(st.sampled_from([n for n in range(1, share + 1) if share % n == 0]))
    smaller = smaller_share(share, accumulate)
    if smaller is None:
        assert accumulate == share or accumulate * 2 > share
    else:
        assert share % smaller == 0
        assert share // smaller * 2 <= share // accumulate


CHARGES = [
    Charges(),
    Charges(error=1),
    Charges(out_of_memory=1, accumulate=2),
    Charges(vanished=3),
    Charges(free=9),
    Charges(error=1, out_of_memory=1, vanished=3, free=9, accumulate=8),
]
ENDINGS = [ending for ending in get_args(Ending) if ending != "ok"]
FINAL = {"bad_input": "failed", "diverged": "failed", "cancelled": "cancelled"}
FREE = {"preempted", "node_lost", "interrupted"}


@pytest.mark.parametrize(
    ("ending", "before", "moved", "share"),
    [
        (e, c, m, s)
        for e in ENDINGS
        for c in CHARGES
        for m in (True, False)
        for s in (8, None)
        if s or c.accumulate == 1
    ],
)
def test_every_row_of_the_table_keeps_its_laws(ending: Ending, before: Charges, moved: bool, share: int | None) -> None:
    after = verdict(ending, before, BUDGETS, progressed=moved, share=share, detail="why\nsecond line")
    start = Charges(accumulate=before.accumulate) if moved else before
    counts = after.charges
    assert "\n" not in after.reason
    assert after.next in ("again", "failed", "cancelled"), "only a COMMIT makes a job done"
    if ending in FINAL:
        assert (after.next, counts) == (FINAL[ending], start)
        return
    if moved:
        assert after.next == "again", "what moves forward is never exhausted"
    assert counts.accumulate >= before.accumulate, "a smaller micro-batch is kept"
    assert counts.accumulate == before.accumulate or ending == "out_of_memory"
    if share is not None:
        assert share % counts.accumulate == 0, "the global batch stays what it is"
    charged = sum((counts.error, counts.out_of_memory, counts.vanished)) - sum(
        (start.error, start.out_of_memory, start.vanished)
    )
    if ending in FREE or (ending == "timed_out" and moved):
        assert charged == 0
    else:
        assert charged == 1
        assert counts.free == 0
    over = (
        counts.error > BUDGETS.error
        or counts.out_of_memory > BUDGETS.out_of_memory
        or counts.vanished > BUDGETS.vanished
        or counts.free >= BUDGETS.free_in_a_row
    )
    at_one = ending == "out_of_memory" and share == before.accumulate and not moved
    # What was used up by another ending before says nothing about this one.
    own = {"error": counts.error > 1, "timed_out": counts.error > 1, "vanished": counts.vanished > 3}
    if after.next == "failed":
        assert over or at_one
    elif ending in own:
        assert not own[ending]


def test_a_job_without_micro_batch_that_runs_out_of_memory_is_told_to_get_more() -> None:
    first = verdict("out_of_memory", Charges(), BUDGETS, progressed=False, share=None)
    second = verdict("out_of_memory", first.charges, BUDGETS, progressed=False, share=None, detail="used 3 GiB")
    assert (first.next, second.next) == ("again", "failed")
    assert second.reason == "out of memory; 1 of 1 retry used: used 3 GiB; raise resources.memory_gib"


def test_out_of_memory_at_micro_batch_one_goes_on_only_where_it_moves() -> None:
    worn = Charges(accumulate=8)
    moved = verdict("out_of_memory", worn, BUDGETS, progressed=True, share=8)
    remedies = ("a higher ZeRO stage", "offload")
    stood = verdict("out_of_memory", worn, BUDGETS, progressed=False, share=8, memory_remedies=remedies)
    assert (moved.next, moved.charges.accumulate) == ("again", 8)
    assert stood.next == "failed"
    assert stood.reason == (
        "out of memory at micro-batch 1; use a higher ZeRO stage, offload, "
        "more devices or more resources.memory_gib, then `echo-matrix retry`"
    )
    other = verdict("out_of_memory", worn, BUDGETS, progressed=False, share=8)
    assert other.reason.startswith("out of memory at micro-batch 1; use more devices or more"), "the stage names none"


def test_progress_is_further_than_any_attempt_got_and_not_than_this_one_began() -> None:
    assert progressed(10, -1, [])
    assert not progressed(-1, -1, [])
    assert not progressed(20, 10, [10, 20]), "its checkpoint of step 20 was damaged, and made again"
    assert not progressed(10, 10, [10])
    assert progressed(21, 10, [10, 20])


def test_a_long_message_is_cut_in_a_reason() -> None:
    assert len(verdict("error", Charges(), BUDGETS, progressed=False, share=8, detail="x" * 9999).reason) < 500


def test_tracebacks_that_differ_in_digits_paths_and_hex_are_the_same() -> None:
    frames = ["/a/code/3f/workloads/model/block.py:31 forward", "/usr/lib/torch/nn.py:9 call"]
    moved = ["/b/workloads/model/block.py:31 forward"]
    one = signature("RuntimeError", "shape 17 of /tmp/a1/x.npy at 0x7ffe01", frames, "workloads")
    two = signature("RuntimeError", "shape 4 of /home/b/y.npy at 0x1", moved, "workloads")
    assert one == two


@pytest.mark.parametrize(
    ("kind", "message", "frame"),
    [
        ("ValueError", "shape 1", "workloads/a.py:1 f"),
        ("RuntimeError", "size 1", "workloads/a.py:1 f"),
        ("RuntimeError", "shape 1", "workloads/a.py:2 f"),
    ],
)
def test_tracebacks_that_differ_in_type_words_or_frame_are_not_the_same(kind: str, message: str, frame: str) -> None:
    other = signature("RuntimeError", "shape 1", ["workloads/a.py:1 f"], "workloads")
    assert signature(kind, message, [frame], "workloads") != other


@pytest.mark.parametrize("file", ["digits/train.py", "digits.py"])
def test_frames_of_a_study_outside_the_package_are_told_apart(file: str) -> None:
    def failed_at(line: int, code: str) -> str:
        called = ["/digits/x/code/3f/workloads/runtime/run.py:92 run_request", f"{code}/{file}:{line} run"]
        return signature("ValueError", "shape 1", [*called, "/lib/torch/nn.py:9 call"], "digits")

    assert failed_at(3, "/digits/x/code/3f") == failed_at(3, "/b") == f"ValueError | {file}:3 run | shape <n>"
    assert failed_at(3, "/b") != failed_at(4, "/b")


def test_failures_that_differ_or_lie_in_two_stages_pause_nothing() -> None:
    assert paused_stages([("train", "a"), ("train", "b"), ("judge", "a"), ("train", ""), ("train", "")], 2) == {}
    assert list(paused_stages([("train", "a"), ("judge", "a"), ("train", "a")], 2)) == ["train"]


def test_a_limit_into_which_nothing_fits_is_named_with_its_remedy_and_one_that_is_tried_again_is_not() -> None:
    budgets = RetrySettings(error=1, out_of_memory=1, vanished=3, free_in_a_row=10)
    first = verdict("timed_out", Charges(), budgets, progressed=False, share=None)
    assert first.next == "again" and "raise resources" not in first.reason
    last = verdict("timed_out", first.charges, budgets, progressed=False, share=None, detail="SIGKILL")
    assert last.next == "failed"
    assert last.reason.startswith("ran into its time limit without progress; 1 of 1 retry used: SIGKILL; ")
    assert "raise resources.STAGE.minutes" in last.reason
