"""The stages of Echo-Memory: one entry each, and the revisions of what is neither a stage nor a family."""

from collections.abc import Mapping

from workloads.contract.fields import section_kinds
from workloads.contract.stage import CountCheck, RecordCheck, StageSpec, Tolerance
from workloads.study.schedule import OF_A_BUDGET
from workloads.study.sections import Branches

_SECTIONS = section_kinds(Branches)

BRANCHES = tuple(_SECTIONS)

JUDGED = tuple(name for name, section in _SECTIONS.items() if section.judged)
"""Branches with a judge; the others are measured against known frames."""

REVISIONS: Mapping[str, int] = {
    "source/worlds": 1,
    "source/context-as-memory": 1,
    "codec/space-to-depth": 1,
    "codec/wan": 1,
    "judge/mask": 1,
    "judge/vlm": 1,
}

OF_A_SCENE = tuple(f"data.{key}" for key in ("source", "seed", "height", "width", "chunk_frames", "translation_m"))
"""What a scene is."""
COUNTS = ("data.train_scenes", "data.held_out_scenes", "data.open_prompts", "data.open_variants")
"""Which scenes there are, of a rendered pool."""
RETURNING = ("data.returning_overlap", "data.returning_share")
"""Of segments, which the index lists."""

# `index` reads the codec's kind because segments start at multiples of its time factor. It does not read
# `evidence.frames`: it lists every candidate and each row takes its own K of them, so that one index is for all rows.
INDEXED = (
    "data.chunk_frames",
    *RETURNING,
    "codec.kind",
    "evidence.rule",
    "evidence.min_overlap",
    "evidence.drop",
    "training.steps",
    "training.global_batch",
)

# What the index is of depends on which scenes there are, though one of training scenes alone is the same with others.
_SCENES = ("data", *INDEXED)

_SHARED = "one job for all cells, but for a row that deviates in what it reads"

_REPEATED = "every training records what it read, and those are compared"
_OWN_FRAMES = {"evidence_frames": "the row's own number of evidence frames, anchor included"}

# With AVX2 instead of AVX-512, the means over 16 cases after 400 steps moved by at most 0.00005 dB, 0.00002 (SSIM) and
# 0.001 points; other libraries and devices differ in more operations. Rows that the study tells apart: 0.5 dB and more.
_TOLERANCES = (
    Tolerance(metric="*_retention", most=0.01),
    Tolerance(metric="psnr*", most=0.05),
    Tolerance(metric="ssim*", most=0.002),
    Tolerance(metric="rf_*", most=0.01),
    Tolerance(metric="lpips*", most=0.005),
    Tolerance(metric="stands_still", most=0.1),
)

_CAMERA = (Tolerance(metric="camera_q", most=0.01), Tolerance(metric="camera_*", most=0.1))
_JUDGED = (Tolerance(metric="judge*", most=0.5),)

_SCORES = (
    "**How a judge scores.** `judge` = 20 · (0.45 `appearance` + 0.25 `presence` + 0.20 `view` + 0.10 `scene`), "
    "0 to 100. The parts, 0 to 5, are in the same line of the tables of cases: is it the same object, is it there, "
    "does the camera look the same way, are the surroundings the same. Without the object, appearance and presence "
    "are 0."
)

_JUDGE_VARIABLES = ("ECHO_MATRIX_JUDGE_*",)

_NETWORKS = ("branch.perceptual", "branch.frechet", "branch.frechet_video")

_VIDEO = ("av.subtitles.stream",)  # PyAV imports it with the first video

