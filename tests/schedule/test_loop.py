"""Stories of the loop on the fake backend, with a clock that nobody waits for."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from toy_study import Toy, commit_of, fingerprint, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.backends.protocol import HostShare
from orchestrator.errors import LeaseError, SiteError
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.control import channel
from orchestrator.schedule.events import Event
from orchestrator.schedule.launcher import build_request
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.spec.cell import Resources
from workloads.contract.request import request_from
from workloads.contract.result import Failure


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def test_a_run_brings_every_job_to_done(toy: Toy) -> None:
    outcome = toy.run(small_plan())
    assert outcome.counts == {"done": 9}
    assert outcome.exit_code == 0
    assert len(toy.store.commits()) == 9


class Unreachable(FakeBackend):
    def hosts(self) -> Sequence[HostShare]:
        raise SiteError("nothing answers at this address")


def test_a_run_is_accepted_once_and_before_its_first_attempt_is_submitted(toy: Toy) -> None:
    submitted: list[int] = []
    toy.run(small_plan(), on_accepted=lambda: submitted.append(len(toy.submitted())))
    assert submitted == [0] and len(toy.submitted()) == 9
    toy.run(small_plan(), on_accepted=lambda: submitted.append(len(toy.submitted())))
    assert submitted == [0, 0], "with nothing to do, too"


def test_a_run_whose_backend_cannot_be_used_is_not_accepted(toy: Toy) -> None:
    toy.backend_type = Unreachable
    accepted: list[str] = []
    with pytest.raises(SiteError):
        toy.run(small_plan(), on_accepted=lambda: accepted.append("accepted"))
    assert accepted == []


class Growing(FakeBackend):
    told: ClassVar[list[Mapping[tuple[str, Resources], int]]] = []

    def waiting_for_room(self, jobs: Mapping[tuple[str, Resources], int]) -> None:
        self.told.append(jobs)

    def pending_hosts(self) -> str:
        return ""


def test_a_backend_that_gets_hosts_is_told_what_waits_and_when_nothing_does(toy: Toy) -> None:
    toy.backend_type = Growing
    toy.run(small_plan())
    first, last = Growing.told[0], Growing.told[-1]
    assert {stage: number for (stage, _), number in first.items()} == {"data": 1}
    assert any(("train", 3) in {(stage, n) for (stage, _), n in told.items()} for told in Growing.told)
    assert last == {}


def test_a_second_run_makes_no_backend(toy: Toy) -> None:
    toy.run(small_plan())
    outcome = toy.run(small_plan())
    assert toy.backend is None
    assert (outcome.submitted, outcome.exit_code) == (0, 0)


def test_needs_are_submitted_before_what_needs_them(toy: Toy) -> None:
    toy.run(small_plan())
    order = toy.submitted()
    assert order[0] == "data"
    assert set(order[1:3]) == {"latents", "index"}
    for row in "abc":
        assert order.index(f"train/{row}") < order.index(f"evaluate/return/{row}")


def test_selecting_a_job_runs_what_it_needs_and_nothing_else(toy: Toy) -> None:
    plan = small_plan()
    chosen = next(job.id for job in plan.jobs.values() if job.label == "train/b")
    outcome = toy.run(plan, selected=[chosen])
    assert sorted(toy.submitted()) == ["data", "index", "latents", "train/b"]
    assert outcome.exit_code == 0


def test_a_failure_blocks_its_dependants_and_nobody_else(toy: Toy) -> None:
    failure = Failure(type="ValueError", message="no such frame 17", frames=["workloads/training/train.py:12 run"])
    outcome = toy.run(small_plan(), {"train/b": [Act(script="error", error=failure)]})
    assert outcome.counts == {"done": 7, "failed": 1, "blocked": 1}
    assert outcome.exit_code == 1
    (failed,) = outcome.failures
    assert failed.label == "train/b"
    assert "1 of 1 retry used" in failed.reason
    assert failed.trace[0] == "ValueError: no such frame 17"
    assert toy.endings("train/b") == ["error", "error"]


def test_a_failed_job_is_not_tried_again_by_the_next_run_but_by_retry(toy: Toy) -> None:
    toy.run(small_plan(), {"train/b": [Act(script="error")]})
    again = toy.run(small_plan())
    assert (again.submitted, toy.backend) == (0, None)
    channel.send(toy.home, "retry", [fingerprint("train/b")])
    outcome = toy.run(small_plan())
    assert outcome.counts == {"done": 9}


def test_an_error_is_retried_from_the_newest_checkpoint(toy: Toy) -> None:
    outcome = toy.run(small_plan(), {"train/a": [Act(script="error", reaches=7), Act()]})
    assert outcome.counts == {"done": 9}
    first, second = toy.requests("train/a")
    assert first["resume"] is None
    assert second["resume"].endswith(f"{first['attempt']}/checkpoints/step-7")


def test_progress_sets_charges_to_zero(toy: Toy) -> None:
    acts = [Act(script="error", reaches=step) for step in (1, 2, 3, 4)] + [Act()]
    assert toy.run(small_plan(), {"train/a": acts}).counts == {"done": 9}
    assert toy.endings("train/a") == ["error"] * 4 + ["ok"]


def test_preemption_is_free(toy: Toy) -> None:
    acts = [Act(script="preempted")] * 9 + [Act()]
    assert toy.run(small_plan(), {"train/a": acts}).counts == {"done": 9}
    assert toy.endings("train/a") == ["preempted"] * 9 + ["ok"]


def test_ten_free_endings_in_a_row_without_progress_are_a_failure_that_says_so(toy: Toy) -> None:
    outcome = toy.run(small_plan(), {"train/a": [Act(script="node_lost")]})
    assert toy.endings("train/a") == ["node_lost"] * 10
    assert "10 times in a row without progress" in outcome.failures[0].reason


def test_bad_input_is_failed_at_once(toy: Toy) -> None:
    outcome = toy.run(small_plan(), {"data": [Act(script="bad_input")]})
    assert toy.endings("data") == ["bad_input"]
    assert outcome.counts == {"failed": 1, "blocked": 8}


def test_out_of_memory_halves_the_micro_batch_at_the_same_global_batch(toy: Toy) -> None:
    outcome = toy.run(small_plan(), {"train/a": [Act(script="out_of_memory"), Act()]})
    assert outcome.counts == {"done": 9}
    batches = [request["execution"] for request in toy.requests("train/a")]
    assert [(batch["micro_batch"], batch["accumulate"]) for batch in batches] == [(8, 1), (4, 2)]


def test_out_of_memory_at_micro_batch_one_fails_with_the_remedies(toy: Toy) -> None:
    plan = make_plan([make_job("train", "train/a", batch=1)])
    outcome = toy.run(plan, {"train/a": [Act(script="out_of_memory")]})
    assert toy.endings("train/a") == ["out_of_memory"]
    assert "ZeRO" in outcome.failures[0].reason


def test_three_jobs_that_fail_alike_pause_their_stage(toy: Toy) -> None:
    failures = [
        Failure(type="KeyError", message=f"'/tmp/{n}/x' at 0x{n}f", frames=["/a/workloads/model/block.py:3 run"])
        for n in range(4)
    ]
    script = {f"train/{row}": [Act(script="error", error=failures[n])] for n, row in enumerate("abcd")}
    hosts = (HostShare(name="fake-0", cpus=1, devices=0, memory_gib=8.0),)
    outcome = toy.run(small_plan("abcd"), script, hosts=hosts)
    assert outcome.counts["failed"] == 3
    assert toy.endings("train/d") == []


def test_ctrl_c_stops_at_a_checkpoint_and_the_next_run_goes_on_from_there(toy: Toy) -> None:
    def press(event: Event) -> None:
        if event.kind == "tick" and any("train" in job for job in event.paths):
            os.kill(os.getpid(), signal.SIGINT)

    hosts = (HostShare(name="fake-0", cpus=1, devices=0, memory_gib=8.0),)
    outcome = toy.run(small_plan("a"), {"train/a": [Act(seconds=100.0)]}, hosts=hosts, observe=press)
    assert outcome.interrupted
    assert outcome.exit_code == 130
    assert toy.endings("train/a") == ["interrupted"]
    done = toy.store.commits()
    toy.clock.sleep(1000.0)
    outcome = toy.run(small_plan("a"))
    assert outcome.exit_code == 0
    assert sorted(toy.submitted()) == ["evaluate/return/a", "train/a"]
    assert done < toy.store.commits()


def test_a_note_from_another_terminal_interrupts(toy: Toy) -> None:
    def ask(event: Event) -> None:
        if event.kind == "started" and event.label == "train/a":
            channel.send(toy.home, "interrupt")

    outcome = toy.run(small_plan(), observe=ask)
    assert outcome.interrupted
    assert not list((toy.home / "inbox").glob("*.json"))


def test_an_interrupt_meant_for_an_earlier_driver_stops_nobody(toy: Toy) -> None:
    channel.send(toy.home, "interrupt")
    assert toy.run(small_plan()).exit_code == 0


def test_cancel_ends_the_attempt_and_stays_until_retry(toy: Toy) -> None:
    def ask(event: Event) -> None:
        if event.kind == "started" and event.label == "train/a":
            channel.send(toy.home, "cancel", [fingerprint("train/a")])

    outcome = toy.run(small_plan(), {"train/a": [Act(seconds=60.0)]}, observe=ask)
    assert outcome.counts == {"done": 7, "cancelled": 1, "blocked": 1}
    assert outcome.exit_code == 1
    assert toy.run(small_plan()).submitted == 0
    channel.send(toy.home, "retry", [fingerprint("train/a")])
    assert toy.run(small_plan()).counts == {"done": 9}


def test_a_zombie_that_publishes_first_wins_and_the_later_attempt_changes_nothing(toy: Toy) -> None:
    plan = small_plan()
    job = next(job for job in plan.jobs.values() if job.label == "train/a")

    def zombie(event: Event) -> None:
        if event.kind == "started" and event.label == "train/a":
            folder = toy.store.prepare("train", job.fingerprint, "a000-zombie")
            (folder / "weights.bin").write_bytes(b"z")
            assert toy.store.commit(commit_of(job, "a000-zombie"), folder)

    assert toy.run(plan, observe=zombie).counts == {"done": 9}
    assert toy.store.read(job.fingerprint).attempt == "a000-zombie"


def test_a_deleted_ledger_makes_nothing_done_again(toy: Toy) -> None:
    toy.run(small_plan())
    (toy.home / "ledger.sqlite").unlink()
    outcome = toy.run(small_plan())
    assert (outcome.submitted, toy.backend, outcome.counts) == (0, None, {"done": 9})
    assert toy.endings("train/a") == ["ok"]


def test_a_deleted_commit_makes_the_job_be_done_again(toy: Toy) -> None:
    toy.run(small_plan())
    (toy.home / "store" / "commits" / f"{fingerprint('train/a')}.json").unlink()
    with Ledger.read(toy.home / "ledger.sqlite") as ledger:
        assert ledger.history()[fingerprint("train/a")].state == "done"
    assert toy.run(small_plan()).counts == {"done": 9}
    assert toy.submitted() == ["train/a"]


def test_an_attempt_that_ended_well_without_its_commit_is_unknown_first_and_an_error_after_two_minutes(
    toy: Toy,
) -> None:
    began = toy.clock.time()
    outcome = toy.run(small_plan(), {"data": [Act(script="unpublished"), Act()]})
    assert outcome.counts == {"done": 9}
    assert toy.endings("data") == ["error", "ok"]
    assert toy.clock.time() - began > 120.0


def test_a_missing_attempt_vanishes_after_two_minutes_and_not_before(toy: Toy) -> None:
    began = toy.clock.time()
    outcome = toy.run(small_plan(), {"data": [Act(script="missing"), Act()]})
    assert outcome.counts == {"done": 9}
    assert toy.endings("data") == ["vanished", "ok"]
    assert toy.clock.time() - began > 120.0


def test_only_unknown_attempts_end_the_run_after_unknown_s_with_1(toy: Toy) -> None:
    outcome = toy.run(small_plan(), {"data": [Act(script="unknown")]})
    assert outcome.counts == {"unknown": 1, "new": 8}
    assert outcome.exit_code == 1
    assert "nothing is known of 1 attempt" in outcome.note


class Ending(SimulatedClock):
    """Says so where a run would go on for ever."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        assert self.time() < 1_010_000.0, "the run does not end"


