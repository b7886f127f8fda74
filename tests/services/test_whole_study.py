"""The study as its users run it: the real command line, Ray, DeepSpeed and MLflow, at the smallest size."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.verdicts import EXECUTION
from workloads.study.workload import WORKLOAD

ECHO_MATRIX = Path(sys.executable).with_name("echo-matrix")
CHECKOUT = Path(__file__).parents[2]
SMALL = (
    "controls.data.train_scenes=8",
    "controls.data.held_out_scenes=2",
    "controls.data.open_prompts=2",
    "controls.data.open_variants=1",
    "controls.training.steps=6",
    "controls.training.warmup_steps=2",
    "controls.training.sample_every=3",
    "controls.sampler.steps=2",
    "branches.replay.cases=2",
    "branches.loop.cases=2",
    "branches.return.cases=2",
)
ROWS = ("context-k1", "context-k5", "spatial-masked")
BRANCHES = ("replay", "loop", "return")


def command(verb: str, *arguments: str, matrix: Path = CHECKOUT / "matrix.yaml") -> list[str]:
    given = {argument.partition("=")[0] for argument in arguments}
    small = [override for override in SMALL if override.partition("=")[0] not in given]
    return [str(ECHO_MATRIX), verb, "--matrix", str(matrix), *arguments, *small]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1"}


def call(home: Path, verb: str, *arguments: str, matrix: Path = CHECKOUT / "matrix.yaml") -> Any:
    return subprocess.run(
        command(verb, *arguments, matrix=matrix), env=environment(home), capture_output=True, text=True
    )


def run(home: Path, *arguments: str, matrix: Path = CHECKOUT / "matrix.yaml") -> Any:
    return call(home, "run", "--rows", ",".join(ROWS), *arguments, matrix=matrix)


def status(home: Path) -> dict[str, Any]:
    done = call(home, "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def states(home: Path, *arguments: str, matrix: Path = CHECKOUT / "matrix.yaml") -> dict[str, str]:
    done = call(home, "plan", "--json", *arguments, matrix=matrix)
    assert done.returncode == 0, done.stderr
    return {job["label"]: job["state"] for job in json.loads(done.stdout)["jobs"]}


def by_stage(found: Mapping[str, str]) -> dict[str, Counter[str]]:
    stages: dict[str, Counter[str]] = {}
    for label, state in found.items():
        stages.setdefault(label.partition("/")[0], Counter())[state] += 1
    return stages


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has been run once."""
    folder = tmp_path_factory.mktemp("study")
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def study(home: Path) -> Path:
    return home / "echo-memory"


def test_every_selected_row_has_results_on_every_branch(study: Path) -> None:
    with (study / "report" / "results.csv").open(encoding="utf-8") as lines:
        found = {(line["row"], line["branch"]) for line in csv.DictReader(lines)}
    assert {(row, branch) for row in ROWS for branch in BRANCHES} <= found