# Guessed durations are of the laptop profile, which is run before anything was measured; FLOPs tell those of `train`
# and `evaluate` (`flops`).
STAGES = (
    StageSpec(
        name="data",
        module="workloads.data.generate",
        sections=("data",),
        item="scene",
        ignored=(*COUNTS, *RETURNING),
        revisions={"source": "data.source"},
        seconds_guess=5.0,
        uncompared={"pool": _SHARED, "scenes": _SHARED, "frames": _SHARED},
    ),
    StageSpec(
        name="latents",
        module="workloads.data.encode",
        inputs=("data",),
        sections=("data", "codec"),
        item="scene",
        ignored=(*COUNTS, *RETURNING),
        revisions={"codec": "codec.kind"},
        seconds_guess=2.0,
        uncompared={"latents": _SHARED, "frames": _SHARED},
    ),
    StageSpec(
        name="index",
        module="workloads.data.order",
        inputs=("data",),
        sections=INDEXED,
        ignored=("training.steps",),  # its number is the item; the first steps of a longer one are the same
        seed=True,
        seconds_guess=1.0,
        uncompared={
            **dict.fromkeys(("sample_order", "drops", "candidates"), _REPEATED),
            **dict.fromkeys(("segments", "returning"), "counted from what `candidates` is the digest of"),
        },
    ),
    StageSpec(
        name="train",
        module="workloads.training.train",
        inputs=("latents", "index"),
        sections=(*OF_A_SCENE, "evidence", "action", "backbone", "training"),
        measuring=tuple(f"training.{key}" for key in OF_A_BUDGET),
        continued="training.steps",
        states="stable",
        anew="with training.schedule cosine every rate depends on the number of steps; one of wsd is continued",
        row="trained",
        seed=True,
        seconds_guess=300.0,
        smoke=True,
        tracked=True,
        curve="loss",
        checks=(
            RecordCheck(record="sample_order", depends=_SCENES),
            RecordCheck(record="scenes", depends=_SCENES, optional=True),
            RecordCheck(record="drops", depends=_SCENES),
            RecordCheck(record="candidates", depends=_SCENES),
            RecordCheck(record="evidence_frames", declared=_OWN_FRAMES),
            RecordCheck(record="evidence", depends=_SCENES, declared=_OWN_FRAMES),
            RecordCheck(
                record="written",
                depends=_SCENES,
                declared={**_OWN_FRAMES, "write_from": "other frames of the past are written into the row's state"},
                optional=True,
            ),
            RecordCheck(
                record="initial_shared",
                depends=("data", "codec", "action", "backbone"),
                declared={"init_stream": "the row's parameters start from other draws"},
            ),
            RecordCheck(record="trainable_shared", depends=("data", "codec", "action", "backbone"), optional=True),
            RecordCheck(record="steps", depends=("training.steps",)),
        ),
        counted=(
            CountCheck(record="skipped", what="rejected steps", of="training.steps", most="training.rejected_share"),
        ),
        files=(("samples", "*.mp4", None),),
        pointer="weights.safetensors",
        global_batch="training.global_batch",
        memory_remedies=(
            "a higher ZeRO stage or offload (deepspeed in cluster/*.yaml)",
            "activation checkpointing",
        ),
        whole_checkpoints=True,
        reshard="workloads.training.reshard",
        # The first optimiser imports torch._dynamo and torch._inductor: 1.6 s per job if they are not preloaded.
        preload=(
            *("torch._dynamo", "torch._inductor", "workloads.training.without_mlflow", "deepspeed"),
            *("deepspeed.comm.mori", "deepspeed.module_inject.auto_ep_layer", "numpy.ctypeslib"),  # by its engine
            *_VIDEO,
        ),
    ),
    StageSpec(
        name="evaluate",
        module="workloads.evaluation.evaluate",
        inputs=("train", "data", "latents"),
        sections=("evidence", "sampler"),
        item="case",
        ignored=("branch.cases",),
        measuring=_NETWORKS,
        pooled=("replay",),
        row="evaluated",
        branches=BRANCHES,
        smoke=True,
        tracked=True,
        preload=_VIDEO,
        files=(("strips", "*.png", 4), ("samples", "*.mp4", None)),
        images="strips",
        videos="samples",
        kept_videos="frames/*",
        checks=(
            RecordCheck(record="commanded", depends=("data",), optional=True),
            RecordCheck(record="codec_weights", depends=("codec",), optional=True),
            RecordCheck(record="measuring_weights", optional=True),
        ),
        of_items=("commanded",),
        tolerances=_TOLERANCES,
    ),
    StageSpec(
        name="judge",
        module="workloads.evaluation.judging",
        inputs=("evaluate", "data"),
        sections=("judge",),
        item="case",
        ignored=("branch",),
        branches=JUDGED,
        revisions={"judge": "judge.name"},
        seconds_guess=1.0,
        smoke=True,
        tracked=True,
        about=_SCORES,
        checks=(RecordCheck(record="judge_rubric", depends=("judge",), optional=True),),
        preload=_VIDEO,
        uncompared={"judge_missing": "cases without a valid answer are missing in the means, and counted beside them"},
        tolerances=_JUDGED,
        environment=_JUDGE_VARIABLES,
    ),
    StageSpec(
        name="bound",
        module="workloads.evaluation.bounds",
        inputs=("data",),
        sections=("judge",),
        item="case",
        ignored=("branch.cases", "branch.batch"),
        measuring=_NETWORKS,
        pooled=("replay",),
        row="references",
        branches=BRANCHES,
        performs=("evaluate", "judge", "camera"),
        resources_of="evaluate",
        seconds_guess=5.0,
        smoke=True,
        tracked=True,
        preload=_VIDEO,
        files=(("strips", "*.png", 4), ("samples", "*.mp4", None)),
        images="strips",
        videos="samples",
        about=_SCORES,
        uncompared=dict.fromkeys(
            ("left_out", "measuring_weights", "judge_rubric", "judge_missing"), "one job for all reference rows"
        ),
        tolerances=(*_TOLERANCES, *_JUDGED, *_CAMERA),
        environment=_JUDGE_VARIABLES,
    ),
    StageSpec(
        name="camera",
        module="workloads.evaluation.gating",
        inputs=("evaluate", "data"),
        item="case",
        ignored=("branch",),
        branches=JUDGED,
        resources_of="judge",
        seconds_guess=0.5,
        smoke=True,
        tracked=True,
        about="**Did the camera do it?** The source frame, turned, is fitted to the first chunk: `camera_q` is the "
        "fit, -1 to 1; `camera_f` the share of the commanded turn, 1 as commanded. `camera_measurable`: the fit is at "
        "least 0.35. `camera_refused`: on the way back the source itself is shown, faded or jumped to. `camera_left`: "
        "measurable, 2/3 to 4/3 of the turn, and not refused. `judge_gated` is `judge` in cases that left, else 0.",
        tolerances=_CAMERA,
        told="no_gate",
        preload=_VIDEO,
        uncompared={"no_gate": "the same for every row, since it follows from the commanded poses; in the notes"},
    ),
)