def test_unknown_attempts_that_hold_every_place_end_the_run_although_others_are_ready(toy: Toy) -> None:
    toy.clock = Ending()
    plan = make_plan([make_job("train", f"train/{row}") for row in "abc"])
    outcome = toy.run(plan, {f"train/{row}": [Act(script="unknown")] for row in "ab"})
    assert outcome.counts == {"unknown": 2, "new": 1}
    assert "nothing is known of 2 attempts" in outcome.note


def test_a_job_that_fits_on_no_host_is_blocked_with_the_reason_and_others_run(toy: Toy) -> None:
    big = Resources(cpus=64, devices=8, memory_gib=1.0, minutes=1.0)
    plan = make_plan([make_job("data", "data"), make_job("index", "index", resources=big)])
    outcome = toy.run(plan)
    assert outcome.counts == {"done": 1, "blocked": 1}
    ((reason, number),) = outcome.blocked.items()
    assert number == 1 and reason.startswith("needs 64 cpus, 8 devices and 1 GiB on one host; ")


def test_what_an_observer_raises_stops_nobody(toy: Toy) -> None:
    def fall(event: Event) -> None:
        raise RuntimeError("the tracker is down")

    assert toy.run(small_plan(), observe=fall).exit_code == 0
    lines = [json.loads(line) for line in (toy.home / "driver.log").read_text().splitlines()]
    assert any(line["what"] == "observer failed" for line in lines)


