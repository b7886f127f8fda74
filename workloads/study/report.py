"""Report specification of the study.

Findings and published tables are imported only when the report is written, since they import the statistics.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.spec import (
    AnswerScale,
    BranchSpec,
    CostValue,
    DifferenceTile,
    FactorSpec,
    FrontierSpec,
    GainSpec,
    GroupChanges,
    GroupCurves,
    ImageSpec,
    InstrumentSpec,
    NoiseSpec,
    PublishedTables,
    ReferenceSpec,
    ReportSpec,
    ScalingFigure,
    ScorePart,
    SizeSpec,
    Words,
)
from workloads.study.differences import DIFFERENCES
from workloads.study.effects import RACE, SMALLEST_EFFECTS
from workloads.study.gate import AT_MOST, GATED
from workloads.study.glossary import GLOSSARY

if TYPE_CHECKING:
    from reports.findings import Question

BUNDLE = (
    ScorePart(metric="psnr"),
    ScorePart(metric="ssim"),
    ScorePart(metric="lpips", better="low", stand_in="rf_distance", stand_in_suffix="_rf"),
)

GATED_JUDGE, UNGATED = (ScorePart(metric=GATED),), (ScorePart(metric="judge"),)
"""The headline of judged branches; without a gate, such as in published tables, loop has its bundle."""
OF_GROUPS = ScorePart(metric=GATED, stand_in="judge")
BESIDE = ("camera_left", "camera_f", "judge", AT_MOST)

OPEN_VARIANT = r"(?<=\d)[-_.]v?\d+"
"""End of an open-domain scene's name: `open-03-2` is variant 2, a layout of the objects, of prompt 3."""

CAPPED_DB = 99.0
"""PSNR at or above this is that of equal frames, which is capped at 100 dB."""


def _judges(sections: Mapping[str, Any]) -> Sequence[str]:
    """Units of the judges, in the order of `controls.judge.models`."""
    section = sections.get("judge", {})
    models = section.get("models", ()) if isinstance(section, Mapping) else ()
    return [f"points:vlm:{model}" for model in models]


def _questions() -> "Sequence[Question]":
    from workloads.study.findings import QUESTIONS

    return QUESTIONS


def _published() -> PublishedTables:
    from workloads.study.published import published_tables

    return published_tables()


