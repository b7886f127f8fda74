"""Terms of every report. A study adds its own (`ReportSpec.glossary`), and may define one of these otherwise."""

from collections.abc import Sequence

from reports.spec import ReportSpec, Term

GENERAL: Sequence[Term] = (
    Term(
        name="seed",
        also=("seeds",),
        meaning="The number from which one training of a row draws its initial weights and its noise. Two "
        "seeds of a row differ by chance alone.",
    ),
    Term(name="branch", also=("branches",), meaning="One kind of evaluation, with cases and metrics of its own."),
    Term(
        name="cell", also=("cells",), meaning="One row with one seed, and one value of each axis: what is trained once."
    ),
    Term(
        name="axis",
        also=("axes",),
        meaning="A control that is varied on purpose, with every row, to see whether the result depends on it.",
    ),
    Term(
        name="interval",
        also=("intervals", "95 % interval", "95 % intervals"),
        meaning="Limits that contain the true value in 95 of 100 studies like this one. Where they are over "
        "scenes only, another training may lie outside.",
    ),
    Term(
        name="paired difference",
        also=("paired differences", "paired"),
        meaning="Two rows are subtracted case by case, with the same seed, before averaging: what makes a "
        "case hard cancels.",
    ),
    Term(
        name="Holm",
        also=("p after Holm", "p adjusted", "Holm's adjustment"),
        meaning="Adjustment of p-values for asking several questions at once: the probability of even one "
        "false verdict among all of them stays below 5 %.",
    ),
    Term(
        name="inversion",
        also=("inversions", "inverted"),
        meaning="A pair of rows that two branches order differently: the first is better on one, the second "
        "on the other.",
    ),
    Term(
        name="retained gain",
        meaning="What a compact row keeps of the gain of the longest row over the shortest: 0 is none of it, "
        "1 all of it.",
    ),
    Term(
        name="common scale",
        meaning="The floor at 0 and the ceiling at 1, so that metrics of different units can be read side by side.",
    ),
    Term(
        name="signal to noise",
        also=("S/N", "signal-to-noise"),
        meaning="Signal to noise of a metric: how far the rows are apart, noise subtracted, in units of how far one "
        "row is from seed to seed. The larger, the fewer seeds it takes to order the rows.",
    ),
    Term(
        name="ceiling",
        meaning="What the truth itself scores: no row can be better. It is computed by the same code, and "
        "takes no rank.",
    ),
    Term(
        name="floor",
        also=("floors",),
        meaning="What something scores that does not do what was asked for. A row near it has done no better.",
    ),
    Term(
        name="reference row",
        also=("reference rows", "reference line", "reference lines"),
        meaning="A ceiling, a floor, or something simple beside them: scored like the rows, and in no rank, "
        "finding or comparison.",
    ),
    Term(
        name="bundle",
        meaning="The mean of several metrics, each scaled over the rows of the table from the worst (0) to "
        "the best (1). It depends on which rows are in the table.",
    ),
    Term(
        name="Pearson r",
        also=("Pearson",),
        meaning="Agreement of two branches over the rows as a straight line sees it: 1 in full, 0 none, −1 opposite.",
    ),
    Term(name="Spearman ρ", also=("Spearman",), meaning="Pearson's r of the ranks: agreement in order alone."),
    Term(
        name="Kendall τ",
        also=("Kendall's τ", "Kendall"),
        meaning="The share of pairs of rows that two branches order alike, less the share that they order differently.",
    ),
    Term(
        name="equivalence margin",
        also=("margin",),
        meaning="The largest difference that counts as none, named before the values were seen. Two rows are "
        "equivalent where the whole interval lies within it.",
    ),
    Term(
        name="probability of improvement",
        meaning="The probability that a new training of one row scores higher than a new training of another.",
    ),
    Term(
        name="performance profile",
        also=("performance profiles",),
        meaning="For each level of a score, the share of trainings and cases of a row that reach it.",
    ),
    Term(
        name="half-life",
        also=("half-lives",),
        meaning="After how much of what lies in between half of a row's lead over the floor is gone.",
    ),
    Term(
        name="Pareto frontier",
        also=("frontier",),
        meaning="The rows that no other row beats in quality without being larger.",
    ),
    Term(
        name="factor",
        also=("factors",),
        meaning="One of the choices that a row is made of; rows that differ in one factor alone tell its effect.",
    ),
    Term(
        name="controls",
        meaning="The settings that are equal in all compared cells. Their fingerprint changes if any of them does.",
    ),
    Term(
        name="deviation",
        also=("deviations",),
        meaning="A control that a row sets otherwise on purpose, with the reason that the study gives.",
    ),
    Term(
        name="fingerprint",
        also=("fingerprints",),
        meaning="A digest of everything that a job reads: two jobs with one fingerprint compute the same.",
    ),
    Term(
        name="computations",
        also=("computation",),
        meaning="Rows with the same settings are computed once and stand under each of their names.",
    ),
)


def glossary(spec: ReportSpec) -> list[Term]:
    """The study's terms, then the general ones that it does not define itself."""
    own = {term.name.lower() for term in spec.glossary}
    return [*spec.glossary, *(term for term in GENERAL if term.name.lower() not in own)]
