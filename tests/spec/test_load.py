"""Reading matrix.yaml: every refusal as its text, and what the profiles resolve to."""

import re
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Matrix
from workloads.contract.fields import plain

MATRIX = (Path(__file__).parent.parent / "golden" / "matrix.yaml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in MATRIX, old
    path = tmp_path / "matrix.yaml"
    path.write_text(MATRIX.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "matrix.yaml")


REFUSALS = [
    # what is written, instead of what, and what the message says after file and line
    (
        "steps: 400",
        "stepz: 400",
        r"controls\.training\.stepz is unknown; did you mean 'steps'\?; allowed: steps, glob",
    ),
    ("steps: 400", "steps: 5.0", r"controls\.training\.steps is 5\.0; allowed: a whole number, such as 5"),
    ("steps: 400", "steps: 0", r"controls\.training\.steps is 0; allowed: 1 and more"),
    (
        "steps: 400",
        'steps: "400"',
        r"controls\.training\.steps is the text '400'; allowed: a whole number, without quotes",
    ),
    ("steps: 400", "steps: 010", r"controls\.training\.steps is 010, which YAML reads as an octal number; write 10"),
    ("steps: 400", "steps: 0x10", r"controls\.training\.steps is 0x10; write the number in base 10"),
    ("steps: 400", "steps: 1_000", r"controls\.training\.steps is 1_000; write the number in base 10"),
    ("steps: 400", "steps: 1:30", r"controls\.training\.steps is 1:30, which YAML reads in base 60; write the number"),
    ("steps: 400", "steps: yes", r"controls\.training\.steps is 'yes', a truth value; allowed: a whole number"),
    ("steps: 400", "steps:", r"controls\.training\.steps is without a value; allowed: a whole number"),
    ("steps: 400", "steps: null", r"controls\.training\.steps is null; allowed: a whole number"),
    ("steps: 400", "steps: [400]", r"controls\.training\.steps is a list; allowed: a whole number"),
    ("steps: 400", "steps: 400\n    steps: 300", r"controls\.training\.steps appears twice, first on line 43"),
    ("floor: 0.05", "floor: -0.0", r"controls\.training\.floor is -0\.0; write 0\.0, without a sign"),
    ("floor: 0.05", "floor: .nan", r"controls\.training\.floor is \.nan; allowed: a finite number"),
    ("floor: 0.05", "floor: .inf", r"controls\.training\.floor is \.inf; allowed: a finite number"),
    ("floor: 0.05", "floor: 1e999", r"controls\.training\.floor is 1e999, which is too large for a float"),
    ("floor: 0.05", "floor: 1.5", r"controls\.training\.floor is 1\.5; allowed: 0 to 1"),
    ("floor: 0.05", "floor: 1:30.5", r"controls\.training\.floor is 1:30\.5, which YAML reads in base 60"),
    (
        "floor: 0.05",
        "floor: 00.5",
        r"controls\.training\.floor is 00\.5, which YAML reads as an octal number; write 0\.5",
    ),
    (
        "rule: spread",
        "rule: spred",
        r"controls\.evidence\.rule is 'spred'; did you mean 'spread'\?; allowed: spread, top",
    ),
    (
        'negative: ""',
        "negative: off",
        r'controls\.sampler\.negative is off, which YAML does not read as text; write "off"',
    ),
    (
        'negative: ""',
        "negative: 1.5",
        r'controls\.sampler\.negative is 1\.5, which YAML does not read as text; write "1\.5"',
    ),
    (
        'negative: ""',
        "negative: ${oc.env:HOME}",
        r"controls\.sampler\.negative is .*; \$\{\.\.\.\} is not interpol",
    ),
    ("    floor: 0.05\n", "", r"controls\.training\.floor is missing; allowed: a number, 0 to 1"),
    (
        "  action:\n    site: pre_qkv ",
        "  action:\n    on: pre_qkv ",
        r"controls\.action\.on would be read as 'on', a truth v",
    ),
    ("seeds: [0]", "seeds: []", r"seeds is empty; allowed: at least one seed"),
    ("seeds: [0]", "seeds: [0, 0]", r"seeds is \[0, 0\], which contains a seed twice"),
    ("seeds: [0]", "sedes: [0]", r"sedes is unknown; did you mean 'seeds'\?"),
    ("study: echo-memory", "study: echo/memory", r"study is named 'echo/memory'; allowed: letters, digits"),
    (
        "heads: 2",
        "heads: 3",
        r"controls\.backbone\.heads is 3, but backbone\.width is 64; a head's width must be whole",
    ),
    (
        "width: 64\n",
        "width: 48\n",
        r"controls\.backbone\.width is 48, but a patch holds 48 values \(12 latent channels",
    ),
    (
        "height: 8\n",
        "height: 10\n",
        r"controls\.data\.height is 10 pixels; allowed: multiples of 4 \(codec\.factor\(2\)",
    ),
    (
        "warmup_steps: 40\n",
        "warmup_steps: 401\n",
        r"controls\.training\.warmup_steps is 401, but training\.steps is 400",
    ),
    (
        "frequency_width: 64 ",
        "frequency_width: 63 ",
        r"controls\.backbone\.frequency_width is 63; allowed: even numbers",
    ),
    ("grid: 2 ", "grid: 5 ", r"controls\.backbone\.grid is 5, but the shorter side of a frame has 2 tokens"),
    ("grid_tokens: 4 ", "grid_tokens: 5 ", r"controls\.backbone\.grid_tokens is 5, but the grid has 2\*\*2 = 4 places"),
    (
        "tail_frames: 4",
        "tail_frames: 40",
        r"controls\.judge\.tail_frames is 40, but the shortest judged branch generates 16",
    ),
    (
        "source: worlds ",
        "source: context-as-memory ",
        r"controls\.judge\.name is mask, which needs the renderer of data\.",
    ),
    (
        "[-45.0, 45.0]",
        "[-45.0, 30.0]",
        r"branches\.return\.turns_deg is \[-45\.0, 30\.0\], which does not come back the way",
    ),
    (
        "context-k5: {family: context",
        "context-k5: {family: contxt",
        r"memory\.context-k5\.family is 'contxt'; did you mean",
    ),
    (
        "{family: context, frames: 5}",
        "{family: context, frame: 5}",
        r"memory\.context-k5\.frame is not a parameter of context; did",
    ),
    (
        "{family: context, frames: 5}",
        "{family: context}",
        r"memory\.context-k5 is missing a parameter of context; not given",
    ),
    (
        "{family: context, frames: 5}",
        "{frames: 5}",
        r"memory\.context-k5\.family is missing; allowed: context, compress",
    ),
    (
        "{family: context, frames: 5}",
        "{family: context, frames: 0}",
        r"memory\.context-k5 is not valid: frames is 0; the anchor",
    ),
    (
        "ratio: 2, hybrid: true",
        "ratio: 2",
        r"memory\.compress-hybrid-r2 is not valid: weighting \(decay\) with pooling \(ratio\)",
    ),
    ("hybrid: true", "hybrid: True", r"memory\.compress-hybrid-r2\.hybrid is True; write true"),
    ("hybrid: true", "hybrid: yes", r"memory\.compress-hybrid-r2\.hybrid is yes; write true"),
    ("tau: [1.0, 128.0]", "tau: [1.0]", r"memory\.ssm-blockwise\.tau has 1 value; allowed: 2"),
    ("  context-k5: {", "  context-k1: {", r"memory\.context-k1 appears twice, first on line 66"),
    (
        "axes: {} ",
        "axes: {site: {key: controls.action.sight, values: [a]}} ",
        r"axes\.site\.key is 'controls\.action\.sight', wh",
    ),
    (
        "axes: {} ",
        "axes: {site: {key: controls.action.site, values: [a]}} ",
        r"axes\.site\.values\[0\] is 'a'; allowed: post_",
    ),
    (
        "axes: {} ",
        "axes: {n: {key: memory.spatial.read, values: [a]}} ",
        r"axes\.n\.key is 'memory\.spatial\.read', .* write anoth",
    ),
    ("axes: {} ", "axes: {k: {key: controls.evidence.frames, values: [5, 5]}} ", r"axes\.k\.values contains 5 twice"),
    (
        "axes: {} ",
        "axes: {h: {key: controls.backbone.heads, values: [2, 3]}} ",
        r"controls\.backbone\.heads is 3, but backbone\.",
    ),
    (
        "perceptual: random}",
        "perceptual: vgg}",
        r"branches\.loop\.perceptual is vgg, whose features need frames of at least 16 pixels a side",
    ),
    (
        "context: [context-k1",
        "context: [context-k2",
        r"tables\.context lists 'context-k2', which is not a row; did you mean 'context-k",
    ),
    (
        "rows: [spatial-masked]",
        "rows: [spatial]",
        r"deviations\[0\]\.rows lists 'spatial', which does not set masked",
    ),
    (
        "key: memory.masked",
        "key: memory.mask",
        r"deviations\[0\]\.key is 'memory\.mask'; did you mean 'memory\.masked'\?",
    ),
    (
        "key: memory.masked",
        "key: controls.training.rate",
        r"deviations\[0\]\.value is missing; write the value of controls\.tr",
    ),
    ("cases: 16, chunks", "cases: -1, chunks", r"branches\.replay\.cases is -1; allowed: 0 and more"),
    ("    seeds: [0, 1, 2]\n", "    sedes: [0, 1, 2]\n", r"profiles\.evening\.sedes is unknown; did you mean 'seeds'"),
    ("heads: 6", "heads: 7", r"controls\.backbone\.heads is 7, but backbone\.width is 384; .* \(profile study\)"),
    ("rate: 5.0e-5", "rat: 5.0e-5", r"profiles\.paper\.controls\.training\.rat is unknown; did you mean 'rate'"),
    (
        "judge: {cpus: 2, devices: 0, memory_gib: 8.0, minutes: 600}",
        "judge: {cpus: 2}",
        r"profiles\.paper\.resources\.judge\.dev",
    ),
    ("study: echo-memory", "study: [", r"is not YAML: "),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS, ids=[new.strip()[:40] for _, new, _ in REFUSALS])
def test_a_matrix_that_cannot_be_is_refused_with_file_line_and_remedy(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(MatrixError) as refused:
        load_matrix(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: {message}", str(refused.value)), str(refused.value)


def test_the_line_in_a_refusal_is_the_line_of_the_key(tmp_path: Path) -> None:
    path = changed(tmp_path, "heads: 6", "heads: 7")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "heads: 7" in text)
    with pytest.raises(MatrixError, match=rf"matrix\.yaml:{line}: "):
        load_matrix(path)


def test_a_table_takes_no_ceiling_and_no_floor(root: Path, tmp_path: Path) -> None:
    text = (root / "matrix.yaml").read_text(encoding="utf-8")
    path = tmp_path / "matrix.yaml"
    path.write_text(text.replace("  context: [context-k1,", "  context: [bound-truth, context-k1,"), encoding="utf-8")
    with pytest.raises(MatrixError, match=r"tables\.context lists 'bound-truth', a reference row, which is not ranked"):
        load_matrix(path)


def test_missing_keys_are_named_together_with_what_to_write_for_none(root: Path, tmp_path: Path) -> None:
    lines = (root / "matrix.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "matrix.yaml"
    path.write_text("".join(line for line in lines if not line.startswith(("axes:", "study:"))), encoding="utf-8")
    with pytest.raises(MatrixError, match=r"study, axes are missing; for none, write axes: \{\}; allowed: study, "):
        load_matrix(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"nowhere\.yaml: no such file"):
        load_matrix(tmp_path / "nowhere.yaml")


OVERRIDES = [
    (
        "controls.training.stepz=7",
        r"command line: controls\.training\.stepz is unknown; did you mean 'controls\.training\.ste",
    ),
    ("training.steps=7", r"command line: training\.steps is unknown; did you mean 'controls\.training\.steps'\?"),
    (
        "controls.training=7",
        r"command line: controls\.training is a section; write one key, such as controls\.training\.steps",
    ),
    ("controls.training.steps", r"command line: 'controls\.training\.steps' is not an override; write KEY=VALUE"),
    ("controls.training.steps=", r"command line: controls\.training\.steps is without a value"),
    ("controls.training.steps=5.0", r"command line: controls\.training\.steps is 5\.0; allowed: a whole number"),
    ("controls.training.steps=010", r"command line: controls\.training\.steps is 010, which YAML reads as an octal"),
    ("controls.training.steps=1:30", r"command line: controls\.training\.steps is 1:30, which YAML reads in base 60"),
    ("controls.training.floor=-0.0", r"command line: controls\.training\.floor is -0\.0; write 0\.0"),
    ("controls.training.floor=nan", r"command line: controls\.training\.floor is nan; allowed: a finite number"),
    (
        "controls.sampler.negative=no",
        r"command line: controls\.sampler\.negative is no, which YAML does not read as text",
    ),
    ("controls.backbone.heads=3", r"command line: controls\.backbone\.heads is 3, but backbone\.width is 64"),
    ("memory.spatial.masked=yes", r"command line: memory\.spatial\.masked is yes; write true"),
    (
        "memory.spatail.masked=true",
        r"command line: memory\.spatail\.masked is of an unknown row; did you mean 'spat",
    ),
    ("memory.spatial.write=none", r"command line: memory\.spatial is not valid: read: text reads nothing"),
    ("axes.site.values=[pre_norm]", r"command line: axes\.site\.values is unknown; the matrix has no axes"),
    ("seeds=[]", r"command line: seeds is empty"),
    ("resources.train.cpus=0", r"command line: resources\.train\.cpus is 0; allowed: 1 and more"),
    ("profile=paper", r"command line: profile is unknown; .*allowed: full paths that start with seeds, rows, controls"),
]


@pytest.mark.parametrize(("override", "message"), OVERRIDES)
def test_an_override_that_cannot_be_is_refused_as_in_the_file(root: Path, override: str, message: str) -> None:
    matrix = load_matrix(root / "tests" / "golden" / "matrix.yaml")
    message = message.replace("; .*allowed", ".*allowed")
    with pytest.raises(MatrixError) as refused:
        resolve_profile(matrix, "laptop", [override])
    assert re.match(message, str(refused.value)), str(refused.value)


def test_an_override_given_twice_is_refused(matrix: Matrix) -> None:
    with pytest.raises(MatrixError, match="seeds is given twice"):
        resolve_profile(matrix, "laptop", ["seeds=[0]", "seeds=[1]"])


def test_an_override_of_an_axis_names_the_axis_to_override(tmp_path: Path) -> None:
    path = changed(tmp_path, "axes: {} ", "axes: {site: {key: controls.action.site, values: [pre_qkv, pre_norm]}} ")
    matrix = load_matrix(path)
    with pytest.raises(
        MatrixError, match=r"controls\.action\.site is the key of axis site; write axes\.site\.values=\[\.\.\.\]"
    ):
        resolve_profile(matrix, "laptop", ["controls.action.site=pre_norm"])
    chosen = resolve_profile(matrix, "laptop", ["axes.site.values=[post_attention]"])
    assert chosen.axes["site"].values == ("post_attention",)


def test_an_unknown_profile_names_the_nearest(matrix: Matrix) -> None:
    with pytest.raises(
        MatrixError, match=r"profile 'labtop' is unknown; did you mean 'laptop'\?; allowed: laptop, eve"
    ):
        resolve_profile(matrix, "labtop", [])


def test_a_profile_stands_before_the_base_and_the_command_line_before_both(matrix: Matrix) -> None:
    assert matrix.controls.training.clip == 1.0
    paper = resolve_profile(matrix, "paper", [])
    assert (paper.controls.training.clip, paper.controls.training.warmup_steps) == (None, 250)
    assert paper.controls.training.floor == matrix.controls.training.floor
    assert resolve_profile(matrix, "paper", ["controls.training.clip=2"]).controls.training.clip == 2.0
    assert resolve_profile(matrix, "paper", ["branches.replay.cases=4"]).branches.replay.cases == 4
    assert paper.branches.replay.cases == 0


def test_all_profiles_of_the_study_are_valid(matrix: Matrix) -> None:
    assert list(matrix.profiles) == ["laptop", "evening", "study", "paper"]
    assert {name: resolve_profile(matrix, name, []).seeds for name in ("laptop", "study")} == {
        "laptop": (0,),
        "study": (0, 1, 2),
    }


def test_a_float_field_turns_five_into_a_float(matrix: Matrix) -> None:
    shift = resolve_profile(matrix, "laptop", ["controls.training.shift=5"]).controls.training.shift
    assert (shift, type(shift)) == (5.0, float)
    turns = resolve_profile(matrix, "laptop", ["branches.loop.turns_deg=[30, -30]"]).branches.loop.turns_deg
    assert [type(turn) for turn in turns] == [float, float]


def test_exponents_without_a_point_are_numbers(matrix: Matrix) -> None:
    assert resolve_profile(matrix, "laptop", ["controls.training.rate=2e-3"]).controls.training.rate == 0.002


def test_plain_sections_keep_the_names_of_the_file(matrix: Matrix) -> None:
    assert list(plain(matrix.branches)) == ["replay", "loop", "return", "absence", "sensitivity"]
    assert plain(matrix.branches)["return"]["turns_deg"] == [-45.0, 45.0]


def test_a_stage_that_came_later_has_the_resources_of_another_where_a_profile_does_not_name_it(root: Path) -> None:
    """The golden matrix is older than the stage `camera`."""
    golden = load_matrix(root / "tests" / "golden" / "matrix.yaml")
    found = resolve_profile(golden, "paper", []).resources
    assert found.camera == found.judge and found.camera.minutes == 600
    changed = resolve_profile(golden, "paper", ["resources.camera.minutes=5"]).resources
    assert (changed.camera.minutes, changed.judge.minutes) == (5, 600)
    assert resolve_profile(load_matrix(root / "matrix.yaml"), "paper", []).resources.camera.minutes == 240