REPORT = ReportSpec(
    branches=(
        BranchSpec(name="replay", score=BUNDLE),
        BranchSpec(name="loop", score=GATED_JUDGE, otherwise=BUNDLE, beside=BESIDE),
        BranchSpec(name="return", score=GATED_JUDGE, otherwise=UNGATED, beside=BESIDE, variant=OPEN_VARIANT),
        BranchSpec(name="absence", score=(OF_GROUPS,), variant=OPEN_VARIANT, group=r"@gap(\d+)", ranked=False),
        BranchSpec(name="sensitivity", score=(OF_GROUPS,), variant=OPEN_VARIANT, group=r"@([a-z]+)", ranked=False),
    ),
    contrast=("replay", "return"),
    main_table="families",
    metrics={
        "psnr": "PSNR",
        "ssim": "SSIM",
        "lpips": "LPIPS",
        "rf_distance": "rf_distance",
        "psnr_truth": "PSNR, truth",
        GATED: "Gated judge",
        "camera_left": "Left",
        "camera_f": "Turn",
        "judge": "Judge",
        AT_MOST: "Gated, at most",
        "psnr_first": "PSNR, first",
        "psnr_truth_last": "PSNR, truth last",
    },
    shown_instead={"psnr_first": "psnr_truth_last"},
    decimals={"judge": 1, "psnr": 2, "camera": 2},
    family_labels={"compress": "compression", "ssm": "state space"},
    questions=_questions,
    smallest_effects=SMALLEST_EFFECTS,
    race=RACE,
    pilot=Path(__file__).parent / "pilot.json",
    finding_decimals={"points": 1, "differ": 0},
    tiles=(
        DifferenceTile(
            metric="return/psnr_truth_last",
            name="against the rendered truth on return",
            unit="dB",
            decimals=1,
            rows=("context-k20", "context-k5"),
            over="context-k1",
        ),
        DifferenceTile(
            metric="return",
            name="of the {} on return",
            unit="points",
            decimals=0,
            rows=("context-k20", "context-k5"),
            over="context-k1",
        ),
    ),
    scaling=(
        ScalingFigure(
            title="Context scaling",
            rows=r"context-k(\d+)",
            tick="K={}",
            metrics=(
                ("replay/psnr", "replay PSNR, dB"),
                ("return", "return {}, points"),
                ("return/psnr_truth_last", "return PSNR to truth, dB"),
            ),
            caption="The anchor alone, then 4 and 19 retrieved frames",
        ),
    ),
    group_curves=(
        GroupCurves(
            title="How long a place is remembered",
            branch="absence",
            metrics=(
                (OF_GROUPS, "judge where the camera left, points"),
                (ScorePart(metric="judge_appearance"), "appearance of the right object, 0 to 5"),
                (ScorePart(metric="psnr_truth_last"), "PSNR to truth, last frame, dB"),
            ),
            axis="chunks in between",
            floor="context-k1",
            caption="The camera turns away, looks about for so many chunks without seeing the source, and comes back. "
            "The half-life is the number of chunks after which half of what a row had above "
            "<code>context-k1</code> is gone, linear in log<sub>2</sub>(n + 1). A judge's points are partly for the "
            "view and the scene: true videos with <i>another</i> object keep 54 of 100, and 0 of appearance.",
        ),
    ),
    group_changes=(
        GroupChanges(
            title="What a row does with wrong evidence",
            branch="sensitivity",
            metrics=(
                (OF_GROUPS, "judge where the camera left"),
                (ScorePart(metric="psnr_truth_last"), "PSNR to truth, last frame"),
            ),
            baseline="none",
            groups=(
                ("pose", "poses off"),
                ("foreign", "one frame of another world"),
                ("noise", "noise"),
                ("missing", "one frame missing"),
            ),
            caption="By how much the score of <i>return</i> falls when something is wrong with the retrieved frames, "
            "with half its interval, paired over scenes; bold where the interval excludes 0. A row that reads no "
            "retrieved frame falls by 0 exactly.",
        ),
    ),
    instruments=InstrumentSpec(
        name="judges",
        metric="judge",
        prefixes=("points:", "vlm:"),
        branches=("return", "loop"),
        scales={
            "judge": AnswerScale(worst=0, best=100),
            GATED: AnswerScale(worst=0, best=100, needs="camera_left"),
            AT_MOST: AnswerScale(worst=0, best=100),
            **{f"judge_{part}": AnswerScale(worst=0, best=5) for part in ("appearance", "presence", "view", "scene")},
        },
        preferred=_judges,
        caption="Totals of the same cases by two judges, over distinct rows and all seeds. The return score is that of "
        """{leading} alone; the others' stand under "every metric", each under its own name.""",
    ),
    gain=GainSpec(
        metric="return",
        shortest="context-k1",
        longest="context-k20",
        full_families=("context",),
        caption="Of what K=20 gains over K=1 on return, the share a compact memory keeps; given only where that gain "
        "differs significantly from 0.",
    ),
    noise=NoiseSpec(
        row="context-k5",
        again="context-k5-aa",
        caption="<code>context-k5-aa</code> is <code>context-k5</code> with other initial weights, drawn from another "
        "stream, and the same data, order and noise. It is in no table, rank or finding.",
    ),
    references=ReferenceSpec(
        ceiling="bound-truth",
        floor="bound-anchor",
        adversaries={
            "bound-fades": "the truth, which dissolves into the first frame before the end",
            "bound-jumps": "the truth, which is cut to the first frame before the end",
            "bound-half": "half the turn",
            "bound-waits": "goes half way through the first chunk, waits, and comes back in time",
            "bound-mean-colour": "the mean colour of the first frame",
            "bound-other-world": "another world, along the same way",
            "bound-late": "the truth, one chunk late",
        },
        lines={
            "bound-pan": "the first frame alone, turned by geometry: a row above it remembers more than one frame",
            "bound-backwards": "the first chunk there and back, again and again",
            "bound-stops": "stops where the first chunk ends, and comes back in time",
        },
        baseline="context-k1",
        guarded=(
            "loop/psnr",
            "loop/ssim",
            "loop/judge",
            "loop/judge_gated",
            "return/judge",
            "return/judge_gated",
            "return/psnr_first",
            "return/psnr_truth_last",
        ),
        ceiling_name="truth",
        floor_name="stands still",
        suspect_heading="rewards standing still",
        caption="<code>bound-truth</code> is the true frames and <code>bound-anchor</code> a camera that stands still, "
        "both scored by the same code. They are no memories, and take part in no rank, range, agreement, finding or "
        "gain. The floor tells which measures reward standing still: where it does as well as the best row, that "
        "measure alone cannot tell remembering from not moving. On <i>return</i> the camera ends where it began: one "
        "that never left has the right last frame, so PSNR of the last frame is to be read beside replay, which "
        "standing still fails.",
        table_note="the last two lines are ceiling and floor",
        off_scale={"dB": CAPPED_DB},
    ),
    frontier=FrontierSpec(
        metric="return",
        sizes=(
            SizeSpec(key="floats_kept", name="floats kept"),
            SizeSpec(key="floats_read", name="floats read"),
        ),
        heading="Quality against what is kept and read",
        caption="Floats of one sample at the paper's size, whatever size was run: <i>kept</i> is what must survive "
        "between two chunks, in all blocks; a row that retrieves evidence keeps the whole history, here of three "
        "chunks. <i>Read</i> is what one chunk uses. The anchor, which every row has, is not counted beside a store.",
    ),
    factors=FactorSpec(
        metrics=("return", "return/psnr_truth_last"),
        caption="A memory is three choices: what is stored (write), how a place in the store is found (address), and "
        "where it enters the backbone (read).",
    ),
    prices=(
        CostValue(stage="train", key="flops", name="FLOPs per training step"),
        CostValue(stage="train", key="tokens", name="tokens per forward"),
        CostValue(stage="train", key="device_s", name="training device seconds"),
    ),
    cost_columns=(
        CostValue(stage="train", key="parameters_added", name="parameters added", shape="{:,.0f}"),
        CostValue(stage="train", key="tokens", name="tokens per forward"),
        CostValue(stage="train", key="tokens_written", name="tokens per write"),
        CostValue(stage="train", key="flops", name="FLOPs per step"),
        CostValue(stage="train", key="s_per_step", name="s per step", shape="{:.3f}"),
        CostValue(stage="train", key="device_s", name="train, s", shape="{:.0f}"),
        CostValue(stage="train", key="peak_mib", name="train peak, MiB", shape="{:.0f}"),
    ),
    images=ImageSpec(
        nav="Strips",
        heading="Source, turning point, tail",
        caption="where the camera starts, where it turns, and what it finds. With rendered worlds the second line is "
        "the truth.",
        frames=("first", "middle", "last −3", "last −2", "last −1", "last"),
        lines=("generated", "truth"),
        gap=4,
        chosen={"first": "source", "middle": "turning point", "last": "return"},
        order=("return", "loop", "replay"),
    ),
    published=_published,
    differences=DIFFERENCES,
    words=Words(
        lead="When the camera leaves and comes back, is the same world still there? Rows differ in how history is "
        "stored and read; everything else is the same.",
        row="memory",
        rows="memories",
        best="remembers most",
        nothing="no memory is shown to remember",
        notes="What this scale can and cannot tell",
        findings="Findings of the paper, asked of these values",
        noise="Noise: two trainings that differ in nothing but the initialisation",
        rank_shift="A row that rises to the right is better at coming back than at following.",
        curves="Rows share data, order and noise, so curves may be compared step by step.",
        units="scenes",
        beside="gated judge: the judge's total where the camera left as commanded, else 0\n"
        "left: share of such cases; at most: if unmeasurable ones left\n"
        "turn: share of the commanded one, of unmeasurable cases too, where it means nothing",
        published_nav="The paper beside",
        published="The paper's numbers through the same code",
        differences="Where we differ from the paper",
    ),
    glossary=GLOSSARY,
    code=(Path(__file__).parent,),
)
