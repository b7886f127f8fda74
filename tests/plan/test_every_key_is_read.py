"""Every leaf of controls, branches and memory, changed one at a time: exactly these stages change.

The table below is written by hand from study.md and the design, not from the contract's table. A key
that nothing reads would change nothing, and fails here.
"""

from pathlib import Path

import pytest

from orchestrator.plan.build import build_plan
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Matrix
from orchestrator.spec.typed import leaves_of
from workloads.contract.rows import resolved as resolved_row
from workloads.study.sections import Branches, Controls

EVALUATE = {"evaluate/replay", "evaluate/loop", "evaluate/return"}
JUDGE = {"judge/loop", "judge/return"}
GENERATE = EVALUATE | JUDGE | {"camera/loop", "camera/return"}
TRAIN = {"train"} | GENERATE
INDEX = {"index"} | TRAIN
LATENTS = {"latents"} | TRAIN
ALL = {"data", "latents"} | INDEX
SCENES = {"data", "latents"}
OF_HELD_OUT = {"evaluate/replay", "evaluate/loop", "judge/loop", "camera/loop"}
OF_OPEN = {"evaluate/return", "judge/return", "camera/return"}

SPATIAL = {"spatial", "spatial-text", "spatial-readout", "spatial-masked"}
SSM = {"ssm-hybrid", "ssm-blockwise"}
COMPRESS = {f"compress-{name}" for name in ("weight", "length-r2", "length-r4", "length-r8", "hybrid-r2", "hybrid-r4")}

# key: (overrides under which it can be changed, another value, stages, rows; None: all rows)
CONTROLS: dict[str, tuple[list[str], str, set[str], set[str] | None]] = {
    "data.source": (["controls.judge.name=vlm", "controls.judge.models=[a]"], "context-as-memory", ALL, None),
    "data.seed": ([], "1", ALL, None),
    "data.height": ([], "16", ALL, None),
    "data.width": ([], "8", ALL, None),
    "data.chunk_frames": ([], "5", ALL, None),
    "data.train_scenes": ([], "8", ALL, None),
    "data.held_out_scenes": ([], "8", SCENES | OF_HELD_OUT, None),
    "data.open_prompts": ([], "2", SCENES | OF_OPEN, None),
    "data.open_variants": ([], "2", SCENES | OF_OPEN, None),
    "data.translation_m": ([], "1", ALL, None),
    "data.returning_overlap": ([], "0.5", INDEX, None),
    "data.returning_share": ([], "0.5", INDEX, None),
    "codec.kind": (
        [
            "controls.codec.factor=8",
            "controls.data.height=32",
            "controls.data.width=32",
            "controls.backbone.width=1024",
        ],
        "wan",
        LATENTS | INDEX,
        None,
    ),
    "codec.factor": ([], "1", LATENTS, None),
    "codec.text": (["controls.codec.text_width=4096"], "umt5", LATENTS, None),
    "codec.text_tokens": ([], "8", LATENTS, None),
    "codec.text_width": ([], "8", LATENTS, None),
    "evidence.frames": ([], "5", TRAIN, SPATIAL | SSM | COMPRESS),
    "evidence.rule": ([], "top", INDEX, None),
    "evidence.min_overlap": ([], "0.5", INDEX, None),
    "evidence.drop": ([], "0.2", INDEX, None),
    "action.site": ([], "pre_norm", TRAIN, None),
    "backbone.start": (
        [
            "controls.codec.kind=wan",
            "controls.codec.factor=8",
            "controls.codec.text=umt5",
            "controls.codec.text_width=4096",
            "controls.data.height=32",
            "controls.data.width=32",
            "controls.backbone.width=1024",
        ],
        "wan",
        TRAIN,
        None,
    ),
    "backbone.width": ([], "128", TRAIN, None),
    "backbone.blocks": ([], "2", TRAIN, None),
    "backbone.heads": ([], "4", TRAIN, None),
    "backbone.feed_forward": ([], "128", TRAIN, None),
    "backbone.frequency_width": ([], "32", TRAIN, None),
    "backbone.recurrent_every": ([], "1", TRAIN, SSM | {"spatial-readout"}),
    "backbone.grid": (["controls.data.height=16"], "3", TRAIN, SPATIAL),
    "backbone.grid_tokens": ([], "2", TRAIN, SPATIAL),
    "training.steps": ([], "300", INDEX, None),
    "training.global_batch": ([], "4", INDEX, None),
    "training.rate": ([], "1e-3", TRAIN, None),
    "training.warmup_steps": ([], "10", TRAIN, None),
    "training.schedule": ([], "constant", TRAIN, None),
    "training.decay": (["controls.training.schedule=wsd"], "0.2", TRAIN, None),
    "training.floor": ([], "0", TRAIN, None),
    "training.clip": ([], "null", TRAIN, None),
    "training.weight_decay": ([], "0", TRAIN, None),
    "training.shift": ([], "5", TRAIN, None),
    "training.precision": ([], "bfloat16", TRAIN, None),
    "training.spike_ratio": ([], "10", TRAIN, None),
    "training.sample_every": ([], "0", TRAIN, None),
    "training.rejected_share": ([], "0.2", TRAIN, None),
    "sampler.steps": ([], "4", GENERATE, None),
    "sampler.guidance": ([], "5", GENERATE, None),
    "sampler.negative": ([], "blurry", GENERATE, None),
    "judge.name": ([], "vlm", JUDGE, None),
    "judge.models": (["controls.judge.name=vlm", "controls.judge.models=[a]"], "[a, b]", JUDGE, None),
    "judge.tail_frames": ([], "2", JUDGE, None),
    "judge.min_overlap": ([], "0.5", JUDGE, None),
}

