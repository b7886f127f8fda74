"""`cancel` and `retry` for one job, several, or all that failed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from toy_study import Toy, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend, FakeCluster
from orchestrator.backends.protocol import HostShare
from orchestrator.errors import BackendError, LeaseError, PlanError
from orchestrator.plan.diff import standings
from orchestrator.plan.job import Job, Plan, Standing, State
from orchestrator.schedule.control import channel
from orchestrator.schedule.control.commands import JobVerb, request, select_jobs
from orchestrator.schedule.events import Event
from orchestrator.schedule.lease import acquire
from workloads.contract.result import Failure

PLAN = small_plan()
ONE_CPU = (HostShare(name="fake-0", cpus=1, devices=0, memory_gib=8.0),)


def standing(**states: State) -> Mapping[str, Standing]:
    """All new, but for the labels given (`train_a="failed"`)."""
    by_label = {label.replace("_", "/"): state for label, state in states.items()}
    return {job.id: Standing(state=by_label.get(job.label, "new"), reason="") for job in PLAN.jobs.values()}


def labels(jobs: tuple[Job, ...]) -> list[str]:
    return [job.label for job in jobs]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def test_labels_ids_prefixes_and_globs_name_jobs_in_the_plans_order() -> None:
    train_b = next(job for job in PLAN.jobs.values() if job.label == "train/b")
    names = ["evaluate/return/*", train_b.id, "train/a", train_b.fingerprint[:16]]
    assert labels(select_jobs("cancel", PLAN, standing(), names)) == [
        "train/a",
        "evaluate/return/a",
        "train/b",
        "evaluate/return/b",
        "evaluate/return/c",
    ]


def test_a_glob_takes_those_to_which_it_can_be_done() -> None:
    states = standing(train_a="done", train_b="running", train_c="cancelled")
    assert labels(select_jobs("cancel", PLAN, states, ["train/*"])) == ["train/b"]


def test_failed_takes_all_that_failed_and_of_names_those_that_failed() -> None:
    states = standing(data="done", train_a="failed", train_b="failed", train_c="cancelled")
    assert labels(select_jobs("retry", PLAN, states, failed=True)) == ["train/a", "train/b"]
    assert labels(select_jobs("retry", PLAN, states, ["train/b", "train/c"], failed=True)) == ["train/b"]


def test_to_retry_a_blocked_job_is_to_retry_what_it_waits_for() -> None:
    states = {**standing(latents="failed")}
    for job in PLAN.jobs.values():
        if job.label in ("train/a", "evaluate/return/a"):
            states[job.id] = Standing(state="blocked", reason="needs latents")
    assert labels(select_jobs("retry", PLAN, states, ["evaluate/return/a"])) == ["latents"]


@pytest.mark.parametrize(
    ("verb", "names", "message"),
    [
        ("cancel", ["train/a"], "train/a is done; there is nothing to cancel"),
        ("retry", ["train/b"], "train/b is running; there is nothing to retry"),
        ("retry", ["train/*"], "there is nothing to retry: 1 done, 1 running, 1 new; `echo-matrix status` shows"),
        (
            "retry",
            ["trian/*"],
            "no job matches 'trian/\\*' in the plan of profile laptop; a glob must match a whole",
        ),
        ("cancel", [], "cancel needs jobs: labels, ids, globs such as 'STAGE/ROW\\*', or --rows"),
        ("retry", [], "or --failed for all that failed"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(verb: JobVerb, names: list[str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        select_jobs(verb, PLAN, standing(train_a="done", train_b="running"), names)


def test_nothing_that_failed_is_said_in_words() -> None:
    with pytest.raises(PlanError, match="there is nothing to retry: no job has failed"):
        select_jobs("retry", PLAN, standing(), failed=True)


class Asking:
    """Leaves a note once `train/a` has run for half a minute."""

    def __init__(self, toy: Toy, verb: JobVerb, *, now: bool = False) -> None:
        self._toy, self._verb, self._now = toy, verb, now
        self._since: float | None = None
        self._asked = False

    def __call__(self, event: Event) -> None:
        if event.kind == "started" and event.label == "train/a":
            self._since = event.at
        if self._since is not None and event.at > self._since + 30.0 and not self._asked:
            self._asked = True
            self._toy.note(self._verb, ["train/a"], now=self._now)


LONG: Mapping[str, list[Act]] = {"train/a": [Act(seconds=100.0), Act()]}


def only_a() -> Plan:
    return make_plan(list(small_plan("a").jobs.values()))


@pytest.mark.parametrize(
    ("earlier", "later", "counts"),
    [("retry", "cancel", {"cancelled": 1}), ("cancel", "retry", {"done": 1})],
)
def test_what_is_recorded_without_a_driver_outranks_a_note_that_an_earlier_one_left_unread(
    toy: Toy, earlier: JobVerb, later: JobVerb, counts: Mapping[State, int]
) -> None:
    plan = make_plan([make_job("train", "train/a")])
    toy.note(earlier, ["train/a"])
    assert request(later, list(plan.jobs.values()), home=toy.home, clock=toy.clock) == "done"
    assert toy.run(plan).counts == counts
    assert channel.pending(toy.home) == []


def test_what_is_asked_of_a_driver_about_a_job_that_its_plan_does_not_have_is_recorded(toy: Toy) -> None:
    ours, other = (make_plan([make_job("train", f"train/{row}")]) for row in "ab")
    for verb, counts in (("cancel", {"cancelled": 1}), ("retry", {"done": 1})):
        with acquire(toy.home, toy.clock):
            assert request(verb, list(other.jobs.values()), home=toy.home) == "requested"
        assert toy.run(ours).counts == {"done": 1}
        assert toy.run(other).counts == counts


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_note_is_recorded_in_one_transaction_however_many_jobs_it_names(tmp_path: Path, verb: JobVerb) -> None:
    transactions = []
    for number in (1, 40):
        toy, asked = Toy(tmp_path / str(number)), list[None]()
        plan = make_plan([make_job("judge", f"judge/loop/{one}") for one in range(number)])
        toy.note(verb, [job.label for job in plan.jobs.values()])
        toy.run(plan, selected=[], fence=lambda asked=asked: asked.append(None))
        transactions.append(len(asked))
    assert transactions[0] == transactions[1]


def test_a_cancelled_attempt_saves_a_checkpoint_and_its_retry_goes_on_from_there(toy: Toy) -> None:
    outcome = toy.run(only_a(), LONG, hosts=ONE_CPU, observe=Asking(toy, "cancel"))
    assert outcome.counts == {"done": 3, "cancelled": 1, "blocked": 1}
    toy.note("retry", ["train/a"])
    assert toy.run(only_a(), hosts=ONE_CPU).exit_code == 0
    (request,) = toy.requests("train/a")
    assert toy.endings("train/a") == ["cancelled", "ok"]
    assert request["resume"] is not None


def test_with_now_it_is_killed_and_begins_where_it_last_saved(toy: Toy) -> None:
    toy.run(only_a(), LONG, hosts=ONE_CPU, observe=Asking(toy, "cancel", now=True))
    toy.note("retry", ["train/a"])
    toy.run(only_a(), hosts=ONE_CPU)
    assert toy.requests("train/a")[0]["resume"] is None


def test_what_needs_a_cancelled_job_is_blocked_and_says_so(toy: Toy) -> None:
    toy.run(small_plan("a"), selected=[job.id for job in PLAN.jobs.values() if job.stage in ("latents", "index")])
    toy.note("cancel", ["train/a"])
    outcome = toy.run(only_a())
    assert outcome.counts == {"done": 3, "cancelled": 1, "blocked": 1}
    assert (toy.endings("train/a"), outcome.exit_code) == ([], 1)
    with toy.ledger() as ledger:
        states = standings(only_a(), toy.store.commits(), ledger.history(), {})
    blocked = [standing.reason for standing in states.values() if standing.state == "blocked"]
    assert blocked == ["needs train/a which was cancelled"]


def test_who_retries_what_is_being_cancelled_gets_it(toy: Toy) -> None:
    def both(event: Event) -> None:
        if event.kind == "started" and event.label == "train/a" and not toy.endings("train/a")[:-1]:
            toy.note("cancel", ["train/a"])
            toy.note("retry", ["train/a"])

    assert toy.run(only_a(), LONG, observe=both).exit_code == 0
    assert toy.endings("train/a") == ["interrupted", "ok"]


def test_a_retry_forgives_what_the_job_was_charged(toy: Toy) -> None:
    failure = Failure(type="ValueError", message="no", frames=[])
    toy.run(only_a(), {"train/a": [Act(script="error", error=failure)]})
    toy.note("retry", ["train/a"])
    toy.run(only_a(), {"train/a": [Act(script="error", error=failure), Act()]})
    assert toy.endings("train/a") == ["error", "error", "error", "ok"]


class Deaf(FakeBackend):
    """Does not listen to the first three requests to stop."""

    deaf = 3

    def stop(self, attempts: Sequence[str]) -> None:
        if self.deaf:
            self.deaf -= 1
            raise BackendError("nobody listens")
        super().stop(attempts)


def test_a_cancel_is_said_again_until_the_backend_listens(toy: Toy) -> None:
    toy.backend_type = Deaf
    outcome = toy.run(only_a(), LONG, hosts=ONE_CPU, observe=Asking(toy, "cancel"))
    assert outcome.counts == {"done": 3, "cancelled": 1, "blocked": 1}
    assert toy.clock.time() < 1_000_000.0 + 60.0, "long before it would have ended by itself"


@pytest.mark.parametrize("outlives", [True, False])
def test_what_a_dead_driver_left_running_stays_cancelled_and_is_stopped(toy: Toy, outlives: bool) -> None:
    toy.cluster = FakeCluster() if outlives else None
    fell = False

    def look(event: Event) -> None:
        nonlocal fell
        fell = fell or (event.kind == "started" and event.label == "train/a")

    def fence() -> None:
        if fell:
            raise LeaseError("gone")

    with pytest.raises(LeaseError):
        toy.run(only_a(), LONG, hosts=ONE_CPU, observe=look, fence=fence)
    toy.note("cancel", ["train/a"])
    plan = make_plan([*only_a().jobs.values(), make_job("data", "other")])
    outcome = toy.run(plan, LONG)
    assert outcome.counts == {"done": 4, "cancelled": 1, "blocked": 1}
    assert "train/a" not in toy.submitted()
    assert toy.endings("train/a") == ["interrupted"]
