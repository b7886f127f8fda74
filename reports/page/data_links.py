"""The data behind a figure: a link to CSV that is part of the page."""

import base64
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.results_csv import as_text


@dataclass(frozen=True, kw_only=True)
class Behind:
    """What a figure draws, as text."""

    name: str
    """Of the file, without ending."""
    headings: Sequence[str]
    lines: Sequence[Sequence[str | float | None]]
    """None: there is no value."""

    @property
    def csv(self) -> str:
        """The same as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([_cell(cell) for cell in line] for line in (self.headings, *self.lines))
        return text.getvalue()

    @property
    def href(self) -> str:
        """A `data:` address of the CSV."""
        return f"data:text/csv;base64,{base64.b64encode(self.csv.encode('utf-8')).decode('ascii')}"


def _cell(value: str | float | None) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return as_text(value) if isinstance(value, str) else f"{value:.6g}"