def test_an_alias_has_lines_of_its_own_with_equal_values(study: Path) -> None:
    values: dict[str, list[tuple[str, ...]]] = {"context-k1": [], "spatial-withheld": []}
    with (study / "report" / "results.csv").open(encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            if line["row"] in values:
                values[line["row"]].append((line["branch"], line["case"], line["metric"], line["value"]))
    assert values["context-k1"]
    assert values["context-k1"] == values["spatial-withheld"]


def test_what_was_not_selected_is_missing_and_said_to_be(study: Path) -> None:
    report = json.loads((study / "report" / "report.json").read_text(encoding="utf-8"))
    assert {line["row"] for line in report["missing"]} >= {"context-k20", "compress-weight", "ssm-hybrid"}
    assert (study / "report" / "index.html").stat().st_size > 10_000


def test_everything_that_a_job_records_is_compared_or_listed_and_the_controls_hold(study: Path) -> None:
    for path in (study / "store" / "commits").glob("[0-9a-f]*.json"):
        commit = json.loads(path.read_text(encoding="utf-8"))
        stage = WORKLOAD.by_name[commit["stage"]]
        checks = {check.record for check in (*stage.checks, *stage.counted)}
        assert set(commit["result"]["records"]) <= {*EXECUTION, *checks, *stage.uncompared}, commit["label"]
    report = json.loads((study / "report" / "report.json").read_text(encoding="utf-8"))
    found = {one["check"]: one for one in report["controls"]["verdicts"]}
    assert found.pop("inputs")["verdict"] == "held"
    assert {one["verdict"] for one in found.values()} == {"open"}  # of the other rows nothing is there yet
    assert "context-k5/s0" not in found["evidence"]["cells"]
    declared = {row for one in report["controls"]["deviations"] for row in one["rows"]}
    assert declared == {"context-k1", "context-k5", "spatial-withheld", "spatial-masked"}


def test_a_second_run_starts_nothing(home: Path) -> None:
    before = status(home)
    again = run(home)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert status(home) == before


def test_a_renamed_row_and_other_resources_run_nothing(home: Path, tmp_path: Path) -> None:
    text = (CHECKOUT / "matrix.yaml").read_text(encoding="utf-8")
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(text.replace("context-k5", "raw-five").replace("memory_gib: 2.0", "memory_gib: 3.0"), "utf-8")
    found = states(home, matrix=matrix)
    assert found["train/raw-five/s0"] == "done"
    assert found["judge/return/raw-five/s0"] == "done"


def test_more_steps_train_anew_and_keep_pool_and_latents(home: Path) -> None:
    found = by_stage(states(home, "controls.training.steps=7"))
    assert found["data"] == found["latents"] == {"done": 1}
    assert all(set(found[stage]) == {"new"} for stage in ("index", "train", "evaluate", "judge", "camera"))


def test_an_added_row_is_the_only_new_one(home: Path, tmp_path: Path) -> None:
    text = (CHECKOUT / "matrix.yaml").read_text(encoding="utf-8")
    matrix = tmp_path / "matrix.yaml"
    line = "  context-k5: {family: context, frames: 5}\n"
    text = text.replace(line, line + "  context-k3: {family: context, frames: 3}\n")
    matrix.write_text(text.replace("rows: [context-k1,", "rows: [context-k1, context-k3,"), encoding="utf-8")
    before, after = states(home), states(home, matrix=matrix)
    assert {label for label in after if label not in before} == {
        "train/context-k3/s0",
        *(f"evaluate/{branch}/context-k3/s0" for branch in BRANCHES),
        *(f"{stage}/{branch}/context-k3/s0" for stage in ("judge", "camera") for branch in ("loop", "return")),
    }
    assert {label: after[label] for label in before} == before


def test_mlflow_holds_a_finished_run_per_cell_with_its_loss_and_strip(study: Path) -> None:
    code = (
        "import json, sys\n"
        "from mlflow import MlflowClient\n"
        "client = MlflowClient(sys.argv[1])\n"
        "runs = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=100)\n"
        "found = {}\n"
        "for run in runs:\n"
        "    steps = [m.step for m in client.get_metric_history(run.info.run_id, 'train/loss')]\n"
        "    found[run.info.run_name] = [run.info.status, steps, sorted(run.data.metrics), run.data.tags.get('row')]\n"
        "print(json.dumps(found))\n"
    )
    uri = f"sqlite:///{study / 'mlflow.db'}"
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True)
    runs = json.loads(done.stdout.splitlines()[-1])
    status_, steps, metrics, row = runs["context-k5/s0"]
    assert (status_, row) == ("FINISHED", "context-k5")
    assert steps == list(range(1, 7))
    assert {"replay/psnr", "loop/psnr", "return/psnr_truth_last", "return/judge", "return/judge_gated"} <= set(metrics)
    assert list((study / "mlartifacts").rglob("*.png"))
    assert "RUNNING" not in {found[0] for found in runs.values()}


def plain(home: Path, verb: str, *arguments: str) -> str:
    """A verb that names a job: profile and overrides are those of the last run."""
    line = [str(ECHO_MATRIX), verb, *arguments, "--matrix", str(CHECKOUT / "matrix.yaml")]
    return subprocess.run(line, env=environment(home), capture_output=True, text=True, check=True).stdout


def test_a_job_is_named_without_repeating_the_overrides_of_its_run(home: Path) -> None:
    assert "publishing 6/6" in plain(home, "logs", "train/context-k5/s0")
    assert "\n  done\n" in plain(home, "explain", "train/context-k5/s0")


def test_a_pool_with_a_missing_scene_stops_the_job_that_reads_it(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(home / "echo-memory" / "store", folder / "echo-memory" / "store")
    store = folder / "echo-memory" / "store"
    for path in (store / "commits").glob("[0-9a-f]*.json"):
        if json.loads(path.read_text(encoding="utf-8"))["stage"] != "data":
            path.unlink()
    scene = next(iter(sorted((store / "artifacts" / "data").rglob("*.zip"))))
    scene.unlink()
    cluster = tmp_path / "few-retries.yaml"
    few = "backend: ray\nretries: {free_in_a_row: 1}\ntracking: {kind: none}\n"
    cluster.write_text(few, encoding="utf-8")
    done = run(folder, "--cluster", str(cluster))
    assert done.returncode == 1
    assert scene.name in done.stdout
    found = by_stage(states(folder))
    assert found["latents"] == {"failed": 1} or found["data"] == {"failed": 1}
    assert set(found["train"]) == {"blocked"}


def test_bad_input_is_named_and_ends_with_2(home: Path) -> None:
    done = call(home, "plan", "controls.training.stepps=3")
    assert done.returncode == 2
    assert "did you mean 'controls.training.steps'" in done.stderr
    assert done.stdout == ""
