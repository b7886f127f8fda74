"""`run --refresh`: what is withdrawn, in which order, and what a death in the middle leaves."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rehearsal import Rehearsal, wait_for

from orchestrator.commands.refresh import Withdrawal, to_withdraw, withdraw
from orchestrator.errors import StoreError
from orchestrator.host.checkpoints import newest_checkpoint
from orchestrator.opening import open_study
from orchestrator.schedule.lease_holder import is_held
from orchestrator.store.files import FilesStore
from orchestrator.study import Study

ROW = ("--rows", "context-k1")
TRAIN = "train/context-k1/s0"
FROM_TRAIN = {
    TRAIN,
    *(f"evaluate/{branch}/context-k1/s0" for branch in ("replay", "loop", "return")),
    *(f"{stage}/{branch}/context-k1/s0" for stage in ("judge", "camera") for branch in ("loop", "return")),
}


@pytest.fixture
def study(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> Study:
    assert rehearsal.call("run", *ROW).returncode == 0
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(rehearsal.folder))
    return open_study(Path("matrix.yaml"), cluster=rehearsal.folder / "fake.yaml")


def found(study: Study, *labels: str) -> tuple[Withdrawal, ...]:
    asked = [job.fingerprint for job in study.plan.jobs.values() if job.label in labels]
    return to_withdraw(study.plan, study.store, asked)


def done(study: Study) -> set[str]:
    committed = study.store.commits()
    return {job.label for job in study.plan.jobs.values() if job.fingerprint in committed}


def stands_on_nothing(study: Study) -> list[str]:
    """Committed jobs of which an input is not."""
    committed = study.store.commits()
    return [
        job.label
        for job in study.plan.jobs.values()
        if job.fingerprint in committed
        and any(study.plan.jobs[need].fingerprint not in committed for need in job.needs)
    ]


def test_all_that_was_made_from_a_job_is_withdrawn_before_it(study: Study) -> None:
    order = [one.label for one in found(study, TRAIN)]
    assert set(order) == FROM_TRAIN
    assert order[-1] == TRAIN
    for branch in ("loop", "return"):
        assert order.index(f"judge/{branch}/context-k1/s0") < order.index(f"evaluate/{branch}/context-k1/s0")


def test_what_other_plans_made_from_it_is_withdrawn_too(study: Study, rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", *ROW, "controls.training.steps=80").returncode == 0
    others = [one.label for one in found(study, "data") if "not of this plan" in one.label]
    assert "train/context-k1/s0 (not of this plan)" in others


def test_a_refresh_that_dies_after_any_withdrawal_leaves_a_whole_store_and_is_completed_by_another(
    study: Study,
) -> None:
    class DyingStore(FilesStore):
        """Withdraws one COMMIT and is dead."""

        dead = False

        def withdraw(self, fingerprint: str) -> None:
            if self.dead:
                raise StoreError("dead")
            super().withdraw(fingerprint)
            self.dead = True

    withdrawals = found(study, TRAIN)
    for number in range(1, len(withdrawals)):
        with pytest.raises(StoreError, match="dead"):
            withdraw(study.home, DyingStore(study.home / "store"), found(study, TRAIN))
        assert stands_on_nothing(study) == []
        assert len(found(study, TRAIN)) == len(withdrawals) - number
    withdraw(study.home, study.store, found(study, TRAIN))
    assert done(study) == {"data", "latents", "index/s0"}


def test_the_new_attempt_does_not_go_on_from_a_checkpoint_of_the_old(study: Study) -> None:
    job = next(job for job in study.plan.jobs.values() if job.label == TRAIN)
    attempt = study.attempts()[job.fingerprint][0]
    step = study.folder_of(attempt) / "checkpoints" / "step-5"
    step.mkdir(parents=True)
    (step / "manifest.json").write_text(json.dumps({"step": 5, "files": []}), encoding="utf-8")
    assert newest_checkpoint(study.home, job.fingerprint) is not None
    withdraw(study.home, study.store, found(study, TRAIN))
    assert newest_checkpoint(study.home, job.fingerprint) is None


def test_a_broken_commit_can_be_refreshed(study: Study) -> None:
    job = next(job for job in study.plan.jobs.values() if job.label == TRAIN)
    path = study.home / "store" / "commits" / f"{job.fingerprint}.json"
    path.chmod(0o644)
    path.write_text("{", encoding="utf-8")
    assert {one.label for one in found(study, TRAIN)} == FROM_TRAIN
    withdraw(study.home, study.store, found(study, TRAIN))
    assert TRAIN not in done(study)


def labels(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_plan_shows_what_a_refresh_would_do_and_changes_nothing(study: Study, rehearsal: Rehearsal) -> None:
    before = study.store.commits()
    shown = json.loads(rehearsal.call("plan", "--refresh", TRAIN, "--json").stdout)
    assert set(shown["refresh"]) == FROM_TRAIN
    assert {job["label"] for job in shown["jobs"] if job["reason"] == "to be refreshed"} == FROM_TRAIN
    assert study.store.commits() == before


def test_run_makes_again_what_it_withdrew_and_nothing_else(study: Study, rehearsal: Rehearsal) -> None:
    again = rehearsal.call("run", *ROW, "--refresh", TRAIN)
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[0] == "results to withdraw, furthest downstream first (8)"
    assert set(labels(again.stderr)) == FROM_TRAIN
    started = {line.partition(" started ")[2].split()[0] for line in again.stdout.splitlines() if " started " in line}
    assert started == FROM_TRAIN
    tried = {job.label: len(study.attempts().get(job.fingerprint, ())) for job in study.plan.jobs.values()}
    assert {label for label, number in tried.items() if number == 2} == FROM_TRAIN
    assert {label for label, number in tried.items() if number == 1} == {"data", "latents", "index/s0"}


def test_a_detached_run_makes_again_what_was_withdrawn_whatever_rows_it_runs(
    study: Study, rehearsal: Rehearsal
) -> None:
    asked = rehearsal.call("run", "--detach", "--rows", "context-k5", "--refresh", TRAIN)
    assert asked.returncode == 0, asked.stderr
    wait_for(lambda: not is_held(study.home), "the driver does not end")
    assert done(study) >= FROM_TRAIN | {"train/context-k5/s0"}
    tried = {job.label: len(study.attempts().get(job.fingerprint, ())) for job in study.plan.jobs.values()}
    assert {label for label, number in tried.items() if number == 2} == FROM_TRAIN
