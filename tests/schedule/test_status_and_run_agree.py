"""Law: `status` and `run` name the same jobs as new, to be retried, blocked and failed."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from toy_study import Toy

from orchestrator.backends.fake.backend import Act
from orchestrator.commands.options import Selection
from orchestrator.commands.status.command import status_json, status_text
from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Plan
from orchestrator.plan.select import select, selected_part
from orchestrator.schedule.events import Event, SilentView
from orchestrator.schedule.job_states import JobStates, closure
from orchestrator.schedule.progress import RunProgress
from orchestrator.spec.cluster import BUILT_IN
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.study import Study

EVERYTHING = Selection()
CONTEXT = Selection(rows="context-*", branches="replay")
SPATIAL = Selection(rows="spatial*")


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    resolved = resolve_profile(load_matrix(root / "tests" / "golden" / "matrix.yaml"), "laptop", ())
    return build_plan(resolved, expand(resolved))


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def study_of(toy: Toy, plan: Plan) -> Study:
    return Study(matrix=toy.home / "matrix.yaml", plan=plan, cluster=BUILT_IN, home=toy.home)


def told(toy: Toy, plan: Plan, selection: Selection) -> dict[str, str]:
    """Id -> state of the jobs that are not done, as `status` shows them."""
    jobs = status_json(study_of(toy, plan), selection)["jobs"]
    return {job["id"]: job["state"] for job in jobs if job["state"] != "done"}


def at_start(toy: Toy, plan: Plan, selection: Selection) -> dict[str, str]:
    """Id -> state of the jobs that are not done, as a run has them before it starts any."""
    committed = toy.store.commits()
    with toy.ledger() as ledger:
        states = JobStates(plan, closure(plan, select(plan, **selection.given), committed), committed, ledger.history())
    return {job_id: now.state for job_id, now in states.standings().items() if now.state != "done"}


def test_before_and_after_any_run_both_name_the_same_jobs(toy: Toy, plan: Plan) -> None:
    plan = selected_part(plan, rows="context-k1,context-k5,spatial,spatial-masked", branches="replay")
    script = {
        "train/context-k5/s0": [Act(script="error"), Act(script="error")],
        "train/spatial/s0": [Act(script="bad_input")],
        "evaluate/replay/context-k1/s0": [Act(script="error"), Act(script="ok")],
    }
    for chosen in (CONTEXT, SPATIAL, EVERYTHING):
        for selection in (CONTEXT, SPATIAL, EVERYTHING):
            assert told(toy, plan, selection) == at_start(toy, plan, selection)
        before = told(toy, plan, chosen)
        outcome = toy.run(plan, script, selected=sorted(select(plan, **chosen.given)))
        started = {job_id for job_id, state in before.items() if state in ("new", "retry")}
        assert {submission.job for submission in toy.backend.submitted} <= started if toy.backend else not started
        after = Counter(told(toy, plan, chosen).values())
        assert after == Counter({state: n for state, n in outcome.counts.items() if state != "done"})


def test_an_artifact_that_is_gone_is_new_to_both(toy: Toy, plan: Plan) -> None:
    toy.run(plan, selected=sorted(select(plan, rows="context-k1")))
    job = next(job for job in plan.jobs.values() if job.label == "train/context-k1/s0")
    toy.store.withdraw(job.fingerprint)
    assert told(toy, plan, Selection(rows="context-k1")) == at_start(toy, plan, Selection(rows="context-k1"))
    assert told(toy, plan, Selection(rows="context-k1")) == {job.id: "new"}


def test_the_status_of_a_selection_counts_the_other_jobs_apart(toy: Toy, plan: Plan) -> None:
    toy.run(plan, selected=sorted(select(plan, **CONTEXT.given)))
    assert status_text(study_of(toy, plan), CONTEXT).splitlines()[:2] == [
        "echo-memory · laptop · 9 done",
        "  selected: --rows 'context-*' --branches replay; 105 other jobs, all new",
    ]
    assert status_text(study_of(toy, plan)).startswith("echo-memory · laptop · 9 done, 105 new\n\n")
    shown = status_json(study_of(toy, plan), CONTEXT)
    assert (shown["selection"], shown["counts"], shown["others"]) == (CONTEXT.given, {"done": 9}, {"new": 105})


def test_a_run_records_how_long_its_jobs_took_and_what_was_expected(toy: Toy, plan: Plan) -> None:
    chosen = sorted(select(plan, rows="context-k5", branches="replay"))
    toy.run(plan, {"train/context-k5/s0": [Act(seconds=40.0)]}, selected=chosen)
    study = study_of(toy, plan)
    found = {
        plan.jobs[job].label: one
        for job in chosen
        for one in study.durations()
        if plan.jobs[job].fingerprint == one.fingerprint
    }
    assert len(found) == len(chosen)
    train = found["train/context-k5/s0"]
    assert (train.row, train.kind, train.backend, train.basis) == ("context-k5", "fake", "fake", "flops")
    assert train.seconds == pytest.approx(40.0, abs=1.0)
    forecast = status_json(study)["forecast"]
    assert forecast["jobs"] == len(plan.jobs) - len(chosen)
    assert forecast["basis"] == {"measured": 53, "guess": 56}
    assert "core-hours (P95 " in status_text(study)
    assert status_json(study, Selection(rows="context-k5", branches="replay"))["forecast"]["jobs"] == 0


class Kept(SilentView):
    """Keeps the last progress, and the first time left."""

    def __init__(self) -> None:
        self.last: RunProgress | None = None
        self.first_s: float | None = None

    def tick(self, progress: RunProgress) -> None:
        self.last = progress
        self.first_s = progress.eta_s if self.first_s is None else self.first_s


def test_while_jobs_run_longer_than_estimated_both_say_the_same_time_left(
    toy: Toy, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Selection(rows="context-k5,context-k1", branches="replay")
    study, view, seen = study_of(toy, plan), Kept(), list[tuple[float, float]]()
    monkeypatch.setattr(time, "time", toy.clock.time)

    def look(event: Event) -> None:
        progress = view.last
        if event.kind != "tick" or progress is None or progress.eta_s is None:
            return
        training = {one.label: one for one in progress.attempts if one.label.startswith("train/") and one.step}
        if len(training) < 2 or not all(0.3 < one.step / one.of < 0.9 for one in training.values()) or len(seen) > 9:
            return
        for job_id, folder in event.paths.items():
            if one := training.get(plan.jobs[job_id].label):
                beat = {"counter": one.step, "step": one.step, "of": one.of, "phase": one.phase}
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "heartbeat.json").write_text(json.dumps(beat))
        seen.append((progress.eta_s, status_json(study, chosen)["forecast"]["makespan_s"]))

    script = {f"train/context-{k}/s0": [Act(seconds=600.0)] for k in ("k1", "k5")}
    selected = sorted(select(plan, **chosen.given))
    toy.run(plan, script, selected=selected, observe=look, view=view, capacity=study.capacity)
    assert len(seen) == 10
    for run_s, status_s in seen:
        assert run_s > 200.0, "the estimates are seconds, the pace says minutes"
        assert status_s == pytest.approx(run_s, rel=0.1)


def test_the_first_bar_says_what_the_first_lines_say(toy: Toy, plan: Plan) -> None:
    """Though a single attempt can run at first, which the others need."""
    chosen, study, view = sorted(select(plan, rows="context-*")), study_of(toy, plan), Kept()
    standings = study.standings()
    expected = study.forecast({job_id: standings[job_id] for job_id in chosen}).makespan_s
    toy.run(plan, selected=chosen, view=view, capacity=study.capacity)
    assert view.first_s == pytest.approx(expected, abs=2.0)
