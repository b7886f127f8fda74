"""What changes of a finished study cost, by `plan` after rehearsals on the fake backend."""

from collections.abc import Iterator
from typing import Any

import pytest
from rehearsal import CHECKOUT, Rehearsal

from orchestrator.commands.explain.command import explain_text
from orchestrator.commands.explain.explanation import explanation_of
from orchestrator.opening import open_study
from orchestrator.plan.growth_show import added_disk_line, growth_json, growth_lines
from orchestrator.plan.select import find_job, selected_part
from orchestrator.plan.show import plan_json

ROWS = "context-k1,context-k5"
FRAMES = ("controls.data.height=32", "controls.data.width=32")  # for the networks of `alex`
TWELVE = "branches.return.cases=12"
MORE_SCENES = ("controls.data.open_variants=5", "branches.return.cases=20")
GENERATED = ("evaluate", "judge", "camera")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """Two rows of the profile laptop; each test of this file goes on with what those before it have run."""
    yield Rehearsal(tmp_path_factory.mktemp("grown"))


class Planned:
    """`plan` of the two rows with some overrides, as JSON and as lines."""

    def __init__(self, rehearsal: Rehearsal, *overrides: str, rows: str = ROWS) -> None:
        rehearsal.line("plan")  # writes the cluster file
        study = open_study(
            CHECKOUT / "matrix.yaml",
            overrides=(*FRAMES, *overrides),
            cluster=rehearsal.folder / "fake.yaml",
            rows=rows.split(","),
        )
        part = selected_part(study.plan, rows=rows.split(","))
        every = study.standings()
        standings = {job_id: every[job_id] for job_id in part.jobs}
        stages = study.stage_growth(standings)
        self.study = study
        self.json: dict[str, Any] = plan_json(part, standings, study.growth())
        self.growth = {
            one["stage"] + (f"/{one['branch']}" if one["branch"] else ""): one for one in growth_json(stages)
        }
        self.lines = growth_lines(stages)
        self.forecast = study.forecast(standings)
        self.disk = study.added_disk(standings)

    @property
    def new(self) -> dict[str, int]:
        """Stage or `stage/branch` -> items that are made, or jobs where there are none; only what is above 0."""
        found = {}
        for name, one in self.growth.items():
            number = one["items"]["missing"] if one["items"] else one["jobs"]["new"] + one["jobs"]["continued"]
            if number:
                found[name] = number
        return found

    def reasons(self, stage: str) -> set[str]:
        return {job["reason"] for job in self.json["jobs"] if job["stage"] == stage and job["state"] == "new"}


@pytest.fixture(autouse=True)
def home(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(rehearsal.folder))


