"""Report specification: what a study declares about branches, scores, names, figures, findings and texts.

Every field has a default that follows from the values (`statistics.scores.scoring`): `ReportSpec()` is enough for
tables, intervals, ranks, agreement of branches, curves and costs. Texts and captions are HTML. Standard library only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from reports.findings import Question

Better = Literal["high", "low"]


@dataclass(frozen=True, kw_only=True)
class ScorePart:
    """A metric in the score of a branch."""

    metric: str
    better: Better = "high"
    stand_in: str = ""
    """Metric that is used instead if `metric` was not measured."""
    stand_in_suffix: str = ""
    """Suffix of the bundle's name if the stand-in is used."""


@dataclass(frozen=True, kw_only=True)
class BranchSpec:
    """A branch and the score that ranks its rows."""

    name: str
    score: Sequence[ScorePart] = ()
    """One part: that metric. Several: their bundle, the mean of the parts after min-max normalisation over the rows of
    a table. Empty: the branch's first metric, in the order of `ReportSpec.metrics`, then by name."""
    otherwise: Sequence[ScorePart] = ()
    """Its score where no metric of `score` was measured."""
    beside: Sequence[str] = ()
    """Metrics that the table of scores shows too: what the score is made of, and how far it can be trusted."""
    variant: str = ""
    """Regular expression of the end of a scene's name that distinguishes variants, which count as one scene."""
    group: str = ""
    """Regular expression of the end of a case's id, with `(...)` around the name of the case's group. Every metric is
    then one for each group, `METRIC@GROUP`, over the same scenes."""
    ranked: bool = True
    """False: it has no place in ranks, agreement, the tables of scores and `results`, but in figures of its own."""


@dataclass(frozen=True, kw_only=True)
class AnswerScale:
    """The range of a metric of an instrument that may fail to answer a case."""

    worst: float
    best: float
    needs: str = ""
    """A metric of the case: where it is 0, the value is `worst` whatever the instrument would have answered."""


@dataclass(frozen=True, kw_only=True)
class InstrumentSpec:
    """Metrics that several instruments (judges, annotators) score on the same cases; units name the instrument."""

    name: str
    """Plural, for headings and for the key of report.json."""
    metric: str
    """Their total; `{metric}_...` are its parts."""
    prefixes: Sequence[str]
    """Prefixes of units that are not part of an instrument's name; units of instruments have the first one."""
    branches: Sequence[str] = ()
    """Branches on which they are compared, in order; empty: all."""
    scales: Mapping[str, AnswerScale] = field(default_factory=dict)
    """Metric -> its range, of those that rest on the instrument's answer: bounds of means with unanswered cases."""
    preferred: Callable[[Mapping[str, Any]], Sequence[str]] = lambda _: ()
    """Controls -> units in order of preference; the first with values leads, else the most common one."""
    caption: str = "Totals of the same cases by two of them; {leading} leads."


@dataclass(frozen=True, kw_only=True)
class GainSpec:
    """Retained gain: the share of the gain of the longest over the shortest row that a compact row keeps."""

    metric: str
    """`branch/metric`; or a branch: the metric that stands for it."""
    shortest: str
    longest: str
    full_families: Sequence[str]
    """Families whose rows are not compact."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ReferenceSpec:
    """The reference rows that are the ceiling and floor of every metric, and their names."""

    ceiling: str
    floor: str
    adversaries: Mapping[str, str] = field(default_factory=dict)
    """Further floors -> what each does, for people."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """Reference rows that may score -> what each does, for people: a row above one does more than that."""
    baseline: str = ""
    """Row that no floor should beat on a `guarded` metric."""
    guarded: Sequence[str] = ()
    """`branch/metric`; not those that compare every frame with the truth, which some floors show in part."""
    ceiling_name: str = "ceiling"
    floor_name: str = "floor"
    suspect_heading: str = "floor is as good as the best row"
    caption: str = ""
    table_note: str = ""
    """Text on them in the caption of the tables."""
    off_scale: Mapping[str, float] = field(default_factory=dict)
    """Unit -> value from which on figures have no line, as it would compress the rest."""

    def heading(self, kind: Literal["ceiling", "floor"]) -> str:
        """Heading of the column of the ceiling or floor."""
        name = self.ceiling_name if kind == "ceiling" else self.floor_name
        return kind if name == kind else f"{kind}: {name}"


@dataclass(frozen=True, kw_only=True)
class NoiseSpec:
    """A row and the same row again, which differs in nothing but the initialisation: what is found between is noise.

    Where both are there, the second takes part in no table, rank, range or finding.
    """

    row: str
    again: str
    metrics: Sequence[str] = ()
    """`branch/metric`, in order; empty: those of the main tables."""
    caption: str = ""


POWER = 0.8
"""Probability of finding an effect that is asked for where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class SmallestEffect:
    """What a finding has to be able to tell: the smallest effect that matters, declared before it is measured.

    `plan` warns where seeds and scenes cannot tell it, and `power` says which can.
    """

    finding: str
    """Its id in `ReportSpec.questions`."""
    metric: str
    """`branch/metric`; or a branch: the metric that stands for it."""
    pairs: Sequence[tuple[str, str]]
    """Rows (a, b): the effect is the mean of a − b over these."""
    effect: float
    """In the metric's unit, above 0."""
    claim: Literal["difference", "equivalence"] = "difference"
    """`equivalence`: the finding says that there is no effect, and `effect` is the margin that counts as none."""
    reason: str = ""
    """Why this size, for people."""


