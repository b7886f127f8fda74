"""The state of all jobs, and what events do to it."""

import re
import time
from pathlib import Path
from typing import get_args

import pytest
from toy_study import fingerprint, make_job, make_plan, small_plan

from orchestrator.plan.diff import History
from orchestrator.schedule import job_states
from orchestrator.schedule.job_states import (
    LEGAL,
    IllegalTransition,
    JobStates,
    Kind,
    Transition,
    closure,
)


def board_of(plan=None, committed=(), booked=None) -> JobStates:  # type: ignore[no-untyped-def]
    plan = plan or small_plan("ab")
    done = {fingerprint(label) for label in committed}
    return JobStates(plan, closure(plan, plan.jobs, done), done, {fingerprint(k): v for k, v in (booked or {}).items()})


def find(label: str) -> str:
    return next(job.id for job in small_plan("ab").jobs.values() if job.label == label)


def labels(board: JobStates) -> set[str]:
    return {job.label for job in board.ready()}


def test_only_jobs_without_open_needs_are_ready() -> None:
    assert labels(board_of()) == {"data"}
    assert labels(board_of(committed=["data", "latents", "index"])) == {"train/a", "train/b"}


def test_a_done_job_readies_exactly_those_it_was_the_last_need_of() -> None:
    board = board_of(committed=["data"])
    assert board.apply(Transition(job=find("latents"), kind="done")) == ()
    assert set(board.apply(Transition(job=find("index"), kind="done"))) == {find("train/a"), find("train/b")}


def test_a_failed_job_blocks_all_downstream_with_the_reason_and_nobody_else() -> None:
    board = board_of(committed=["data", "latents", "index"])
    board.apply(Transition(job=find("train/a"), kind="failed", reason="exit 1"))
    standing = board.standing(find("evaluate/return/a"))
    assert (standing.state, standing.reason) == ("blocked", "needs train/a, which is failed")
    assert board.standing(find("evaluate/return/b")).state == "new"
    assert board.counts() == {"done": 3, "failed": 1, "blocked": 1, "new": 2}


def test_a_retry_unblocks() -> None:
    board = board_of(committed=["data", "latents", "index"], booked={"train/a": History(state="failed", attempts=2)})
    assert "train/a" not in labels(board)
    board.apply(Transition(job=find("train/a"), kind="again"))
    assert "train/a" in labels(board)
    assert board.standing(find("evaluate/return/a")).state == "new"


def test_a_commit_after_a_cancel_wins_and_stays() -> None:
    board = board_of(committed=["data", "latents", "index"])
    board.apply(Transition(job=find("train/a"), kind="cancelled"))
    assert board.apply(Transition(job=find("train/a"), kind="done")) == (find("evaluate/return/a"),)
    board.apply(Transition(job=find("train/a"), kind="failed"))
    assert board.state(find("train/a")) == "done"


def test_a_paused_stage_is_not_ready_and_says_why() -> None:
    board = board_of(committed=["data", "latents", "index"])
    board.pause({"train": "3 of its jobs failed alike"})
    assert not board.any_ready()
    assert board.standing(find("train/a")).reason == "stage train is paused: 3 of its jobs failed alike"


def test_the_closure_takes_what_is_needed_and_not_done() -> None:
    plan = small_plan("ab")
    assert closure(plan, [find("train/a")], {fingerprint("data")}) == [
        find("latents"),
        find("index"),
        find("train/a"),
    ]
    assert closure(plan, [find("train/a")], {fingerprint("train/a")}) == [find("train/a")]


def test_counts_add_up_whatever_happens() -> None:
    board = board_of()
    for kind in ("submitted", "started", "unknown", "again", "submitted", "done"):
        board.apply(Transition(job=find("data"), kind=kind))  # type: ignore[arg-type]
        assert sum(board.counts().values()) == len(board)
    assert board.counts() == {"done": 1, "new": 6}


def test_an_event_costs_the_same_among_sixty_thousand_jobs() -> None:
    jobs = [make_job("data", f"data/{n}") for n in range(60_000)]
    plan = make_plan(jobs)
    board = JobStates(plan, list(plan.jobs), frozenset(), {})
    began = time.perf_counter()
    for job in jobs[:1000]:
        board.apply(Transition(job=job.id, kind="submitted"))
        board.apply(Transition(job=job.id, kind="done"))
    assert time.perf_counter() - began < 0.5


def test_an_illegal_transition_is_refused_with_the_jobs_history() -> None:
    board = board_of()
    for kind in ("submitted", "started", "failed"):
        board.apply(Transition(job=find("data"), kind=kind))  # type: ignore[arg-type]
    with pytest.raises(IllegalTransition) as refused:
        board.apply(Transition(job=find("data"), kind="started"))
    assert str(refused.value).startswith(
        "data: no transition 'started' from state 'failed'; the job's history in this run: "
        "new -submitted-> waiting -started-> running -failed-> failed. "
    )
    assert board.state(find("data")) == "failed"


def test_every_kind_of_transition_says_from_where_it_is_legal() -> None:
    assert set(LEGAL) == set(get_args(Kind))
    assert "done" not in set().union(*LEGAL.values()), "a done job ignores every transition"


def test_only_the_reconciler_changes_states_and_records_of_jobs_and_attempts() -> None:
    schedule = Path(job_states.__file__).parent
    changes = re.compile(
        r"Transition\(|states\.(?:apply|pause|set_unplaceable)\(|ledger\.(?:record_(?!plan)|reset_job)"
    )
    found = {
        path.relative_to(schedule).as_posix() for path in schedule.rglob("*.py") if changes.search(path.read_text())
    }
    # The sender of a command writes where no controller runs; a rebuild fills a new ledger.
    assert found == {"reconciler.py", "job_states.py", "control/commands.py", "ledger/rebuild.py"}