def run(rehearsal: Rehearsal, *overrides: str) -> str:
    done = rehearsal.call("run", "--rows", ROWS, *FRAMES, *overrides)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_what_changes_of_a_finished_study_cost(rehearsal: Rehearsal) -> None:
    run(rehearsal, TWELVE)

    grown = Planned(rehearsal)  # 12 -> 16
    assert grown.new == {f"{stage}/return": 8 for stage in GENERATED}
    assert grown.reasons("judge") == {"4 of 16 cases are missing: branch.cases 12 -> 16 since the last plan"}
    (judge,) = (job for job in grown.json["jobs"] if job["label"] == "judge/return/context-k5/s0")
    assert judge["items"] == {"wanted": 16, "taken": 12, "missing": 4, "measured_again": 0}
    assert grown.growth["evaluate/return"]["jobs"] == {"reused": 0, "continued": 2, "new": 0}
    trainings = {key: value for key, value in grown.growth["train"].items() if key != "hours"}
    none = {"stage": "train", "branch": None, "item": None, "items": None}
    assert trainings == {**none, "jobs": {"reused": 2, "continued": 0, "new": 0}}
    assert any(line.startswith("  evaluate/return  2 jobs: 8 of 32 cases are new; ") for line in grown.lines)
    explained = explain_text(explanation_of(grown.study, find_job(grown.study.plan, "judge/return/context-k5/s0")))
    assert "\n  takes over 12 of 16 cases from judge/return/context-k5/s0 (" in explained
    begun = run(rehearsal)
    assert "evaluate/return  2 jobs: 8 of 32 cases are new; " in begun

    fewer = Planned(rehearsal, TWELVE)  # 16 -> 12
    assert fewer.new == {} and fewer.json["counts"] == {"done": len(fewer.json["jobs"])}
    assert not fewer.lines

    scenes = Planned(rehearsal, *MORE_SCENES)
    assert scenes.new == {"data": 4, "latents": 4, **{f"{stage}/return": 8 for stage in GENERATED}}
    assert scenes.reasons("data") == {"4 of 292 scenes are missing: data.open_variants 4 -> 5 since the last plan"}

    held_out = Planned(rehearsal, "controls.data.held_out_scenes=17")
    assert held_out.new["data"] == held_out.new["latents"] == 1
    rows = {name: held_out.new.get(name, 0) for name in ("evaluate/replay", "evaluate/loop", "judge/loop")}
    assert all(number in (0, 2) for number in rows.values()), "0 or 1 generation a row"
    assert held_out.growth["train"]["jobs"]["reused"] == 2
    assert not held_out.new.keys() & {"index", "evaluate/return", "judge/return"}

    measured = Planned(rehearsal, "branches.loop.perceptual=alex")
    assert measured.new == {}, "nothing is generated"
    assert measured.growth["evaluate/loop"]["items"] == {"wanted": 32, "taken": 32, "missing": 0, "measured_again": 32}
    changed = "branch.perceptual random -> alex since the last plan"
    assert measured.reasons("evaluate") == {f"16 of 16 cases are measured again, none is made again: {changed}"}

    judged = Planned(rehearsal, "controls.judge.name=vlm", "controls.judge.models=[any]")
    assert judged.new.keys() == {"judge/loop", "judge/return"}, "answered for the frames that are kept"

    one_row = Planned(rehearsal, rows="context-k5")
    assert one_row.new == {}
    assert Planned(rehearsal).new == {}, "a row that is put back"


def test_estimates_are_of_what_is_missing(rehearsal: Rehearsal) -> None:
    few = Planned(rehearsal, *MORE_SCENES)
    every = Planned(rehearsal, "controls.sampler.steps=5")
    assert 0.0 < few.forecast.hours < every.forecast.hours
    reused, needed = (few.growth["judge/return"]["hours"][kind] for kind in ("reused", "new"))
    assert reused > needed > 0.0


def test_disk_that_is_added_is_that_of_what_is_missing(rehearsal: Rehearsal) -> None:
    assert Planned(rehearsal).disk == {}, "a finished study"
    grown, every = Planned(rehearsal, *MORE_SCENES), Planned(rehearsal, "controls.data.seed=1", *MORE_SCENES)
    assert grown.disk.keys() == {"scenes", "latents", "videos"}, "no weights, and no checkpoints"
    assert every.disk.keys() == {*grown.disk, "weights", "checkpoints of one training while it runs"}
    assert grown.disk["scenes"] == pytest.approx(every.disk["scenes"] * 4 / 292, rel=0.01)
    frames, side = 1 + 2 * 8, 32  # two chunks of nine frames, the first of which is given
    assert grown.disk["videos"] == 2 * 4 * (700 + frames * (180 + side * side * 3 // 2))
    assert added_disk_line({"weights": 3 << 20, "videos": 5 << 30}) == (
        "disk: what is new takes 5 GiB: weights 3 MiB, videos 5 GiB"
    )
    assert added_disk_line({"videos": 5 << 30}, 0.5) == (
        "disk: what is new takes 5 GiB: videos 5 GiB; of all videos `gc` keeps 0.5 GiB (keep_videos_gib)"
    )