BRANCHES = {
    "replay.cases": ("4", {"evaluate/replay"}),
    "replay.chunks": ("2", {"evaluate/replay"}),
    "replay.batch": ("4", {"evaluate/replay"}),
    "replay.perceptual": ("alex", {"evaluate/replay"}),
    "replay.frechet": ("inception", {"evaluate/replay"}),
    "replay.frechet_video": ("i3d", {"evaluate/replay"}),
    "loop.cases": ("4", {"evaluate/loop", "judge/loop", "camera/loop"}),
    "loop.turns_deg": ("[30, -30]", {"evaluate/loop", "judge/loop", "camera/loop"}),
    "loop.batch": ("4", {"evaluate/loop", "judge/loop", "camera/loop"}),
    "loop.perceptual": ("alex", {"evaluate/loop"}),
    "return.cases": ("4", {"evaluate/return", "judge/return", "camera/return"}),
    "return.turns_deg": ("[30, -30]", {"evaluate/return", "judge/return", "camera/return"}),
    "return.batch": ("4", {"evaluate/return", "judge/return", "camera/return"}),
    "absence.cases": ("4", {"evaluate/absence", "judge/absence", "camera/absence"}),
    "absence.away_deg": ("[90]", {"evaluate/absence", "judge/absence", "camera/absence"}),
    "absence.between_deg": ("[30, -30]", {"evaluate/absence", "judge/absence", "camera/absence"}),
    "absence.gaps": ("[0, 4]", {"evaluate/absence", "judge/absence", "camera/absence"}),
    "absence.batch": ("4", {"evaluate/absence", "judge/absence", "camera/absence"}),
    "sensitivity.cases": ("4", {"evaluate/sensitivity", "judge/sensitivity", "camera/sensitivity"}),
    "sensitivity.turns_deg": ("[30, -30]", {"evaluate/sensitivity", "judge/sensitivity", "camera/sensitivity"}),
    "sensitivity.batch": ("4", {"evaluate/sensitivity", "judge/sensitivity", "camera/sensitivity"}),
    "sensitivity.perturb": ("[pose]", {"evaluate/sensitivity", "judge/sensitivity", "camera/sensitivity"}),
    "sensitivity.pose_deg": ("10", {"evaluate/sensitivity", "judge/sensitivity", "camera/sensitivity"}),
    "sensitivity.noise": ("1", {"evaluate/sensitivity", "judge/sensitivity", "camera/sensitivity"}),
}
OPTIONAL = {
    "absence": "cases=8 away_deg=[45,45] between_deg=[-30,30] gaps=[0,2] batch=2",
    "sensitivity": "cases=8 turns_deg=[-45,45] batch=2 rows=['*'] perturb=[pose,noise] pose_deg=5 noise=0.5",
}
"""Branches that the golden matrix lacks."""
CHOOSING = {"sensitivity.rows"}
"""Keys that choose rows and are in no fingerprint: tests/spec/test_branches.py."""

