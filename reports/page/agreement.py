"""Agreement of every pair of branches, and of the instruments that score the same cases."""

from collections.abc import Sequence

from markupsafe import Markup

from reports.analysis import Analysis
from reports.formats import number
from reports.instruments import InstrumentAgreement
from reports.spec import ReportSpec
from reports.statistics import table as tables


def lines(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """(table, [r, rho, tau of every pair of branches])."""
    return [
        (name, [number(values[key], 2) for values in tables.agreement(table).values() for key in values])
        for name, table in analysis.tables.items()
    ]


def instruments_caption(spec: ReportSpec, judged: Sequence[InstrumentAgreement]) -> Markup:
    """The caption with the leading instrument's name."""
    if spec.instruments is None or not judged:
        return Markup("")
    return Markup(spec.instruments.caption).format(leading=Markup("<code>{}</code>").format(judged[0].a))