def test_a_second_driver_is_refused_while_the_first_lives(toy: Toy) -> None:
    with acquire(toy.home), pytest.raises(LeaseError, match="is running this study"):
        acquire(toy.home)


def test_a_driver_that_lost_its_lease_submits_nothing_more(toy: Toy) -> None:
    lease = acquire(toy.home)

    def steal(event: Event) -> None:
        if event.label == "data" and event.kind == "started":
            (toy.home / "driver.json").unlink()
            acquire(toy.home).beat()

    with pytest.raises(LeaseError, match="no longer holds the lease"):
        toy.run(small_plan(), observe=steal, fence=lease.check)
    assert toy.submitted() == ["data"]


def test_checkpoints_are_deleted_when_the_job_is_done(toy: Toy) -> None:
    toy.run(small_plan(), {"train/a": [Act(script="error", reaches=7), Act()]})
    assert not list(toy.home.glob("attempts/*/*/checkpoints"))


def test_an_attempt_is_in_the_ledger_before_it_is_submitted(toy: Toy) -> None:
    def look(event: Event) -> None:
        if event.kind == "submitted":
            with Ledger.read(toy.home / "ledger.sqlite") as ledger:
                assert event.attempt in {attempt.id for attempt in ledger.open_attempts()}

    toy.run(small_plan(), observe=look)
    lines = (toy.home / "driver.log").read_text()
    assert "observer failed" not in lines


def test_the_request_of_an_attempt_is_one_that_workloads_read(toy: Toy) -> None:
    job = make_job("train", "train/a")
    request = build_request(job, attempt="a001-0", home=toy.home, settings=toy.settings, accumulate=2, resume=None)
    read = request_from(request, "here")
    assert (read.execution.micro_batch, read.execution.accumulate, read.execution.threads) == (4, 2, 1)
    assert read.rendezvous.world_size == 1