@dataclass(frozen=True, kw_only=True)
class RaceSpec:
    """What `run --race` decides: of every other trained row, whether it differs from a baseline."""

    metric: str
    """`branch/metric`; or a branch: the metric that stands for it."""
    baseline: str
    margin: float
    """A smaller difference does not matter, in the metric's unit, above 0: a row within it needs no more seeds."""
    reason: str = ""
    """Why this margin, for people."""


@dataclass(frozen=True, kw_only=True)
class CostValue:
    """A recorded cost of a stage: a column of the cost table, or the price of a row."""

    stage: str
    key: str
    name: str
    shape: str = "si"
    """Format (`{:.0f}`), or `si`: three digits and a letter for the power of a thousand."""


@dataclass(frozen=True, kw_only=True)
class SizeSpec:
    """A number that follows from a row's declaration (`Workload.sizes`), of which less is better."""

    key: str
    name: str
    """For people."""
    shape: str = "si"
    """Format, as of `CostValue`."""


@dataclass(frozen=True, kw_only=True)
class FrontierSpec:
    """Quality against sizes of the rows, and which rows no other one matches with less."""

    metric: str
    """`branch/metric`; or a branch: the metric that stands for it."""
    sizes: Sequence[SizeSpec]
    """The first one orders the rows."""
    heading: str = "Quality against size"
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class FactorSpec:
    """Effects of the factors that rows are made of (`Row.factors`)."""

    metrics: Sequence[str] = ()
    """`branch/metric`, or a branch: the metric that stands for it; empty: each ranked branch."""
    heading: str = "Factor effects"
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class DifferenceTile:
    """A number at the top of the page: the difference of two rows, with its interval."""

    metric: str
    """`branch/metric`; or a branch: the metric that stands for it."""
    name: str
    """`{}` stands for the metric's display name."""
    unit: str
    decimals: int
    rows: Sequence[str]
    """The first one with values is used."""
    over: str


@dataclass(frozen=True, kw_only=True)
class ScalingFigure:
    """Metrics against a number that is part of the rows' names."""

    title: str
    rows: str
    """Regular expression of the whole name of a row, with the number as its group."""
    tick: str
    """Format of the number below the axis."""
    metrics: Sequence[tuple[str, str]]
    """(`branch/metric`, or a branch: the metric that stands for it; title of its panel, as `DifferenceTile.name`)."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupCurves:
    """Metrics against a number that is the group of a case (`BranchSpec.group`), with the half-life of each row."""

    title: str
    branch: str
    metrics: Sequence[tuple[ScorePart, str]]
    """(metric without its group, title of its panel); those that were measured. A stand-in has its own name."""
    axis: str
    """Name of the number, below the axis: `chunks in between`."""
    floor: str
    """Row that keeps nothing; the score above it, group by group, is what halves."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupChanges:
    """A table: how far metrics of a row fall from one group of cases to each other (`BranchSpec.group`)."""

    title: str
    branch: str
    metrics: Sequence[tuple[ScorePart, str]]
    """(metric without its group, its name); those that were measured are shown. A stand-in has its own name."""
    baseline: str
    """The group that the others are compared with."""
    groups: Sequence[tuple[str, str]]
    """(group, heading of its column)."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Section of the images."""

    nav: str = "Images"
    heading: str = "Images"
    caption: str = ""
    frames: Sequence[str] = ()
    """What the pictures of an image show, from left to right; empty: it is one picture."""
    lines: Sequence[str] = ()
    """What its lines show, from top to bottom; an image may have fewer."""
    gap: int = 0
    """Pixels between two pictures."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Those of `frames` that stand beside the answer -> their names there, on its branch; empty: all."""
    order: Sequence[str] = ()
    """Branches in the order of the section; empty: as in `ReportSpec.branches`."""