# one representative of each family and each of its forms; row.parameter: (another value, stages)
MEMORY = {
    "context-k5.frames": ("6", TRAIN),
    "compress-weight.decay": ("0.8", TRAIN),
    "compress-weight.scale": ("latents", TRAIN),
    "compress-length-r2.ratio": ("3", TRAIN),
    "compress-hybrid-r2.decay": ("0.8", TRAIN),
    "compress-hybrid-r2.ratio": ("3", TRAIN),
    "spatial-readout.read": ("text", TRAIN),
    "spatial-readout.masked": ("true", GENERATE),
    "ssm-hybrid.kernel": ("4", TRAIN),
    "ssm-hybrid.expand": ("1", TRAIN),
    "ssm-blockwise.tau": ("[1, 64]", TRAIN),
    "ssm-blockwise.rho": ("[0.1, 0.3]", TRAIN),
}
TOGETHER = {"judge.name": ["controls.judge.models=[a]"]}
"""Keys that cannot change alone, with what changes beside them."""
# These cannot change alone: the loader refuses the row, which is how they are read.
NOT_ALONE = {"compress.hybrid", "spatial.write"}


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "tests" / "golden" / "matrix.yaml")


def jobs(matrix: Matrix, overrides: list[str]) -> dict[str, dict[str, str]]:
    resolved = resolve_profile(matrix, "laptop", overrides)
    plan = build_plan(resolved, expand(resolved))
    return {
        cell.row: {name: plan.jobs[job].fingerprint for name, job in plan.jobs_of[cell.id].items()}
        for cell in plan.cells
    }


def changed(matrix: Matrix, base: list[str], *overrides: str) -> dict[str, set[str]]:
    keys = {override.partition("=")[0] for override in overrides}
    others = [override for override in base if override.partition("=")[0] not in keys]
    before, after = jobs(matrix, base), jobs(matrix, [*others, *overrides])
    return {
        row: found
        for row in before
        if (found := {name for name in before[row] if before[row][name] != after[row][name]})
    }


def test_the_table_names_every_control_and_every_branch_key() -> None:
    assert {f"controls.{key}" for key in CONTROLS} == set(leaves_of(Controls, "controls"))
    assert {f"branches.{key}" for key in {*BRANCHES, *CHOOSING}} == set(leaves_of(Branches, "branches"))


def test_the_table_names_every_parameter_of_every_family(matrix: Matrix) -> None:
    tried = {f"{matrix.rows[key.partition('.')[0]].family}.{key.partition('.')[2]}" for key in MEMORY}
    all_of_them = {
        f"{row.family}.{name}" for row in matrix.rows.values() for name in resolved_row(row) if name != "family"
    }
    assert tried | NOT_ALONE == all_of_them


@pytest.mark.parametrize("key", CONTROLS)
def test_a_changed_control_changes_exactly_the_stages_that_read_it(matrix: Matrix, key: str) -> None:
    base, value, stages, rows = CONTROLS[key]
    expected = dict.fromkeys(rows if rows is not None else matrix.rows, stages)
    assert changed(matrix, base, f"controls.{key}={value}", *TOGETHER.get(key, ())) == expected


@pytest.mark.parametrize("key", BRANCHES)
def test_a_changed_branch_changes_its_own_jobs(matrix: Matrix, key: str) -> None:
    value, stages = BRANCHES[key]
    # LPIPS needs larger frames than the laptop's.
    base = ["controls.data.height=32", "controls.data.width=32"] if key.endswith("perceptual") else []
    branch = key.partition(".")[0]
    base += [f"branches.{branch}.{one}" for one in OPTIONAL.get(branch, "").split()]
    assert changed(matrix, base, f"branches.{key}={value}") == dict.fromkeys(matrix.rows, stages)


@pytest.mark.parametrize("key", MEMORY)
def test_a_changed_row_changes_that_row_alone(matrix: Matrix, key: str) -> None:
    value, stages = MEMORY[key]
    assert changed(matrix, [], f"memory.{key}={value}") == {key.partition(".")[0]: stages}
