"""Report specification: what a study tells its report about branches, scores, names, figures, findings and words.

Every field has a default, and what is left open follows from the values (`reports.scoring`): `ReportSpec()` gives any
study its tables, intervals, ranks, agreement of branches, curves and costs. Words and captions are HTML.
Standard library only: whoever reads results imports this, and only who writes the report imports the statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from reports.findings import Answer, Material

Better = Literal["high", "low"]


@dataclass(frozen=True, kw_only=True)
class ScorePart:
    """A metric that a branch's score is made of."""

    metric: str
    better: Better = "high"
    stand_in: str = ""
    """Metric that takes its place where `metric` was not measured."""
    stand_in_suffix: str = ""
    """End of the bundle's name where the stand-in is used: it is another number."""


@dataclass(frozen=True, kw_only=True)
class BranchSpec:
    """A branch and the one score that ranks its rows."""

    name: str
    score: Sequence[ScorePart] = ()
    """One part: that metric. Several: their bundle, the mean of the parts after min-max normalisation over the rows of
    a table. Empty: the branch's first metric, in the order of `ReportSpec.metrics`, then by name."""
    variant: str = ""
    """Regular expression of the end of a scene's name that only tells variants apart; variants count as one scene."""


@dataclass(frozen=True, kw_only=True)
class InstrumentSpec:
    """Metrics that several instruments (judges, annotators) give to the same cases; a value's unit names its own."""

    name: str
    """Plural, for headings and for the key of report.json."""
    metric: str
    """Their total; `{metric}_...` are its parts."""
    prefixes: Sequence[str]
    """What units begin with, and is left out of an instrument's name; the first one marks the units as theirs."""
    branches: Sequence[str] = ()
    """Branches on which they are compared, in order; empty: all."""
    preferred: Callable[[Mapping[str, Any]], Sequence[str]] = lambda _: ()
    """Sections of the controls -> units in order of preference; the first that occurs leads, else the commonest."""
    caption: str = "Totals of the same cases by two of them; {leading} leads."


@dataclass(frozen=True, kw_only=True)
class GainSpec:
    """Retained gain: which share of what the longest row gains over the shortest a compact row keeps."""

    metric: str
    """`branch/metric`."""
    shortest: str
    longest: str
    full_families: Sequence[str]
    """Families whose rows are not compact."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ReferenceSpec:
    """Which reference rows are the ceiling and the floor of every measure, and how they are called."""

    ceiling: str
    floor: str
    ceiling_name: str = "ceiling"
    floor_name: str = "floor"
    suspect_heading: str = "floor is as good as the best row"
    caption: str = ""
    table_note: str = ""
    """What the caption of the tables says of them."""
    off_scale: Mapping[str, float] = field(default_factory=dict)
    """Unit -> value from which on figures have no line, as it would compress the rest."""

    def heading(self, kind: Literal["ceiling", "floor"]) -> str:
        """Heading of the column of the ceiling or floor."""
        name = self.ceiling_name if kind == "ceiling" else self.floor_name
        return kind if name == kind else f"{kind}: {name}"


@dataclass(frozen=True, kw_only=True)
class CostValue:
    """A recorded cost of a stage: a column of the cost table, or the price of a row."""

    stage: str
    key: str
    name: str
    shape: str = "si"
    """Format (`{:.0f}`), or `si`: three digits and a letter for the power of a thousand."""


@dataclass(frozen=True, kw_only=True)
class DifferenceTile:
    """A number of the first screen: a row less another, with its interval."""

    metric: str
    name: str
    unit: str
    decimals: int
    rows: Sequence[str]
    """The first one that has values is taken."""
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
    """(`branch/metric`, title of its panel)."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Section of the strips."""

    nav: str = "Images"
    heading: str = "Images"
    caption: str = ""
    order: Sequence[str] = ()
    """Branches in the order of the section; empty: that of the branches."""


@dataclass(frozen=True, kw_only=True)
class PublishedTables:
    """Means that somebody published; they pass through the same code as the study's own values."""

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
class Words:
    """Headings and explanations of the page."""

    lead: str = ""
    notes: str = "Notes"
    findings: str = "Findings"
    rank_shift: str = ""
    """Caption of the figure; empty: a general one."""
    curves: str = ""
    units: str = "cases"
    """What intervals run over besides seeds: the groups that `statistics.panel.scene_of` makes of the cases."""
    published_nav: str = "Published"
    published: str = "Published numbers through the same code"
    differences: str = "Differences from the published study"


@dataclass(frozen=True, kw_only=True)
class ReportSpec:
    """All that a report knows of its study."""

    branches: Sequence[BranchSpec] = ()
    """In the order of the page; empty: those that have values, by name."""
    contrast: tuple[str, str] | None = None
    """The two branches set against each other in ranks and figures; None: the first two."""
    main_table: str | None = None
    """Table that figures and findings are about; None: the first."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Metrics of the first tables, in order -> how they are called; empty: every metric, by name."""
    decimals: Mapping[str, int] = field(default_factory=dict)
    """Beginning of a metric's name -> decimals; 3 for the rest."""
    family_labels: Mapping[str, str] = field(default_factory=dict)
    """Family -> what the legend calls it, where that is not its name."""
    questions: Callable[[], Sequence[tuple[str, str, "Callable[[Material], Answer]"]]] = tuple
    """The findings as (id, statement, how it is answered); called when the report is made."""
    finding_decimals: Mapping[str, int] = field(default_factory=dict)
    """Unit of an effect -> decimals; 2 for the rest."""
    tiles: Sequence[DifferenceTile] = ()
    scaling: Sequence[ScalingFigure] = ()
    instruments: InstrumentSpec | None = None
    gain: GainSpec | None = None
    references: ReferenceSpec | None = None
    prices: Sequence[CostValue] | None = None
    """By preference: the first that every row has; None: device seconds of all stages together."""
    cost_columns: Sequence[CostValue] | None = None
    """Before the device seconds of every other stage; None: everything that was recorded."""
    images: ImageSpec | None = None
    published: Callable[[], PublishedTables] | None = None
    differences: Sequence[tuple[str, str]] = ()
    """(letter, text, not HTML)."""
    words: Words = field(default_factory=Words)
    code: Sequence[Path] = ()
    """Folders of the code that this specification brings; a report is made anew when a file in them changes."""