@dataclass(frozen=True, kw_only=True)
class PublishedTables:
    """Published means, analysed by the same code as the study's values."""

    source: str
    rows: Sequence[tuple[str, str]]
    """(name, family)."""
    means: Mapping[str, Mapping[str, float]]
    """`branch/metric` -> row -> mean."""
    tables: Mapping[str, Sequence[str]]
    units: Mapping[str, str] = field(default_factory=dict)
    """`branch/metric` -> unit, where a figure names it."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term of the page: its first use in each section shows what it means, and leads to the glossary."""

    name: str
    meaning: str
    """One or two sentences, not HTML."""
    also: Sequence[str] = ()
    """Other spellings: plurals, names of metrics. Each is found as it is written, or with a capital first."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """Headings and texts of the page."""

    lead: str = ""
    row: str = "row"
    """What a row is, in the sentences of the answer (`reports.answer`); `rows`: of several."""
    rows: str = "rows"
    best: str = "is best"
    """What the best row does: "On BRANCH, ROW is best: VALUE."."""
    nothing: str = "no row is shown to do better than the floor"
    """What is said instead where the best row does not."""
    notes: str = "Notes"
    findings: str = "Findings"
    noise: str = "Noise: the same row trained again"
    rank_shift: str = ""
    """Caption of the figure; empty: a general one."""
    curves: str = ""
    units: str = "cases"
    """Name of the sampling units besides seeds: the scenes of `statistics.panel.scene_of`."""
    beside: str = ""
    """What the columns of `BranchSpec.beside` mean, in lines below the table of scores; no HTML."""
    published_nav: str = "Published"
    published: str = "Published numbers through the same code"
    differences: str = "Differences from the published study"


@dataclass(frozen=True, kw_only=True)
class ReportSpec:
    """Everything that a study declares about its report."""

    branches: Sequence[BranchSpec] = ()
    """In the order of the page; empty: those that have values, by name."""
    contrast: tuple[str, str] | None = None
    """The two branches that ranks and figures contrast; None: the first two."""
    main_table: str | None = None
    """Table that figures and findings are about; None: the first."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Metrics of the main tables, in order -> display name; empty: every metric, by name."""
    shown_instead: Mapping[str, str] = field(default_factory=dict)
    """Metric -> the metric that the page shows in its place on branches that have both; files have both."""
    decimals: Mapping[str, int] = field(default_factory=dict)
    """Prefix of a metric's name -> decimals; by default 3."""
    family_labels: Mapping[str, str] = field(default_factory=dict)
    """Family -> its name in the legend, if different."""
    questions: Callable[[], "Sequence[Question]"] = tuple
    """Returns the findings as (id, statement, test); called when the report is written."""
    smallest_effects: Sequence[SmallestEffect] = ()
    """What the findings have to be able to tell; those without one are not asked."""
    race: RaceSpec | None = None
    """None: `run --race` has nothing to decide."""
    pilot: Path | None = None
    """The keys `profile` and `power` of a report.json of earlier results, which `plan` uses before there are others."""
    finding_decimals: Mapping[str, int] = field(default_factory=dict)
    """Unit of an effect -> decimals; by default 2."""
    tiles: Sequence[DifferenceTile] = ()
    scaling: Sequence[ScalingFigure] = ()
    group_curves: Sequence[GroupCurves] = ()
    group_changes: Sequence[GroupChanges] = ()
    instruments: InstrumentSpec | None = None
    gain: GainSpec | None = None
    noise: NoiseSpec | None = None
    frontier: FrontierSpec | None = None
    factors: FactorSpec = field(default_factory=FactorSpec)
    references: ReferenceSpec | None = None
    prices: Sequence[CostValue] | None = None
    """In order of preference; the first one that every row has is used. None: device seconds of all stages."""
    cost_columns: Sequence[CostValue] | None = None
    """Columns before the device seconds of the other stages; None: everything that was recorded."""
    images: ImageSpec | None = None
    published: Callable[[], PublishedTables] | None = None
    differences: Sequence[tuple[str, str]] = ()
    """(letter, text, not HTML)."""
    words: Words = field(default_factory=Words)
    glossary: Sequence[Term] = ()
    """The study's own terms; one of a general term's name stands for it (`page.glossary.GENERAL`)."""
    code: Sequence[Path] = ()
    """Folders of the code of this specification; the report is rebuilt if a file in them changes."""
